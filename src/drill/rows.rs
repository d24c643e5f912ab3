//! Every row, again: each table is copied out in new sessions and tallied with the same statements and the same hash as
//! at the source.
//!
//! A partition tree that was loaded through its root is compared there, with the sum of its leaves: which leaf a row
//! belongs to may legitimately differ. Workers take the largest tables first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::check::{Check, CheckName, Findings};
use super::error::{Error, Result};
use crate::content::{Fingerprint, QualifiedName, RowTally, TableDescription, TableSource};
use crate::postgres::copy::{
    CopyRange, copy_generated_statement, copy_out_statement, copy_out_tree_statement, tally_of,
};
use crate::postgres::extension::configuration_conditions;
use crate::postgres::{ConnectOptions, Session, connect};
use crate::repository::manifest::{Database, Table};
use crate::telemetry::progress::Progress;

/// One table (or partition tree) as the backup has it and as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableComparison {
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Tables of the backup that were compared together through this root; 0 for a table of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leaves: usize,
    pub expected: RowTally,
    /// None when it could not be read.
    pub found: Option<RowTally>,
    pub equal: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One table or tree to read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    name: QualifiedName,
    leaves: usize,
    statement: String,
    /// Why it is not to be executed.
    refusal: Option<String>,
    expected: RowTally,
    /// Statement and expected fingerprint; no fingerprint when the source took none.
    generated: Option<(String, Option<Fingerprint>)>,
}

/// What a worker found: position of the unit, and its tallies or the server's refusal.
struct Found {
    position: usize,
    rows: std::result::Result<RowTally, String>,
    generated: Option<std::result::Result<RowTally, String>>,
}

