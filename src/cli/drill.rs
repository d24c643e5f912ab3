//! `drill`: wipe, restore, compare, certificate.

use clap::Args;

use super::exit::Exit;
use super::target::BackupArgument;
use super::{Context, output, report};
use crate::agent::{self, DrillOverrides};
use crate::drill::{self, Verdict};

/// Tables of a database that the terminal shows; the certificate has them all.
pub(super) const SHOWN_TABLES: usize = 60;

/// Prove a backup: destroy the throw-away databases, rebuild them from the bucket alone, compare, certify
///
/// The databases named by the settings below 'target' are destroyed. Each must carry its owner's marker, and its server must
/// occur in no backup of the repository. The certificate is stored beside the backup, whatever it says.
#[derive(Debug, Args)]
pub(super) struct DrillArguments {
    #[command(flatten)]
    backup: BackupArgument,

    /// Drill this database alone; may be repeated. What is left out is not certified [default: all of the backup's]
    #[arg(long = "database", value_name = "NAME")]
    databases: Vec<String>,

    /// Connections that load and compare at the same time [default: the setting drill.jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Leave the rebuilt databases in place afterwards
    #[arg(long)]
    keep: bool,

    /// Check the indexes with the amcheck extension too
    #[arg(long)]
    amcheck: bool,
}

pub(super) async fn run(arguments: &DrillArguments, context: &Context) -> anyhow::Result<Exit> {
    let overrides = DrillOverrides {
        databases: arguments.databases.clone(),
        jobs: arguments.jobs.map(usize::from),
        keep: arguments.keep,
        amcheck: arguments.amcheck,
    };
    let progress = context.progress();
    let drilled = agent::drill(
        &context.settings,
        &context.environment,
        &arguments.backup.backup,
        &overrides,
        progress.as_ref(),
        &context.cancel,
    )
    .await;
    let certificate = match drilled {
        Ok(certificate) => certificate,
        // There is nowhere to leave a certificate: the exit code has to say it.
        Err(error) if error.is_refused_by_store() => {
            let _failure = report(&error.into());
            return Ok(Exit::Unverified);
        }
        Err(error) => return Err(error.into()),
    };
    output::print(context.output, &certificate, || {
        drill::render(&certificate, SHOWN_TABLES)
    })?;
    Ok(match certificate.verdict {
        Verdict::Certified => Exit::Success,
        Verdict::Failed => Exit::Failed,
        Verdict::Unverified(_) => Exit::Unverified,
    })
}
