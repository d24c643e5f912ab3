//! One restore, by what a person chose.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::choose::{BackupChoice, choose_backup, choose_database};
use super::error::{Error, Result};
use super::open::{RestoreTarget, Target, open_repository, restore_target};
use crate::config::Settings;
use crate::content::quote_identifier;
use crate::postgres::Environment;
use crate::postgres::silence::while_it_answers;
use crate::repository::id::BackupId;
use crate::repository::manifest::{Backup, Database};
use crate::repository::{CertificateState, Repository, last_verdict};
use crate::restore::{
    self, FIRST_WRITING_PHASE, RestoreOptions, RestoreReport, RolesMode, Selection, TargetUse, WipeReport,
    check_before_wipe, guard, restore_database,
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
/// Why it was not restored; `Error::Incomplete` when it was in part.
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
    let touching = Touching {
        progress,
        begun: AtomicBool::new(false),
    };
    let work = Work {
        repository: &repository,
        backup: &backup,
        database,
        target: &target,
        options: restore_options(settings, request),
        progress: &touching,
    };
    let done = async {
        if request.wipe {
            let (wiped, report) = Box::pin(work.wipe_and_restore(cancel)).await?;
            Ok::<_, Error>((Some(wiped), report))
        } else {
            Ok((None, work.restore(cancel).await?))
        }
    };
    let done = while_it_answers(&target.maintenance, done).await;
    let (wiped, report) = done.map_err(|error| {
        if touching.begun.load(Ordering::Relaxed) {
            Error::Incomplete {
                database: quote_identifier(&target.database.database),
                next: before_the_next(request),
                source: Box::new(error),
            }
        } else {
            error
        }
    })?;
    Ok(Restored {
        backup_id: backup.manifest.backup_id.clone(),
        database: database.head.properties.name.clone(),
        target: target.database.to_string(),
        wiped,
        report,
    })
}

/// A restore that stopped leaves what it has made, for people to look at, and the next one overwrites nothing.
fn before_the_next(request: &RestoreRequest<'_>) -> &'static str {
    if request.wipe {
        "the next restore with --wipe empties it"
    } else if request.selection.is_everything() {
        "drop it before it is restored again"
    } else {
        "drop what was chosen before it is restored again"
    }
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

/// Hands progress on, and knows whether the target is still as it was found.
struct Touching<'a> {
    progress: &'a dyn Progress,
    begun: AtomicBool,
}

impl Touching<'_> {
    fn begins(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }
}

impl Progress for Touching<'_> {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        if phase == FIRST_WRITING_PHASE {
            self.begins();
        }
        self.progress.begin(phase, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    fn end(&self) {
        self.progress.end();
    }
}

struct Work<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    database: &'a Database,
    target: &'a Target,
    options: RestoreOptions,
    progress: &'a Touching<'a>,
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
            self.progress.begins();
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
