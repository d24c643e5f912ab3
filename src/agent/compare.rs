//! A comparison of a database with a backup, by what a caller chose.

use tokio_util::sync::CancellationToken;

use super::choose::{BackupChoice, choose_backup, choose_database};
use super::error::{Error, Result};
use super::open::{RestoreTarget, check_drill_target, drill_target, open_repository, restore_target};
use crate::config::Settings;
use crate::drill::{self, CompareOptions, Comparison};
use crate::postgres::silence::while_it_answers;
use crate::postgres::{ConnectOptions, Environment};
use crate::repository::id::BackupId;
use crate::telemetry::progress::Progress;

/// What to compare with what.
#[derive(Clone, Debug)]
pub struct CompareRequest<'a> {
    pub backup: BackupChoice,
    /// The backup's database; none: its only one.
    pub database: Option<String>,
    /// None: the drill's target for that database.
    pub into: Option<RestoreTarget<'a>>,
    pub jobs: Option<usize>,
    pub amcheck: bool,
}

/// What was compared, and what came of it.
#[derive(Clone, Debug)]
pub struct Compared {
    pub backup_id: BackupId,
    pub database: String,
    /// In words; no password.
    pub target: String,
    pub comparison: Comparison,
}

/// Compares; changes nothing in the database but a scratch database beside it.
///
/// # Errors
/// When there is no answer. Differences are in the comparison.
pub async fn compare(
    settings: &Settings,
    environment: &Environment,
    request: &CompareRequest<'_>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Compared> {
    match &request.into {
        Some(into) => restore_target(into, environment).map(drop)?,
        None => check_drill_target(settings, environment)?,
    }
    let repository = open_repository(settings).await?;
    let stored = choose_backup(&repository, &request.backup, settings.cluster.as_deref()).await?;
    let backup = repository.read_index(stored).await?;
    let database = choose_database(&backup, request.database.as_ref())?;
    let name = &database.head.properties.name;
    let target: ConnectOptions = match &request.into {
        Some(into) => restore_target(into, environment)?.database,
        None => drill_target(settings, environment, name)?.database,
    };
    let options = CompareOptions {
        jobs: request.jobs.unwrap_or(settings.drill.jobs),
        bin_directory: settings.target.bin_directory.clone(),
        amcheck: request.amcheck || settings.drill.amcheck,
        // A comparison by hand alters no role, not even for a moment.
        ..CompareOptions::default()
    };
    let archive = repository.read_segments(&backup, &database.head.schema_archive).await?;
    let work = Box::pin(drill::compare_database(
        &backup, database, &archive, &target, &options, progress, cancel,
    ));
    let comparison = while_it_answers(&target, async { Ok::<_, Error>(work.await?) }).await?;
    Ok(Compared {
        backup_id: backup.manifest.backup_id.clone(),
        database: name.clone(),
        target: target.to_string(),
        comparison,
    })
}
