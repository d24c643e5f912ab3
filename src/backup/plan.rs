//! The plan of one database: what becomes of every relation, and the work in the order in which workers take it.
//!
//! A pure function of the catalogue and the options. Large tables come first, one that the jobs could not balance is
//! split into parts, and small tables are grouped so that they share chunks and requests.

use crate::content::{LedgerEntry, LedgerState, QualifiedName, TableDescription, TableSource};
use crate::postgres::copy::CopyRange;
use crate::postgres::relation::{Relation, RelationKind};

use super::options::BackupOptions;

/// What to do for one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPlan {
    /// Tables whose rows are stored, by name.
    pub tables: Vec<TableDescription>,
    /// Every relation with its state.
    pub ledger: Vec<LedgerEntry>,
    /// Sequences whose value is stored, by name.
    pub sequences: Vec<QualifiedName>,
    /// Largest first.
    pub tasks: Vec<Task>,
    /// Bytes of heap and TOAST behind the tasks, for progress.
    pub estimated_bytes: u64,
}

/// Work for one worker, whose small tables share chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub pieces: Vec<Piece>,
    pub estimated_bytes: u64,
}

/// A table, or a part of a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Position in `BackupPlan::tables`.
    pub table: usize,
    /// Position among the table's parts, from 0.
    pub part: usize,
    pub range: CopyRange,
}

/// A relation that cannot be backed up at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name} lies in a system schema, which pg_dump leaves out; move it to a schema of its own")]
pub struct Unaccounted {
    pub name: QualifiedName,
    pub kind: &'static str,
}

/// Tables below this many bytes are grouped.
const SMALL_TABLE_BYTES: u64 = 1024 * 1024;

/// Tables in one group at most, whatever their size.
const GROUP_TABLES: usize = 256;

/// Plans one database.
///
/// # Errors
/// `Unaccounted` for a relation that would be a hole in the backup.
pub fn plan(relations: &[Relation], options: &BackupOptions) -> Result<BackupPlan, Unaccounted> {
    let mut plan = BackupPlan::default();
    let mut sizes = Vec::new();
    for relation in relations {
        let (state, reason) = state_of(relation, options)?;
        if state == LedgerState::Dumped {
            plan.tables.push(describe(relation, relations));
            sizes.push(relation);
        }
        if relation.is_stored_sequence() {
            plan.sequences.push(relation.name.clone());
        }
        let kind = relation.kind.as_text().to_owned();
        plan.ledger.push(LedgerEntry {
            name: relation.name.clone(),
            kind,
            state,
            reason,
        });
    }
    plan.estimated_bytes = sizes.iter().map(|relation| relation.table_bytes).sum();
    plan.tasks = tasks(&sizes, plan.estimated_bytes, options);
    Ok(plan)
}

fn state_of(relation: &Relation, options: &BackupOptions) -> Result<(LedgerState, String), Unaccounted> {
    if relation.temporary {
        return Ok((LedgerState::Temporary, "belongs to another session".to_owned()));
    }
    if let Some(extension) = &relation.extension {
        let state = match (relation.kind, &relation.configuration) {
            (RelationKind::Table, Some(_)) => LedgerState::Dumped,
            (RelationKind::Sequence, Some(_)) => LedgerState::Structure,
            _ => LedgerState::Extension,
        };
        return Ok((state, format!("member of extension {extension}")));
    }
    if matches!(
        relation.name.schema.as_str(),
        "pg_catalog" | "information_schema" | "pg_toast"
    ) {
        return Err(Unaccounted {
            name: relation.name.clone(),
            kind: relation.kind.as_text(),
        });
    }
    Ok(match relation.kind {
        RelationKind::Table => {
            if let Some(pattern) = options
                .exclude_tables
                .iter()
                .find(|pattern| pattern.matches(&relation.name))
            {
                (
                    LedgerState::Excluded,
                    format!("source.exclude_tables: {}", pattern.as_str()),
                )
            } else if relation.unlogged && !options.include_unlogged {
                (
                    LedgerState::Unlogged,
                    "unlogged; store it with source.include_unlogged".to_owned(),
                )
            } else {
                (LedgerState::Dumped, String::new())
            }
        }
        RelationKind::ForeignTable => (LedgerState::Foreign, "its rows live elsewhere".to_owned()),
        RelationKind::PartitionedTable
        | RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::Sequence => (LedgerState::Structure, String::new()),
    })
}

