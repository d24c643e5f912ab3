//! One restore, by what a person chose.

use std::path::PathBuf;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::choose::{BackupChoice, choose_backup, choose_database};
use super::error::{Error, Result};
use super::open::{RestoreTarget, Target, open_repository, restore_target};
use crate::config::Settings;
use crate::postgres::Environment;
use crate::postgres::silence::while_it_answers;
use crate::repository::id::BackupId;
use crate::repository::manifest::{Backup, Database};
use crate::repository::{CertificateState, Repository, last_verdict};
use crate::restore::{
    self, RestoreOptions, RestoreReport, RolesMode, Selection, TargetUse, WipeReport, check_before_wipe, guard,
    restore_database,
};
use crate::telemetry::progress::Progress;

/// What to restore where, and how.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent choices of a person")]
pub struct RestoreRequest<'a> {
    pub backup: BackupChoice,
    /// The backup's database; none: its only one.
    pub database: Option<String>,
    pub into: RestoreTarget<'a>,
    pub selection: Selection,
    pub roles: RolesMode,
    pub create_database: bool,
    /// Empty the target first. Every guard must pass.
    pub wipe: bool,
    pub tablespaces: bool,
    pub analyze: bool,
    pub jobs: Option<usize>,
    pub bin_directory: Option<PathBuf>,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    pub backup_id: BackupId,
    pub database: String,
    /// In words; no password.
    pub target: String,
    pub wiped: Option<WipeReport>,
    #[serde(flatten)]
    pub report: RestoreReport,
}

/// Restores one database.
///
/// # Errors
/// Why it was not restored, or not to the end.
pub async fn restore(
    settings: &Settings,
    environment: &Environment,
    request: &RestoreRequest<'_>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Restored> {
    let target = restore_target(&request.into, environment)?;
    let repository = open_repository(settings).await?;
    let stored = choose_backup(&repository, &request.backup, settings.cluster.as_deref()).await?;
    let backup = repository.read_index(stored).await?;
    warn_if_refuted(&repository, &backup.manifest.backup_id).await?;
    let database = choose_database(&backup, request.database.as_ref())?;
    let work = Work {
        repository: &repository,
        backup: &backup,
        database,
        target: &target,
        options: restore_options(settings, request),
        progress,
    };
    let done = async {
        if request.wipe {
            let (wiped, report) = Box::pin(work.wipe_and_restore(cancel)).await?;
            Ok::<_, Error>((Some(wiped), report))
        } else {
            Ok((None, work.restore(cancel).await?))
        }
    };
    let (wiped, report) = while_it_answers(&target.maintenance, done).await?;
    Ok(Restored {
        backup_id: backup.manifest.backup_id.clone(),
        database: database.head.properties.name.clone(),
        target: target.database.to_string(),
        wiped,
        report,
    })
}

fn restore_options(settings: &Settings, request: &RestoreRequest<'_>) -> RestoreOptions {
    RestoreOptions {
        jobs: request.jobs.unwrap_or(settings.drill.jobs),
        selection: request.selection.clone(),
        roles: request.roles,
        create_database: request.create_database,
        maintenance_database: request.into.maintenance_database.to_owned(),
        tablespaces: request.tablespaces,
        analyze: request.analyze,
        target_use: if request.wipe {
            TargetUse::ThrownAway
        } else {
            TargetUse::Kept
        },
        bin_directory: request
            .bin_directory
            .clone()
            .or_else(|| settings.target.bin_directory.clone()),
        ..RestoreOptions::default()
    }
}

struct Work<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    database: &'a Database,
    target: &'a Target,
    options: RestoreOptions,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    async fn restore(&self, cancel: &CancellationToken) -> Result<RestoreReport> {
        Ok(Box::pin(restore_database(
            self.repository,
            self.backup,
            self.database,
            &self.target.database,
            &self.options,
            self.progress,
            cancel,
        ))
        .await?)
    }

    /// The guards hold until the restore is done: losing their lock stops it.
    async fn wipe_and_restore(&self, cancel: &CancellationToken) -> Result<(WipeReport, RestoreReport)> {
        let guarded = guard(self.repository, &self.target.database, &self.target.maintenance).await?;
        let stop = cancel.child_token();
        let work = async {
            let (repository, backup, database) = (self.repository, self.backup, self.database);
            let checked = check_before_wipe(repository, backup, database, &guarded, &self.options);
            stop.run_until_cancelled(Box::pin(checked))
                .await
                .unwrap_or(Err(restore::Error::Interrupted))?;
            let wiped = restore::wipe(&guarded, &self.database.head.properties, &stop).await?;
            Ok::<_, Error>((wiped, self.restore(&stop).await?))
        };
        let done = guarded.run(&stop, work).await;
        if done.is_err() {
            guarded.check()?;
        }
        done
    }
}

/// Somebody in an emergency takes `latest` and may not know that its last drill failed.
async fn warn_if_refuted(repository: &Repository, backup_id: &BackupId) -> Result<()> {
    let certificates = repository.certificates_of(backup_id).await?;
    if last_verdict(&certificates) == Some(CertificateState::Failed) {
        tracing::warn!(%backup_id, "the last drill of this backup FAILED; 'kubebackup list' shows which ones are certified");
    }
    Ok(())
}
