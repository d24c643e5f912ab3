//! Which rows are loaded in which units of work: a pure function of the backup.
//!
//! A unit is what one worker loads at a time: a run of consecutive chunks of one big table, short enough that several
//! workers share that table, or one chunk in which several small tables lie, fetched once. Tables come largest first, each
//! from its beginning to its end: rows lie in the restored table much as they did in the source's, and so do the columns by which
//! an index is built or a BRIN index skips.

use std::collections::BTreeMap;

use super::error::{Error, Result};
use crate::repository::manifest::{Backup, Database, Table};

/// Raw bytes at which a run of one table's chunks is cut.
pub const UNIT_BYTES: u64 = 64 * 1024 * 1024;

/// Everything to load, in the order in which workers take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPlan {
    pub units: Vec<Unit>,
    /// Bytes of COPY text altogether.
    pub raw_bytes: u64,
    pub rows: u64,
}

/// What one worker loads at a time, chunk after chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub raw_bytes: u64,
    pub reads: Vec<ChunkRead>,
}

/// One chunk to fetch and what to take out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRead {
    /// Position among the backup's chunks.
    pub chunk: usize,
    pub runs: Vec<Run>,
}

/// Consecutive segments of one table within a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Position among the database's tables.
    pub table: usize,
    pub frames: Vec<usize>,
    pub rows: u64,
}

/// Plans loading those tables of `database` that `wanted` says.
///
/// # Errors
/// `Error::Contradiction` when a segment refers to what is not there, or a table's segments do not hold its rows.
pub fn plan_load(backup: &Backup, database: &Database, wanted: impl Fn(&Table) -> bool) -> Result<LoadPlan> {
    let mut plan = LoadPlan::default();
    // Each with the size of what comes together with it.
    let mut units: Vec<(u64, Unit)> = Vec::new();
    let mut shared: BTreeMap<usize, Unit> = BTreeMap::new();
    let users = tables_by_chunk(database);
    for (number, table) in database.tables.iter().enumerate() {
        check_rows(table)?;
        if !wanted(table) {
            continue;
        }
        plan.rows += table.tally.rows;
        let (mut own, mut cut) = (Unit::default(), Vec::new());
        for segment in &table.segments {
            let chunk = segment.chunk as usize;
            let frame = segment.frame as usize;
            let raw_bytes = backup
                .chunks
                .get(chunk)
                .and_then(|chunk| chunk.frames.get(frame))
                .map(|frame| frame.raw_bytes)
                .ok_or_else(|| {
                    Error::Contradiction(format!(
                        "{} refers to frame {frame} of chunk {chunk}, which does not exist",
                        table.name()
                    ))
                })?;
            plan.raw_bytes += raw_bytes;
            if users.get(&chunk).is_some_and(|tables| *tables > 1) {
                shared
                    .entry(chunk)
                    .or_default()
                    .add(chunk, number, frame, segment.rows, raw_bytes);
                continue;
            }
            let begins_chunk = own.reads.last().is_none_or(|read| read.chunk != chunk);
            if begins_chunk && own.raw_bytes > 0 && own.raw_bytes + raw_bytes > UNIT_BYTES {
                cut.push(std::mem::take(&mut own));
            }
            own.add(chunk, number, frame, segment.rows, raw_bytes);
        }
        cut.push(own);
        let raw_bytes = cut.iter().map(|unit| unit.raw_bytes).sum();
        let of_table = cut.into_iter().filter(|unit| !unit.reads.is_empty());
        units.extend(of_table.map(|unit| (raw_bytes, unit)));
    }
    units.extend(shared.into_values().map(|unit| (unit.raw_bytes, unit)));
    units.sort_by_key(|(raw_bytes, _)| std::cmp::Reverse(*raw_bytes));
    plan.units = units.into_iter().map(|(_, unit)| unit).collect();
    Ok(plan)
}

