//! The order of what comes after the rows: indexes in parallel, their attachments one by one, then foreign keys.
//!
//! A partitioned index becomes valid when the last of its partitions is attached. With several levels, two attachments
//! at once can each miss what the other has not committed yet, and the index at the root stays invalid for ever although
//! nothing failed. So attachments run alone. Foreign keys need the root's unique index valid and so come after them.

use std::collections::BTreeSet;

use crate::postgres::archive::TocEntry;

/// Three steps, each in the archive's order.
#[derive(Debug, Default)]
pub(super) struct PostDataSteps {
    /// Indexes and everything else that waits for no attachment.
    pub(super) indexes: Vec<TocEntry>,
    /// One at a time.
    pub(super) attachments: Vec<TocEntry>,
    /// Foreign keys, and whatever depends on them or on an attachment.
    pub(super) after: Vec<TocEntry>,
}

impl PostDataSteps {
    pub(super) fn of(entries: &[TocEntry]) -> Self {
        let mut steps = Self::default();
        if !entries.iter().any(is_attachment) {
            steps.indexes = entries.to_vec();
            return steps;
        }
        let mut late: BTreeSet<u32> = entries
            .iter()
            .filter(|entry| is_attachment(entry))
            .map(|entry| entry.dump_id)
            .collect();
        // The list is in an order in which everything comes after what it needs, so that one pass is enough.
        for entry in entries {
            if is_attachment(entry) {
                steps.attachments.push(entry.clone());
            } else if entry.description == "FK CONSTRAINT" || entry.dependencies.iter().any(|id| late.contains(id)) {
                late.insert(entry.dump_id);
                steps.after.push(entry.clone());
            } else {
                steps.indexes.push(entry.clone());
            }
        }
        steps
    }
}

fn is_attachment(entry: &TocEntry) -> bool {
    entry.description == "INDEX ATTACH"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dump_id: u32, description: &str, dependencies: &[u32]) -> TocEntry {
        TocEntry {
            dump_id,
            description: description.to_owned(),
            label: String::new(),
            dependencies: dependencies.to_vec(),
        }
    }

    fn ids(entries: &[TocEntry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.dump_id).collect()
    }

    #[test]
    fn attachments_stand_alone_between_indexes_and_foreign_keys() {
        let entries = [
            entry(1, "INDEX", &[]),
            entry(2, "INDEX", &[]),
            entry(3, "INDEX ATTACH", &[1, 2]),
            entry(4, "TRIGGER", &[]),
            entry(5, "FK CONSTRAINT", &[3]),
            entry(6, "FK CONSTRAINT", &[]),
            entry(7, "COMMENT", &[5]),
            entry(8, "COMMENT", &[4]),
        ];
        let steps = PostDataSteps::of(&entries);
        assert_eq!(ids(&steps.indexes), [1, 2, 4, 8]);
        assert_eq!(ids(&steps.attachments), [3]);
        assert_eq!(ids(&steps.after), [5, 6, 7]);
    }

    #[test]
    fn without_attachments_one_step_is_enough() {
        let entries = [entry(1, "INDEX", &[]), entry(2, "FK CONSTRAINT", &[1])];
        assert_eq!(ids(&PostDataSteps::of(&entries).indexes), [1, 2]);
    }
}
