//! `backup`: one backup now.

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::{Context, output};
use crate::agent::{self, BackupOverrides};
use crate::config::PaceSetting;
use crate::repository::StoredManifest;
use crate::repository::id::{BackupId, Sha256Digest};
use crate::repository::manifest::{BackupStats, DatabaseSummary};
use crate::telemetry::memory::peak_resident_bytes;
use crate::telemetry::{figures, plain};

/// Take one backup now
///
/// Every database under its own snapshot, hashed and compressed into the repository; what the previous backup has already
/// stored is not uploaded again. Without a complete backup nothing is visible in the repository.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Tables copied at the same time [default: the setting backup.jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Read as fast as the server can (`full`), or let production go first (`polite`) [default: the setting backup.pace, or full]
    #[arg(long, value_name = "PACE", value_enum)]
    pace: Option<PaceArgument>,

    /// Back up this database alone; may be repeated [default: the setting source.databases]
    #[arg(long = "database", value_name = "NAME")]
    databases: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PaceArgument {
    Full,
    Polite,
}

impl From<PaceArgument> for PaceSetting {
    fn from(pace: PaceArgument) -> Self {
        match pace {
            PaceArgument::Polite => Self::Polite,
            PaceArgument::Full => Self::Full,
        }
    }
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct BackupResult<'a> {
    backup_id: &'a BackupId,
    manifest_sha256: Sha256Digest,
    predecessor: Option<&'a BackupId>,
    databases: &'a [DatabaseSummary],
    databases_not_included: &'a [String],
    stats: BackupStats,
    /// Resident memory of this process at its peak, where the kernel tells.
    peak_memory_bytes: Option<u64>,
}

pub(super) async fn run(arguments: &BackupArguments, context: &Context) -> anyhow::Result<Exit> {
    let overrides = BackupOverrides {
        jobs: arguments.jobs.map(usize::from),
        pace: arguments.pace.map(PaceSetting::from),
        databases: arguments.databases.clone(),
    };
    let stored = agent::backup(
        &context.settings,
        &context.environment,
        &overrides,
        context.progress(),
        &context.cancel,
    )
    .await?;
    let manifest = &stored.manifest;
    let result = BackupResult {
        backup_id: &manifest.backup_id,
        manifest_sha256: stored.sha256,
        predecessor: manifest.predecessor.as_ref().map(|predecessor| &predecessor.backup_id),
        databases: &manifest.databases,
        databases_not_included: &manifest.databases_not_included,
        stats: manifest.stats,
        peak_memory_bytes: peak_resident_bytes(),
    };
    output::print(context.output, &result, || summary(&stored))?;
    Ok(Exit::Success)
}

fn summary(stored: &StoredManifest) -> String {
    let manifest = &stored.manifest;
    let stats = &manifest.stats;
    let names: Vec<&str> = manifest
        .databases
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    let not_included = match manifest.databases_not_included.as_slice() {
        [] => String::new(),
        names => format!("not included   {}\n", plain::line(&names.join(", "))),
    };
    let healed = match stats.healed_chunks {
        0 => String::new(),
        healed => format!("healed         {} damaged chunks stored anew\n", figures::count(healed)),
    };
    let paced = stats.paced_seconds.map_or_else(String::new, |seconds| {
        format!(", of which {} were pauses for production", figures::seconds(seconds))
    });
    format!(
        "backup         {}\ndatabases      {}\n{not_included}contents       {} tables, {} rows, {} of COPY text\n\
         stored         {} in {} chunks\nnew            {} in {} chunks\nreused         {} chunks ({})\n{healed}\
         duration       {}{paced}\n",
        manifest.backup_id,
        plain::line(&names.join(", ")),
        figures::count(stats.tables),
        figures::count(stats.rows),
        figures::bytes(stats.raw_bytes),
        figures::bytes(stats.stored_bytes),
        figures::count(stats.chunks),
        figures::bytes(stats.new_bytes),
        figures::count(stats.new_chunks),
        figures::count(stats.reused_chunks),
        figures::share(stats.reused_chunks, stats.chunks),
        figures::seconds(stats.duration_seconds),
    )
}