impl Unit {
    fn add(&mut self, chunk: usize, table: usize, frame: usize, rows: u64, raw_bytes: u64) {
        self.raw_bytes += raw_bytes;
        if self.reads.last().is_none_or(|read| read.chunk != chunk) {
            let runs = Vec::new();
            self.reads.push(ChunkRead { chunk, runs });
        }
        let Some(read) = self.reads.last_mut() else { return };
        match read.runs.last_mut() {
            Some(run) if run.table == table => {
                run.frames.push(frame);
                run.rows += rows;
            }
            _ => read.runs.push(Run {
                table,
                frames: vec![frame],
                rows,
            }),
        }
    }
}

/// How many tables have rows in a chunk.
fn tables_by_chunk(database: &Database) -> BTreeMap<usize, usize> {
    let mut last = BTreeMap::new();
    let mut users: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, table) in database.tables.iter().enumerate() {
        for segment in &table.segments {
            let chunk = segment.chunk as usize;
            if last.insert(chunk, number) != Some(number) {
                *users.entry(chunk).or_default() += 1;
            }
        }
    }
    users
}

fn check_rows(table: &Table) -> Result<()> {
    let in_segments: u64 = table.segments.iter().map(|segment| segment.rows).sum();
    if in_segments == table.tally.rows {
        return Ok(());
    }
    Err(Error::Contradiction(format!(
        "{} has {} rows, and its segments hold {in_segments}",
        table.name(),
        table.tally.rows
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{QualifiedName, RowTally, TableDescription, TableSource};
    use crate::repository::id::{BackupId, Blake3Digest, RepositoryId, Sha256Digest};
    use crate::repository::manifest::{
        BackupKind, BackupStats, Chunk, Codec, DatabaseHead, FORMAT_VERSION, Frame, Manifest, Segment, Source,
    };

    const MIB: u64 = 1024 * 1024;

    fn chunk(frames: &[u64]) -> Chunk {
        Chunk {
            key: String::new(),
            codec: Codec::Zstd,
            stored_sha256: Sha256Digest([0; 32]),
            stored_bytes: 1,
            raw_blake3: Blake3Digest([0; 32]),
            raw_bytes: frames.iter().sum(),
            frames: frames
                .iter()
                .map(|&raw_bytes| Frame {
                    stored_bytes: 1,
                    raw_bytes,
                })
                .collect(),
            locked_until: None,
        }
    }

    /// A table of ten rows in each of its segments `(chunk, frame)`.
    fn table(name: &str, segments: &[(u32, u32)]) -> Table {
        Table {
            description: TableDescription {
                name: QualifiedName::new("public", name),
                source: TableSource::Table,
                columns: Vec::new(),
                generated_columns: Vec::new(),
                load_through: None,
            },
            tally: RowTally {
                rows: segments.len() as u64 * 10,
                ..RowTally::default()
            },
            generated: None,
            stored_bytes: None,
            segments: segments
                .iter()
                .map(|&(chunk, frame)| Segment { chunk, frame, rows: 10 })
                .collect(),
        }
    }

    fn database(tables: Vec<Table>) -> Database {
        Database {
            head: DatabaseHead {
                properties: crate::content::DatabaseProperties {
                    name: "shop".to_owned(),
                    owner: "owner".to_owned(),
                    encoding: "UTF8".to_owned(),
                    collate: "C".to_owned(),
                    ctype: "C".to_owned(),
                    locale_provider: "libc".to_owned(),
                    icu_locale: None,
                    collation_version: None,
                    connection_limit: -1,
                    acl: Vec::new(),
                    comment: None,
                    settings: Vec::new(),
                },
                snapshot_time: jiff::Timestamp::UNIX_EPOCH,
                lsn: String::new(),
                extensions: Vec::new(),
                referenced_roles: Vec::new(),
                schema_archive: Vec::new(),
                large_object_segments: Vec::new(),
                large_objects: RowTally::default(),
                subscriptions_left_out: Vec::new(),
                mappings_redacted: Vec::new(),
                dump_warnings: Vec::new(),
                assertions: Vec::new(),
            },
            tables,
            sequences: Vec::new(),
            large_objects: Vec::new(),
            materialized_views: Vec::new(),
            ledger: Vec::new(),
            inventory: Vec::new(),
        }
    }

    fn backup(chunks: Vec<Chunk>) -> Backup {
        Backup {
            manifest: Manifest {
                format_version: FORMAT_VERSION,
                kind: BackupKind::Logical,
                repository_id: RepositoryId::new(1),
                backup_id: BackupId::new(jiff::Timestamp::UNIX_EPOCH, 1),
                predecessor: None,
                tool_version: String::new(),
                lease_generation: None,
                locked_in: None,
                source: Source {
                    cluster: String::new(),
                    system_identifier: String::new(),
                    server_version_num: 150_000,
                    server_version: String::new(),
                    in_recovery: false,
                    timeline: 1,
                    pg_dump_version: String::new(),
                },
                started: jiff::Timestamp::UNIX_EPOCH,
                finished: jiff::Timestamp::UNIX_EPOCH,
                databases: Vec::new(),
                databases_not_included: Vec::new(),
                phases: Vec::new(),
                stats: BackupStats::default(),
                drift: None,
                index: Vec::new(),
            },
            manifest_sha256: Sha256Digest([0; 32]),
            chunks,
            roles: Vec::new(),
            memberships: Vec::new(),
            databases: Vec::new(),
        }
    }

    #[test]
    fn a_big_table_is_cut_into_units_and_small_ones_share_a_fetch() {
        let chunks = vec![
            chunk(&[30 * MIB]),
            chunk(&[30 * MIB]),
            chunk(&[30 * MIB]),
            chunk(&[1, 2, 3]),
        ];
        let tables = vec![
            table("big", &[(0, 0), (1, 0), (2, 0)]),
            table("a", &[(3, 0), (3, 2)]),
            table("b", &[(3, 1)]),
            table("empty", &[]),
        ];
        let plan = plan_load(&backup(chunks), &database(tables), |_| true).unwrap();
        let shape: Vec<Vec<(usize, usize)>> = plan
            .units
            .iter()
            .map(|unit| unit.reads.iter().map(|read| (read.chunk, read.runs.len())).collect())
            .collect();
        assert_eq!(shape, [vec![(0, 1), (1, 1)], vec![(2, 1)], vec![(3, 2)]]);
        assert_eq!(plan.units[2].reads[0].runs[0].frames, [0, 2]);
        assert_eq!(plan.rows, 60);
        assert_eq!(plan.raw_bytes, 90 * MIB + 6);
    }

    /// Units are cut where chunks end, and none is of the size of another.
    #[test]
    fn the_units_of_a_table_come_in_the_order_of_its_rows_and_the_largest_table_first() {
        let chunks = [40, 50, 60, 55, 63].map(|size| chunk(&[size * MIB]));
        let tables = vec![
            table("small", &[(4, 0)]),
            table("big", &[(0, 0), (1, 0), (2, 0), (3, 0)]),
        ];
        let plan = plan_load(&backup(chunks.to_vec()), &database(tables), |_| true).unwrap();
        let order: Vec<usize> = plan.units.iter().map(|unit| unit.reads[0].chunk).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn only_what_is_wanted_is_planned() {
        let database = database(vec![table("a", &[(0, 0)]), table("b", &[(0, 1)])]);
        let plan = plan_load(&backup(vec![chunk(&[5, 7])]), &database, |table| {
            table.name().name == "b"
        })
        .unwrap();
        assert_eq!((plan.rows, plan.raw_bytes, plan.units.len()), (10, 7, 1));
    }

    #[test]
    fn segments_that_contradict_the_table_or_the_chunks_are_an_error() {
        let mut wrong = table("a", &[(0, 0)]);
        wrong.tally.rows = 11;
        for tables in [vec![wrong], vec![table("a", &[(1, 0)])], vec![table("a", &[(0, 1)])]] {
            let plan = plan_load(&backup(vec![chunk(&[5])]), &database(tables), |_| true);
            assert!(matches!(plan, Err(Error::Contradiction(_))), "{plan:?}");
        }
    }
}
