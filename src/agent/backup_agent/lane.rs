//! The way to one copy: when it is filled again, what is known of it, and the run that fills it. Each place has its own, so
//! that one that is away keeps no other waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::agenda::{is_reached, later};
use super::retention::{LetGo, expire_and_prune};
use super::workplace::Workplace;
use crate::agent::backoff::backoff;
use crate::agent::copy::{copy_options, open_copy};
use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::agent::open::open_store;
use crate::config::{CopySettings, Settings};
use crate::http::status::{CopyStatus, RepositoryStatus, RetentionCounts, RetentionStatus};
use crate::repository::{self, CopyReport, Repository};
use crate::telemetry::causes;
use crate::telemetry::progress::Progress;

/// Chunks on their way at once: production's pod has little memory, and other work to do.
const CONCURRENCY: usize = 2;

/// One place.
pub(super) struct Lane {
    place: Arc<Place>,
    pauses: (Duration, Duration),
    began: Timestamp,
    due: Option<Timestamp>,
    failures: u32,
    run: Option<(Timestamp, BoxFuture<'static, Filled>)>,
    /// One more is wanted when the present run has ended.
    is_wanted: bool,
    /// Backups that need not be brought, as the last run that came to its end has found; none before the first.
    settled: Option<BTreeSet<String>>,
    last_success: Option<Timestamp>,
    let_go: Option<u64>,
    trouble: Option<String>,
    retention: RetentionStatus,
}

/// A copy and what it opens, once.
struct Place {
    settings: CopySettings,
    repository: OnceCell<Repository>,
}

/// How a run ended.
pub(super) struct Filled {
    copied: Result<CopyReport>,
    /// What its own retention did, where that follows.
    let_go: Option<LetGo>,
}

impl Lane {
    pub(super) fn new(place: &CopySettings, settings: &Settings, now: Timestamp) -> Self {
        let agent = &settings.backup_agent;
        Self {
            place: Arc::new(Place {
                settings: place.clone(),
                repository: OnceCell::new(),
            }),
            pauses: (agent.retry_first.0, agent.retry_max.0),
            began: now,
            due: Some(now),
            failures: 0,
            run: None,
            is_wanted: false,
            settled: None,
            last_success: None,
            let_go: None,
            trouble: None,
            retention: RetentionStatus::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.place.settings.name
    }

    /// A backup of this agent has come.
    pub(super) fn want(&mut self, now: Timestamp) {
        self.is_wanted = self.run.is_some();
        (self.due, self.failures) = (Some(now), 0);
    }

    /// The repository as it was just seen. What another agent has made it brings itself, so there is no haste.
    pub(super) fn saw(&mut self, repository: &RepositoryStatus, now: Timestamp) {
        if self.run.is_none() && self.due.is_none() && self.missing(repository).is_some_and(|missing| missing > 0) {
            self.due = Some(later(now, self.pauses.1));
        }
    }

    /// Begins a run that is due.
    pub(super) fn begin(
        &mut self,
        workplace: &Arc<Workplace>,
        live: &Live,
        cancel: &CancellationToken,
        now: Timestamp,
    ) {
        let is_due = self.due.is_some_and(|due| is_reached(due, self.pauses.1, now));
        if self.run.is_some() || !is_due {
            return;
        }
        self.due = None;
        let run = Run {
            place: Arc::clone(&self.place),
            workplace: Arc::clone(workplace),
            lets_go: self.failures == 0,
            cancel: cancel.clone(),
            progress: Counting {
                name: self.name().to_owned(),
                live: live.clone(),
            },
        };
        self.run = Some((now, run.fill().boxed()));
    }

    /// Whether there is something to wait for.
    pub(super) fn running(&mut self) -> Option<&mut BoxFuture<'static, Filled>> {
        self.run.as_mut().map(|(_, run)| run)
    }

    /// The run has ended.
    pub(super) fn filled(&mut self, filled: Filled, live: &Live, now: Timestamp) {
        self.run = None;
        let name = self.name().to_owned();
        if let Some(let_go) = &filled.let_go {
            let_go.tell(&name);
            let_go.note(&mut self.retention);
            live.count_copy(&name, |counts| counts.retention.add(&let_go.run()));
        }
        let trouble = match &filled.copied {
            Ok(report) => report
                .left
                .first()
                .map(|left| format!("{}: {}", left.backup_id, left.reason)),
            Err(error) => Some(causes::chain(error)),
        };
        self.tell(&filled.copied, trouble.as_deref(), live);
        if let Ok(report) = filled.copied {
            self.settled = Some(report.settled.iter().map(ToString::to_string).collect());
            self.let_go = Some(report.let_go.len() as u64);
        }
        self.trouble = trouble;
        if self.trouble.is_none() {
            (self.last_success, self.failures) = (Some(now), 0);
            self.due = self.is_wanted.then_some(now);
        } else if self.is_wanted {
            self.due = Some(now);
        } else {
            let pause = backoff(self.pauses.0, self.pauses.1, self.failures);
            (self.due, self.failures) = (Some(later(now, pause)), self.failures.saturating_add(1));
        }
        self.is_wanted = false;
    }