fn describe(relation: &Relation, relations: &[Relation]) -> TableDescription {
    // Through the root of a tree with a foreign partition, rows could go to a server outside, and come back from there.
    let contacts_nobody = |root: &u32| {
        let is_foreign =
            |other: &Relation| other.kind == RelationKind::ForeignTable && other.partition_root == Some(*root);
        !relations.iter().any(is_foreign)
    };
    let root = relation
        .partition_root
        .filter(|_| relation.routing_is_fragile)
        .filter(contacts_nobody)
        .and_then(|oid| relations.iter().find(|candidate| candidate.oid == oid));
    let source = match (&relation.extension, &relation.configuration) {
        (Some(extension), Some(condition)) => TableSource::ExtensionConfiguration {
            extension: extension.clone(),
            condition: condition.clone(),
        },
        _ => TableSource::Table,
    };
    TableDescription {
        name: relation.name.clone(),
        source,
        // Leaves of one tree may order their columns differently; through the root, all use the root's order.
        columns: root.unwrap_or(relation).columns.clone(),
        generated_columns: root.unwrap_or(relation).generated_columns.clone(),
        load_through: root.map(|root| root.name.clone()),
    }
}

fn tasks(relations: &[&Relation], total_bytes: u64, options: &BackupOptions) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut group = Task {
        pieces: Vec::new(),
        estimated_bytes: 0,
    };
    for (table, relation) in relations.iter().enumerate() {
        let whole = Piece {
            table,
            part: 0,
            range: CopyRange::All,
        };
        if relation.table_bytes < SMALL_TABLE_BYTES {
            // Groups end where the table's own name says, so that a new table changes one group, not all after it.
            group.pieces.push(whole);
            group.estimated_bytes += relation.table_bytes;
            if group.pieces.len() >= GROUP_TABLES || ends_group(&relation.name) {
                tasks.push(std::mem::replace(
                    &mut group,
                    Task {
                        pieces: Vec::new(),
                        estimated_bytes: 0,
                    },
                ));
            }
        } else if is_too_large(relation, total_bytes, options) {
            tasks.extend(parts(table, relation, options.part_blocks));
        } else {
            tasks.push(Task {
                pieces: vec![whole],
                estimated_bytes: relation.table_bytes,
            });
        }
    }
    if !group.pieces.is_empty() {
        tasks.push(group);
    }
    tasks.sort_by(|left, right| {
        right
            .estimated_bytes
            .cmp(&left.estimated_bytes)
            .then_with(|| first(left).cmp(&first(right)))
    });
    tasks
}

fn first(task: &Task) -> Option<(usize, usize)> {
    task.pieces.first().map(|piece| (piece.table, piece.part))
}

/// One name in 128 ends its group.
fn ends_group(name: &QualifiedName) -> bool {
    crate::content::row_hash(name.to_string().as_bytes()).is_multiple_of(128)
}

/// A table that is more than its fair share of the work leaves the other jobs idle while it is copied.
fn is_too_large(relation: &Relation, total_bytes: u64, options: &BackupOptions) -> bool {
    options.jobs > 1
        && relation.configuration.is_none()
        && relation.table_bytes >= options.split_table_bytes
        && relation.heap_blocks > u64::from(options.part_blocks)
        && relation.table_bytes > total_bytes / options.jobs as u64
}

/// Parts at fixed multiples of `part_blocks`, so that the same rows fall into the same part next time. The last has no
/// upper bound: blocks that were added after the size was read hold nothing the snapshot sees, or are still read.
fn parts(table: usize, relation: &Relation, part_blocks: u32) -> Vec<Task> {
    let parts = relation.heap_blocks.div_ceil(u64::from(part_blocks));
    let parts = u32::try_from(parts).unwrap_or(u32::MAX / part_blocks);
    (0..parts)
        .map(|part| {
            let first = part * part_blocks;
            let end = (part + 1 < parts).then(|| first + part_blocks);
            let range = CopyRange::Blocks { first, end };
            Task {
                pieces: vec![Piece {
                    table,
                    part: part as usize,
                    range,
                }],
                estimated_bytes: relation.table_bytes / u64::from(parts),
            }
        })
        .collect()
}