/// Compares all tables with `jobs` sessions at the same time.
pub(super) async fn compare_rows(
    database: &Database,
    target: &ConnectOptions,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(Vec<Check>, Vec<TableComparison>)> {
    let units = Arc::new(plan(database, &conditions_of(database, target).await?));
    let next = Arc::new(AtomicUsize::new(0));
    // A worker waits with its next table until the last one was taken note of.
    let (sender, mut receiver) = mpsc::channel(jobs.max(1));
    let mut workers = JoinSet::new();
    for _ in 0..jobs.clamp(1, units.len().max(1)) {
        workers.spawn(work(
            target.clone(),
            Arc::clone(&units),
            Arc::clone(&next),
            sender.clone(),
        ));
    }
    drop(sender);
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    while let Some(one) = receiver.recv().await {
        progress.advance(units[one.position].expected.raw_bytes);
        found.insert(one.position, one);
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(judge(&units, &found))
}

async fn work(
    target: ConnectOptions,
    units: Arc<Vec<Unit>>,
    next: Arc<AtomicUsize>,
    sender: mpsc::Sender<Found>,
) -> Result<()> {
    let session = connect(&target, "compare").await?;
    loop {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let Some(unit) = units.get(position) else { return Ok(()) };
        let rows = match &unit.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => tally(&session, &unit.statement, &unit.name).await?,
        };
        let generated = match &unit.generated {
            Some((statement, Some(_))) => Some(tally(&session, statement, &unit.name).await?),
            _ => None,
        };
        let found = Found {
            position,
            rows,
            generated,
        };
        if sender.send(found).await.is_err() {
            return Ok(());
        }
    }
}

/// A refusal of the server's (no such table, no such column) is an answer; a lost connection is not.
async fn tally(
    session: &Session,
    statement: &str,
    name: &QualifiedName,
) -> Result<std::result::Result<RowTally, String>> {
    match tally_of(session, statement, format!("compare {name}")).await {
        Ok(tally) => Ok(Ok(tally)),
        Err(error) => match error.server_message() {
            Some(message) => Ok(Err(message.to_owned())),
            None => Err(Error::Postgres(error)),
        },
    }
}

fn judge(units: &[Unit], found: &BTreeMap<usize, Found>) -> (Vec<Check>, Vec<TableComparison>) {
    let mut row_findings = Findings::new(CheckName::Rows);
    let mut generated_findings = Findings::new(CheckName::GeneratedColumns);
    let mut tables = Vec::with_capacity(units.len());
    let (mut total, mut with_generated, mut not_compared) = (RowTally::default(), 0, 0);
    for (position, unit) in units.iter().enumerate() {
        let name = format!("table {}", unit.name);
        let answer = found.get(&position);
        let rows = answer.map_or(Err("not read"), |answer| answer.rows.as_ref().map_err(String::as_str));
        match rows {
            Ok(rows) => row_findings.expect(&name, &figures(unit.expected), &figures(*rows), ""),
            Err(message) => row_findings.differs(&name, figures(unit.expected), "unreadable", message),
        }
        match (&unit.generated, answer.and_then(|answer| answer.generated.as_ref())) {
            (None, _) => {}
            (Some((_, None)), _) => not_compared += 1,
            (Some((_, Some(expected))), Some(Ok(tally))) => {
                with_generated += 1;
                generated_findings.expect(&name, &expected.to_string(), &tally.fingerprint.to_string(), "");
            }
            (Some((_, Some(expected))), Some(Err(message))) => {
                generated_findings.differs(&name, expected.to_string(), "unreadable", message);
            }
            (Some((_, Some(expected))), None) => {
                generated_findings.differs(&name, expected.to_string(), "unreadable", "not read");
            }
        }
        let found = rows.ok().copied();
        total = total.union(found.unwrap_or_default());
        tables.push(TableComparison {
            name: unit.name.clone(),
            leaves: unit.leaves,
            expected: unit.expected,
            found,
            equal: found == Some(unit.expected),
        });
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let figures = format!(
        "{} tables, {} rows, {} bytes of COPY text",
        units.len(),
        total.rows,
        total.raw_bytes
    );
    let mut checks = row_findings.finish(figures);
    checks.extend(generated_findings.finish(format!("generated columns of {with_generated} tables")));
    if not_compared > 0 {
        let detail = format!("generated columns of {not_compared} tables: the source took no aggregate");
        checks.push(Check::skipped(CheckName::GeneratedColumns, detail));
    }
    (checks, tables)
}

fn figures(tally: RowTally) -> String {
    format!("{} rows, {} bytes, {}", tally.rows, tally.raw_bytes, tally.fingerprint)
}

/// The conditions by which extensions on the target tell a user's rows from their own, where the backup has such tables.
async fn conditions_of(database: &Database, target: &ConnectOptions) -> Result<BTreeMap<QualifiedName, String>> {
    let has_condition = |table: &Table| !matches!(table.description.source, TableSource::Table);
    if !database.tables.iter().any(has_condition) {
        return Ok(BTreeMap::new());
    }
    Ok(configuration_conditions(&connect(target, "compare").await?.client).await?)
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

/// What is to be read, largest first.
fn plan(database: &Database, conditions: &BTreeMap<QualifiedName, String>) -> Vec<Unit> {
    let encoding = &database.head.properties.encoding;
    let mut units: Vec<Unit> = Vec::new();
    // Leaves with the same columns can be read in one statement; a manifest keeps them in the root's order.
    let mut trees: BTreeMap<(&QualifiedName, &[String]), Vec<&Table>> = BTreeMap::new();
    for table in &database.tables {
        match &table.description.load_through {
            Some(root) => trees.entry((root, &table.description.columns)).or_default().push(table),
            None => units.push(Unit {
                name: table.name().clone(),
                leaves: 0,
                statement: copy_out_statement(&table.description, CopyRange::All, encoding),
                refusal: refusal(&table.description, conditions),
                expected: table.tally,
                generated: copy_generated_statement(&table.description, encoding)
                    .map(|statement| (statement, table.generated.map(|generated| generated.fingerprint))),
            }),
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
    }
}
