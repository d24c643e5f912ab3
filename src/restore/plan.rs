//! Which rows are loaded in which units of work: a pure function of the backup.
//!
//! A unit is what one worker loads at a time: a run of consecutive chunks of one big table, short enough that several
//! workers share that table, or one chunk in which several small tables lie, fetched once. Largest first.

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
    let mut shared: BTreeMap<usize, Unit> = BTreeMap::new();
    let users = tables_by_chunk(database);
    for (number, table) in database.tables.iter().enumerate() {
        check_rows(table)?;
        if !wanted(table) {
            continue;
        }
        plan.rows += table.tally.rows;
        let mut own = Unit::default();
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
                plan.units.push(std::mem::take(&mut own));
            }
            own.add(chunk, number, frame, segment.rows, raw_bytes);
        }
        if !own.reads.is_empty() {
            plan.units.push(own);
        }
    }
    plan.units.extend(shared.into_values());
    plan.units.sort_by_key(|unit| std::cmp::Reverse(unit.raw_bytes));
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
