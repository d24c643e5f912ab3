//! `compare`: a database against a backup.

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::target::{BackupArgument, IntoArguments};
use super::{Context, evidence, output};
use crate::agent::{self, CompareRequest, Compared};
use crate::drill::{Check, TableComparison};
use crate::repository::id::BackupId;
use crate::telemetry::plain;

/// Compare a database with what a backup says it holds: rows, definitions, privileges, sequences and the rest
///
/// Reads the database itself and never the backup's rows. It changes nothing but a scratch database beside it, which it
/// removes, with any that a killed comparison left there (known by their comment); the role needs CREATEDB for that.
#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    #[command(flatten)]
    backup: BackupArgument,

    /// Connection string of the database, without a password [default: the drill's target]
    #[arg(long, value_name = "DSN")]
    into: Option<String>,

    #[command(flatten)]
    target: IntoArguments,

    /// The backup's database to compare with [default: its only one]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    /// Tables read at the same time [default: the setting drill.jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Check the indexes with the amcheck extension too
    #[arg(long)]
    amcheck: bool,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct CompareResult<'a> {
    backup_id: &'a BackupId,
    database: &'a str,
    target: &'a str,
    equal: bool,
    checks: &'a [Check],
    tables: &'a [TableComparison],
}

pub(super) async fn run(arguments: &CompareArguments, context: &Context) -> anyhow::Result<Exit> {
    let request = CompareRequest {
        backup: arguments.backup.backup.clone(),
        database: arguments.database.clone(),
        into: arguments.into.as_deref().map(|into| arguments.target.target(into)),
        jobs: arguments.jobs.map(usize::from),
        amcheck: arguments.amcheck,
    };
    let progress = context.progress();
    let (settings, environment) = (&context.settings, &context.environment);
    let compared = agent::compare(settings, environment, &request, progress.as_ref(), &context.cancel).await?;
    let equal = compared.comparison.is_equal();
    let result = CompareResult {
        backup_id: &compared.backup_id,
        database: &compared.database,
        target: &compared.target,
        equal,
        checks: &compared.comparison.checks,
        tables: &compared.comparison.tables,
    };
    output::print(context.output, &result, || text(&compared))?;
    Ok(if equal { Exit::Success } else { Exit::Failed })
}

fn text(compared: &Compared) -> String {
    let comparison = &compared.comparison;
    format!(
        "backup    {}\ndatabase  {}\ntarget    {}\n\n{}\n{}\n{}\n",
        compared.backup_id,
        plain::line(&compared.database),
        plain::line(&compared.target),
        evidence::tables(&comparison.tables),
        evidence::checks(&comparison.checks),
        if comparison.is_equal() {
            "equal: the database holds what the backup says"
        } else {
            "DIFFERENT: the database does not hold what the backup says"
        }
    )
}