    fn tell(&self, copied: &Result<CopyReport>, trouble: Option<&str>, live: &Live) {
        let copy = self.name();
        match copied {
            Ok(report) => {
                let (backups, left, let_go) = (report.copied.len(), report.left.len(), report.let_go.len());
                let bytes = report.copied_bytes;
                match trouble {
                    None => tracing::info!(
                        copy,
                        backups,
                        bytes,
                        let_go,
                        "the copy holds every backup that belongs there"
                    ),
                    Some(first) => tracing::warn!(copy, backups, bytes, left, first, "backups could not be copied"),
                }
                live.count_copy(copy, |counts| {
                    counts.copied_backups += backups as u64;
                    *if left == 0 {
                        &mut counts.complete
                    } else {
                        &mut counts.incomplete
                    } += 1;
                });
            }
            Err(error) => {
                let hint = error.meaning().hint;
                tracing::warn!(
                    copy,
                    error = trouble,
                    hint,
                    "the copy could not be filled; backups go on, and it is tried again"
                );
                live.count_copy(copy, |counts| counts.failed += 1);
            }
        }
    }

    /// As it stands beside `repository`, as that was last seen.
    pub(super) fn status(&self, repository: Option<&RepositoryStatus>) -> CopyStatus {
        CopyStatus {
            name: self.name().to_owned(),
            running_since: self.run.as_ref().map(|(since, _)| *since),
            next_attempt: self.due,
            last_success: self.last_success,
            missing: repository.and_then(|repository| self.missing(repository)),
            behind_since: repository.and_then(|repository| self.behind_since(repository)),
            let_go: self.let_go,
            trouble: self.trouble.clone(),
            retention: self.retention.clone(),
        }
    }

    /// How many backups are not there; none before that is known.
    fn missing(&self, repository: &RepositoryStatus) -> Option<u64> {
        let settled = self.settled.as_ref()?;
        let missing = repository
            .backups
            .iter()
            .filter(|backup| !settled.contains(&backup.backup_id));
        Some(missing.count() as u64)
    }

    /// Since when a backup could be used that is not there: of a place that has not been looked at yet, since it was to be.
    fn behind_since(&self, repository: &RepositoryStatus) -> Option<Timestamp> {
        let usable = repository
            .backups
            .iter()
            .filter_map(|backup| Some((backup, backup.contents.as_ref()?.usable_since)));
        match &self.settled {
            None => repository.backups.first().map(|_| self.began),
            Some(settled) => usable
                .filter(|(backup, _)| !settled.contains(&backup.backup_id))
                .map(|(_, since)| since)
                .min(),
        }
    }
}

/// What fills a place; it lives on its own. Dropped at any moment, the next one goes on.
struct Run {
    place: Arc<Place>,
    workplace: Arc<Workplace>,
    lets_go: bool,
    cancel: CancellationToken,
    progress: Counting,
}

impl Run {
    async fn fill(self) -> Filled {
        let copied = Box::pin(self.copy()).await;
        let is_wanted = self.lets_go && copied.is_ok() && self.retention().retention.after_backup;
        let let_go = if is_wanted {
            let started = crate::telemetry::clock::now();
            Some(LetGo::now(started, Box::pin(self.let_go()).await))
        } else {
            None
        };
        Filled { copied, let_go }
    }

    async fn copy(&self) -> Result<CopyReport> {
        let from = self.workplace.repository().await?;
        let options = copy_options(&self.place.settings, &self.workplace.settings, CONCURRENCY);
        let to = self.repository(from).await?;
        Ok(repository::copy(from, to, &options, &self.progress).await?)
    }

    async fn repository(&self, from: &Repository) -> Result<&Repository> {
        let open = || async {
            let store = open_store(&self.place.settings.repository).await?;
            open_copy(from, store).await
        };
        self.place.repository.get_or_try_init(open).await
    }

    /// The settings as they hold in this place.
    fn retention(&self) -> Settings {
        let settings = &self.workplace.settings;
        Settings {
            retention: self.place.settings.retention(settings).clone(),
            prune: self.place.settings.prune(settings).clone(),
            ..settings.clone()
        }
    }

    async fn let_go(&self) -> Result<(repository::ExpireReport, repository::PruneReport)> {
        let settings = self.retention();
        let to = self.repository(self.workplace.repository().await?).await?;
        expire_and_prune(to, &settings, &self.cancel, |_| (), |done| self.progress.count(done)).await
    }
}

/// Counts bytes as they arrive.
struct Counting {
    name: String,
    live: Live,
}

impl Counting {
    fn count(&self, done: &RetentionCounts) {
        self.live.count_copy(&self.name, |counts| counts.retention.add(done));
    }
}

impl Progress for Counting {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.live.count_copy(&self.name, |counts| counts.copied_bytes += bytes);
    }

    fn end(&self) {}
}

#[cfg(test)]
mod tests;
