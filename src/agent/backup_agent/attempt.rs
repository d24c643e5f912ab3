//! One attempt at a backup: is everything there, is it this server's turn, then the run itself, told to `Live`.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::agenda::Obstacle;
use super::lease::{Taken, give_back, take};
use super::workplace::Workplace;
use crate::agent::backup::backup_into;
use crate::agent::error::{Error, Result};
use crate::agent::live::{Live, LiveProgress, RunEnd};
use crate::agent::meaning::{Class, Next, Severity};
use crate::agent::view::counts_for_the_timer;
use crate::backup::{self, BackupOptions};
use crate::http::status::{Outcome, Trigger};
use crate::postgres::ConnectOptions;
use crate::repository::{Lease, Repository, StoredManifest};
use crate::telemetry::causes;

/// What became of it.
#[derive(Debug)]
pub(super) enum Attempted {
    /// It waits; no run has begun.
    NotYet(Obstacle, String),
    /// A backup exists, which began then.
    Succeeded(Timestamp),
    /// A run that began then ended without a backup.
    Failed(Class, Timestamp),
    /// A run found at once that it is another agent's turn.
    Skipped,
    /// Another agent has made the backup that was due.
    Superseded,
}

/// What an attempt needs; it lives on its own.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) workplace: Arc<Workplace>,
    pub(super) live: Live,
    pub(super) trigger: Trigger,
    /// When the newest backup began that the bucket was seen to hold.
    pub(super) newest: Option<Timestamp>,
    pub(super) cancel: CancellationToken,
}

impl Attempt {
    /// A backup that begins by itself waits patiently for the server and the store. One that was asked for by a signal
    /// begins in any case: somebody waits for its outcome.
    pub(super) async fn run(self) -> Attempted {
        let is_asked_for = self.trigger == Trigger::Signal;
        let begun = is_asked_for.then(|| self.begin());
        let ready = Box::pin(self.cancel.run_until_cancelled(self.get_ready())).await;
        let ready = ready.unwrap_or(Err(Error::Backup(backup::Error::Cancelled)));
        match ready {
            Ok(Ready::Go(lease)) => {
                let run = begun.unwrap_or_else(|| self.begin());
                let attempted = self.back_up(run, lease.clone()).await;
                give_back(lease, &self.live).await;
                attempted
            }
            Ok(Ready::Superseded) => Attempted::Superseded,
            Ok(Ready::OthersTurn(reason)) if is_asked_for => {
                tracing::warn!(reason, "backup skipped");
                self.end(Outcome::Skipped, None, Some(reason));
                Attempted::Skipped
            }
            Ok(Ready::OthersTurn(reason)) => Attempted::NotYet(Obstacle::Turn, reason),
            Err(error) if !is_asked_for && (is_absence(&error) || self.workplace.lacks_password()) => {
                Attempted::NotYet(Obstacle::Absent, causes::chain(&error))
            }
            Err(error) => {
                let run = begun.unwrap_or_else(|| self.begin());
                self.fail(&error, run.started)
            }
        }
    }

    /// Opens what the run needs, and finds out whose turn it is.
    async fn get_ready(&self) -> Result<Ready> {
        let repository = self.workplace.repository().await?;
        if let Some(reason) = self.workplace.wrong_role(&self.workplace.source()?).await? {
            return Ok(Ready::OthersTurn(reason));
        }
        let lease = match take(repository, self.workplace.lease_options()?, &self.live).await? {
            Taken::Held(lease) => Some(lease),
            Taken::Denied => None,
            Taken::Busy(holder) => {
                let reason = format!("another agent ('{holder}') backs this cluster up");
                return Ok(Ready::OthersTurn(reason));
            }
        };
        match self.is_superseded(repository).await {
            Ok(false) => Ok(Ready::Go(lease)),
            superseded => {
                give_back(lease, &self.live).await;
                superseded.map(|_| Ready::Superseded)
            }
        }
    }

    /// A backup that is due may have come into the bucket since it was last looked at. Under the lease none comes.
    async fn is_superseded(&self, repository: &Repository) -> Result<bool> {
        if self.trigger == Trigger::Signal {
            return Ok(false);
        }
        let cluster = self.workplace.settings.require_cluster()?;
        let newest = repository.previous_backup(cluster).await?;
        let started = newest.map(|stored| stored.manifest.started);
        let started = started.filter(|started| counts_for_the_timer(*started, crate::telemetry::clock::now()));
        Ok(started > self.newest)
    }

    fn begin(&self) -> Run {
        let started = crate::telemetry::clock::now();
        let progress = self.live.begin_run(self.trigger, None, started);
        self.live.count_trigger(self.trigger);
        tracing::info!(
            run = progress.number(),
            trigger = self.trigger.as_str(),
            "backup begins"
        );
        Run { started, progress }
    }

    async fn back_up(&self, run: Run, lease: Option<Lease>) -> Attempted {
        let number = run.progress.number();
        let span = tracing::info_span!("backup", run = number);
        let source = self.workplace.source();
        let backed_up = match source {
            Ok(source) => self.store(source, lease, run.progress).instrument(span).await,
            Err(error) => Err(error),
        };
        match backed_up {
            Ok(stored) => {
                let manifest = stored.manifest;
                // The id is known at the end alone; the number ties it to the lines of the phases.
                tracing::info!(
                    run = number,
                    backup_id = %manifest.backup_id,
                    rows = manifest.stats.rows,
                    new_bytes = manifest.stats.new_bytes,
                    seconds = manifest.stats.duration_seconds,
                    "backup succeeded"
                );
                self.end(Outcome::Succeeded, Some(manifest.backup_id.to_string()), None);
                Attempted::Succeeded(manifest.started)
            }
            Err(error) => self.fail(&error, run.started),
        }
    }

    async fn store(
        &self,
        source: ConnectOptions,
        lease: Option<Lease>,
        progress: LiveProgress,
    ) -> Result<StoredManifest> {
        let repository = self.workplace.repository().await?;
        let options = BackupOptions {
            lease,
            ..self.workplace.backup_options()?
        };
        backup_into(repository, &source, &options, Arc::new(progress), &self.cancel).await
    }

    fn fail(&self, error: &Error, started: Timestamp) -> Attempted {
        let class = error.meaning().class;
        let (hint, error) = (error.meaning().hint, causes::chain(error));
        let outcome = class.outcome().as_str();
        let is_retried = matches!(class.next(), Next::Retry | Next::Late);
        match class.severity() {
            Severity::Error => tracing::error!(error, hint, outcome, is_retried, "no backup"),
            Severity::Warn => tracing::warn!(error, hint, outcome, is_retried, "no backup"),
            Severity::Info => tracing::info!(error, outcome, "no backup"),
        }
        self.end(class.outcome(), None, Some(error));
        Attempted::Failed(class, started)
    }

    fn end(&self, outcome: Outcome, backup_id: Option<String>, message: Option<String>) {
        let end = RunEnd {
            outcome,
            backup_id,
            message,
        };
        self.live.end_run(end, crate::telemetry::clock::now());
    }
}

/// Whether a run may begin.
enum Ready {
    Go(Option<Lease>),
    OthersTurn(String),
    Superseded,
}

/// A run that goes on.
struct Run {
    started: Timestamp,
    progress: LiveProgress,
}

/// Nothing is wrong with it but that it is not there now.
fn is_absence(error: &Error) -> bool {
    matches!(error.meaning().class, Class::Unavailable | Class::GaveWay)
}
