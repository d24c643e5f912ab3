//! A large table that the workers read together, in parts, when their turns come to it.
//!
//! The first one there shares the table: locks it, takes a snapshot and says which parts there are. Those who come later
//! join it, if they can, and all take parts until none is left. Whoever cannot join leaves the parts to the others, and a
//! table that cannot be shared, or of which the server refuses a part, is read whole by one session as any other: its answer
//! is then the one that it would always have been.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::plan::{Unit, ranges};
use super::read::{Answers, PartTally, read_part, read_whole};
use crate::drill::compare::CompareOptions;
use crate::drill::error::Result;
use crate::postgres::Session;
use crate::postgres::copy::CopyRange;
use crate::postgres::together::{SharedTable, is_same_table, join_table, leave_table, share_table};

/// One such table.
pub(super) struct Together {
    jobs: usize,
    part_bytes: u64,
    /// Held while a session shares or joins, a few round trips that wait for no lock of the server's: the one that shares
    /// looks in here for its next part before it leaves, and so cannot leave between another's decision to join and its
    /// having the snapshot.
    stage: Mutex<Stage>,
    #[cfg(any(test, feature = "demo"))]
    after_first_part: Option<Arc<tokio::sync::Barrier>>,
}

enum Stage {
    Untouched,
    Shared {
        table: Arc<SharedTable>,
        parts: Parts,
    },
    /// It has its answer, or one session is about to give it.
    Over,
}

impl Together {
    pub(super) fn new(options: &CompareOptions) -> Self {
        Self {
            jobs: options.jobs,
            part_bytes: options.part_bytes,
            stage: Mutex::new(Stage::Untouched),
            #[cfg(any(test, feature = "demo"))]
            after_first_part: options.after_first_part.clone(),
        }
    }

    /// Reads as many of the unit's parts as there are left. The answers come to whoever has read the last of them.
    pub(super) async fn help(&self, session: &Session, unit: &Unit, encoding: &str) -> Result<Option<Answers>> {
        let shared = match self.begin(session, unit).await? {
            Begun::Shared(shared) => shared,
            Begun::ReadWhole => return read_whole(session, unit).await.map(Some),
            Begun::LeftToOthers => return Ok(None),
        };
        let mut done = None;
        let mut is_first = true;
        while let Some(range) = self.take().await {
            let Some(part) = read_shared(session, &shared, unit, range, encoding).await? else {
                let is_to_read = self.give_up().await;
                leave_table(session).await?;
                return if is_to_read {
                    read_whole(session, unit).await.map(Some)
                } else {
                    Ok(None)
                };
            };
            done = self.add(part).await;
            if std::mem::take(&mut is_first) {
                self.meet_the_others().await;
            }
        }
        leave_table(session).await?;
        Ok(done.map(|sum| Answers {
            rows: Ok(sum.rows),
            generated: unit.compares_generated().then_some(Ok(sum.generated)),
        }))
    }

    async fn begin(&self, session: &Session, unit: &Unit) -> Result<Begun> {
        let mut stage = self.stage.lock().await;
        match &*stage {
            Stage::Untouched => {
                // Over, unless it can be shared.
                *stage = Stage::Over;
                let Some(table) = share_table(session, &unit.name).await? else {
                    return Ok(Begun::ReadWhole);
                };
                let ranges = ranges(table.heap_blocks, table.table_bytes, self.part_bytes, self.jobs);
                if ranges.len() < 2 {
                    leave_table(session).await?;
                    return Ok(Begun::ReadWhole);
                }
                let (table, parts) = (Arc::new(table), Parts::new(ranges));
                *stage = Stage::Shared {
                    table: Arc::clone(&table),
                    parts,
                };
                Ok(Begun::Shared(table))
            }
            Stage::Shared { table, parts } if parts.are_left() && join_table(session, table).await? => {
                Ok(Begun::Shared(Arc::clone(table)))
            }
            Stage::Shared { .. } | Stage::Over => Ok(Begun::LeftToOthers),
        }
    }

    async fn take(&self) -> Option<CopyRange> {
        match &mut *self.stage.lock().await {
            Stage::Shared { parts, .. } => parts.take(),
            Stage::Untouched | Stage::Over => None,
        }
    }

    /// The sum of all parts, with the last of them.
    async fn add(&self, part: PartTally) -> Option<PartTally> {
        match &mut *self.stage.lock().await {
            Stage::Shared { parts, .. } => parts.add(part),
            Stage::Untouched | Stage::Over => None,
        }
    }

    #[cfg(any(test, feature = "demo"))]
    async fn meet_the_others(&self) {
        if let Some(barrier) = &self.after_first_part {
            barrier.wait().await;
        }
    }

    #[cfg(not(any(test, feature = "demo")))]
    #[allow(clippy::unused_async, reason = "the same shape with and without the feature")]
    async fn meet_the_others(&self) {}

    /// Whether it is for this session to read the table whole: it is the first for which a part could not be read.
    async fn give_up(&self) -> bool {
        let before = std::mem::replace(&mut *self.stage.lock().await, Stage::Over);
        matches!(before, Stage::Shared { .. })
    }
}

enum Begun {
    Shared(Arc<SharedTable>),
    ReadWhole,
    LeftToOthers,
}

/// None where the server refuses, or where the name no longer means the table that is shared.
async fn read_shared(
    session: &Session,
    shared: &SharedTable,
    unit: &Unit,
    range: CopyRange,
    encoding: &str,
) -> Result<Option<PartTally>> {
    let Some(part) = read_part(session, unit, range, encoding).await? else {
        return Ok(None);
    };
    Ok(is_same_table(session, shared).await?.then_some(part))
}

/// Which parts are still to be taken, and the sum of those that were read.
struct Parts {
    ranges: Vec<CopyRange>,
    taken: usize,
    read: usize,
    sum: PartTally,
}

impl Parts {
    fn new(ranges: Vec<CopyRange>) -> Self {
        Self {
            ranges,
            taken: 0,
            read: 0,
            sum: PartTally::default(),
        }
    }

    fn are_left(&self) -> bool {
        self.taken < self.ranges.len()
    }

    fn take(&mut self) -> Option<CopyRange> {
        let range = self.ranges.get(self.taken).copied()?;
        self.taken += 1;
        Some(range)
    }

    /// A sum that lacks a part is nobody's answer: it comes with the last one alone.
    fn add(&mut self, part: PartTally) -> Option<PartTally> {
        self.read += 1;
        self.sum.rows = self.sum.rows.union(part.rows);
        self.sum.generated = self.sum.generated.union(part.generated);
        (self.read == self.ranges.len()).then_some(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::RowTally;

    fn part(row: &[u8]) -> PartTally {
        let mut part = PartTally::default();
        part.rows.add_row(row);
        part
    }

    #[test]
    fn the_sum_comes_with_the_last_part_and_never_without_one() {
        let ranges = ranges(8, 80, 10, 2);
        let mut parts = Parts::new(ranges.clone());
        for range in &ranges {
            assert!(parts.are_left());
            assert_eq!(parts.take(), Some(*range));
        }
        assert_eq!((parts.are_left(), parts.take()), (false, None));
        assert_eq!(parts.add(part(b"a\n")), None);
        assert_eq!(parts.add(part(b"b\n")), None);
        assert_eq!(parts.add(part(b"c\n")), None);
        let mut sum = RowTally::default();
        for row in [b"d\n", b"c\n", b"b\n", b"a\n"] {
            sum.add_row(row);
        }
        assert_eq!(parts.add(part(b"d\n")).unwrap().rows, sum);
    }
}
