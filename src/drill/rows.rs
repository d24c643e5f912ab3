//! Every row, again: each table is copied out in new sessions and tallied with the same statements and the same hash as
//! at the source.
//!
//! A partition tree that was loaded through its root is compared there, with the sum of its leaves: which leaf a row
//! belongs to may legitimately differ. Workers take the largest tables first; one that is more than its share of the work
//! they read together.

mod judge;
mod plan;
mod read;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::judge::judge;
use self::plan::{RowPlan, plan};
use self::read::{Answers, read_whole};
use self::together::Together;
use super::check::Check;
use super::compare::CompareOptions;
use super::error::Result;
use crate::content::{QualifiedName, RowTally, TableSource};
use crate::postgres::extension::configuration_conditions;
use crate::postgres::{ConnectOptions, connect};
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

/// What the workers share.
struct Work {
    plan: RowPlan,
    /// The next of the plan's turns.
    next: AtomicUsize,
    /// For each unit that is read together.
    together: BTreeMap<usize, Together>,
}

/// Compares all tables with `options.jobs` sessions at the same time.
pub(super) async fn compare_rows(
    database: &Database,
    target: &ConnectOptions,
    options: &CompareOptions,
    progress: &dyn Progress,
) -> Result<(Vec<Check>, Vec<TableComparison>)> {
    let plan = plan(database, &conditions_of(database, target).await?, options.jobs);
    let workers = options.jobs.clamp(1, plan.turns.len().max(1));
    let together = |unit: &usize| (*unit, Together::new(options));
    let work = Arc::new(Work {
        together: plan.read_together().iter().map(together).collect(),
        next: AtomicUsize::new(0),
        plan,
    });
    // A worker waits with its next table until the last one was taken note of.
    let (sender, mut receiver) = mpsc::channel(options.jobs.max(1));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work_off(target.clone(), Arc::clone(&work), sender.clone()));
    }
    drop(sender);
    let mut found: BTreeMap<usize, Answers> = BTreeMap::new();
    while let Some((unit, answers)) = receiver.recv().await {
        progress.advance(work.plan.units[unit].expected.raw_bytes);
        found.insert(unit, answers);
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(judge(&work.plan.units, &found))
}

/// Takes turns until there are none left; sends each unit's answers once, with its number.
async fn work_off(target: ConnectOptions, work: Arc<Work>, sender: mpsc::Sender<(usize, Answers)>) -> Result<()> {
    let session = connect(&target, "compare").await?;
    while let Some(&number) = work.plan.turns.get(work.next.fetch_add(1, Ordering::Relaxed)) {
        let unit = &work.plan.units[number];
        let answers = match work.together.get(&number) {
            Some(together) => together.help(&session, unit, &work.plan.encoding).await?,
            None => Some(read_whole(&session, unit).await?),
        };
        let Some(answers) = answers else { continue };
        if sender.send((number, answers)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The conditions by which extensions on the target tell a user's rows from their own, where the backup has such tables.
async fn conditions_of(database: &Database, target: &ConnectOptions) -> Result<BTreeMap<QualifiedName, String>> {
    let has_condition = |table: &Table| !matches!(table.description.source, TableSource::Table);
    if !database.tables.iter().any(has_condition) {
        return Ok(BTreeMap::new());
    }
    Ok(configuration_conditions(&connect(target, "compare").await?.client).await?)
}
