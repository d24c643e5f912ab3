//! What is to be read, in which order, and which tables in parts.

use std::collections::BTreeMap;

use crate::content::{Fingerprint, QualifiedName, RowTally, TableDescription, TableSource};
use crate::postgres::copy::{CopyRange, copy_generated_statement, copy_out_statement, copy_out_tree_statement};
use crate::repository::manifest::{Database, Table};

/// One table or tree to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: QualifiedName,
    pub(super) leaves: usize,
    pub(super) statement: String,
    /// Why it is not to be executed.
    pub(super) refusal: Option<String>,
    pub(super) expected: RowTally,
    /// Statement and expected fingerprint; no fingerprint when the source took none.
    pub(super) generated: Option<(String, Option<Fingerprint>)>,
    /// Of what its parts are made, where several sessions are to read it.
    pub(super) in_parts: Option<TableDescription>,
}

impl Unit {
    pub(super) fn compares_generated(&self) -> bool {
        matches!(self.generated, Some((_, Some(_))))
    }
}

/// All of a database.
#[derive(Debug)]
pub(super) struct RowPlan {
    pub(super) units: Vec<Unit>,
    /// Numbers of units, the largest first. One that is read in parts has a turn for each session, where one part of it
    /// would stand.
    pub(super) turns: Vec<usize>,
    pub(super) encoding: String,
}

impl RowPlan {
    /// Numbers of the units that several sessions are to read.
    pub(super) fn read_together(&self) -> Vec<usize> {
        let is_in_parts = |number: &usize| self.units[*number].in_parts.is_some();
        (0..self.units.len()).filter(is_in_parts).collect()
    }
}

/// So many parts for each session: their last ones end at nearly the same time.
const PARTS_A_JOB: usize = 2;

/// What `jobs` sessions are to read.
pub(super) fn plan(database: &Database, conditions: &BTreeMap<QualifiedName, String>, jobs: usize) -> RowPlan {
    let encoding = database.head.properties.encoding.clone();
    arrange(units(database, conditions), jobs, encoding)
}

fn arrange(mut units: Vec<Unit>, jobs: usize, encoding: String) -> RowPlan {
    let total = units.iter().map(|unit| unit.expected.raw_bytes).sum();
    for unit in &mut units {
        if !is_too_large(unit.expected.raw_bytes, total, jobs) {
            unit.in_parts = None;
        }
    }
    let mut turns: Vec<(u64, usize)> = Vec::with_capacity(units.len());
    for (number, unit) in units.iter().enumerate() {
        let raw_bytes = unit.expected.raw_bytes;
        if unit.in_parts.is_some() {
            let part = raw_bytes / (jobs * PARTS_A_JOB) as u64;
            turns.extend(std::iter::repeat_n((part, number), jobs));
        } else {
            turns.push((raw_bytes, number));
        }
    }
    // Units are in order already, and stay so where their sizes are equal.
    turns.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    RowPlan {
        units,
        turns: turns.into_iter().map(|(_, number)| number).collect(),
        encoding,
    }
}

/// A table that is more than its fair share of the work leaves the other sessions idle while it is read. Whether it is large
/// by itself is known only on the server.
fn is_too_large(raw_bytes: u64, total_bytes: u64, jobs: usize) -> bool {
    jobs > 1 && raw_bytes > total_bytes / jobs as u64
}

/// The parts of a heap of so many blocks, for a table of so many bytes: each of at least `part_bytes`, for a range scan costs
/// the server more than a whole one, and no more of them than the sessions need. The last has no upper bound, so that no
/// row lies behind it.
pub(super) fn ranges(heap_blocks: u64, table_bytes: u64, part_bytes: u64, jobs: usize) -> Vec<CopyRange> {
    let most = (jobs * PARTS_A_JOB) as u64;
    let parts = (table_bytes / part_bytes.max(1)).min(most).min(heap_blocks).max(1);
    let blocks = heap_blocks.div_ceil(parts).max(1);
    // A heap has no more than 2^32 - 1 blocks.
    let boundary = |part: u64| {
        u32::try_from(part * blocks)
            .ok()
            .filter(|_| part * blocks < heap_blocks)
    };
    (0..parts)
        .map_while(|part| {
            let first = if part == 0 { 0 } else { boundary(part)? };
            let end = boundary(part + 1).filter(|_| part + 1 < parts);
            Some(CopyRange::Blocks { first, end })
        })
        .collect()
}

/// A condition is SQL, so that the backup's is executed only where the extension on the target says the same.
fn refusal(table: &TableDescription, conditions: &BTreeMap<QualifiedName, String>) -> Option<String> {
    let TableSource::ExtensionConfiguration { extension, condition } = &table.source else {
        return None;
    };
    match conditions.get(&table.name) {
        Some(found) if found == condition => None,
        Some(found) => Some(format!(
            "extension {extension} chooses its rows by '{found}' here and by '{condition}' in the backup"
        )),
        None => Some(format!("it is no configuration table of extension {extension} here")),
    }
}

/// Every table and tree, largest first; all that could be read in parts are marked so.
fn units(database: &Database, conditions: &BTreeMap<QualifiedName, String>) -> Vec<Unit> {
    let encoding = &database.head.properties.encoding;
    let mut units: Vec<Unit> = Vec::new();
    // Leaves with the same columns can be read in one statement; a manifest keeps them in the root's order.
    let mut trees: BTreeMap<(&QualifiedName, &[String]), Vec<&Table>> = BTreeMap::new();
    for table in &database.tables {
        match &table.description.load_through {
            Some(root) => trees.entry((root, &table.description.columns)).or_default().push(table),
            None => units.push(single(table, conditions, encoding)),
        }
    }
    units.extend(
        trees
            .into_iter()
            .map(|((root, columns), leaves)| tree(root, columns, &leaves, encoding)),
    );
    units.sort_by(|a, b| (b.expected.raw_bytes, &a.name).cmp(&(a.expected.raw_bytes, &b.name)));
    units
}

fn single(table: &Table, conditions: &BTreeMap<QualifiedName, String>, encoding: &str) -> Unit {
    let description = &table.description;
    Unit {
        name: table.name().clone(),
        leaves: 0,
        statement: copy_out_statement(description, CopyRange::All, encoding),
        refusal: refusal(description, conditions),
        expected: table.tally,
        generated: copy_generated_statement(description, CopyRange::All, encoding)
            .map(|statement| (statement, table.generated.map(|generated| generated.fingerprint))),
        // The condition of a configuration table chooses its rows already.
        in_parts: (description.source == TableSource::Table).then(|| description.clone()),
    }
}

fn tree(root: &QualifiedName, columns: &[String], leaves: &[&Table], encoding: &str) -> Unit {
    let generated_columns = &leaves[0].description.generated_columns;
    let fingerprint = leaves.iter().try_fold(Fingerprint::default(), |sum, leaf| {
        leaf.generated.map(|generated| sum.union(generated.fingerprint))
    });
    Unit {
        name: root.clone(),
        leaves: leaves.len(),
        statement: copy_out_tree_statement(root, columns, encoding),
        refusal: None,
        expected: leaves
            .iter()
            .fold(RowTally::default(), |sum, leaf| sum.union(leaf.tally)),
        generated: (!generated_columns.is_empty())
            .then(|| (copy_out_tree_statement(root, generated_columns, encoding), fingerprint)),
        // Its rows lie in many heaps.
        in_parts: None,
    }
}

#[cfg(test)]
mod tests;
