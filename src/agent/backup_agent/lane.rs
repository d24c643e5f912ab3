//! The way to one copy: when it is filled again, what is known of it, and what goes on there. Each place has its own, so
//! that one that is away keeps no other waiting.

mod job;
mod letting_go;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::agenda::{is_reached, later};
use super::retention::LetGo;
use super::workplace::Workplace;
use crate::agent::backoff::backoff;
use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::config::{CopySettings, PruneSettings, RepositorySettings, RetentionSettings, Settings};
use crate::http::status::{CopyStatus, RepositoryStatus};
use crate::repository::CopyReport;
use crate::telemetry::causes;
use job::{Job, Place};
use letting_go::LettingGo;

/// Chunks on their way at once: production's pod has little memory, and other work to do.
const CONCURRENCY: usize = 2;

/// One place.
pub(super) struct Lane {
    place: Arc<Place>,
    goes_by: GoesBy,
    pauses: (Duration, Duration),
    began: Timestamp,
    due: Option<Timestamp>,
    failures: u32,
    run: Option<Run>,
    /// One more is wanted when the present run has ended.
    is_wanted: bool,
    letting_go: LettingGo,
    /// Backups that need not be brought, as the last run that came to its end has found; none before the first.
    settled: Option<BTreeSet<String>>,
    last_success: Option<Timestamp>,
    let_go: Option<u64>,
    trouble: Option<String>,
}

/// The settings that a place depends on.
#[derive(PartialEq, Eq)]
struct GoesBy {
    from: RepositorySettings,
    place: CopySettings,
    retention: RetentionSettings,
    prune: PruneSettings,
}

/// A filling that goes on.
struct Run {
    since: Timestamp,
    job: Arc<Job>,
    work: BoxFuture<'static, Result<CopyReport>>,
}

/// What has ended.
pub(super) enum Ended {
    Filled(Result<CopyReport>),
    LetGo(Box<LetGo>),
}

impl Lane {
    pub(super) fn new(place: &CopySettings, settings: &Settings, now: Timestamp) -> Self {
        let agent = &settings.backup_agent;
        Self {
            place: Arc::new(Place::new(place.clone())),
            goes_by: GoesBy {
                from: settings.repository.clone(),
                place: place.clone(),
                retention: place.retention(settings).clone(),
                prune: place.prune(settings).clone(),
            },
            pauses: (agent.retry_first.0, agent.retry_max.0),
            began: now,
            due: Some(now),
            failures: 0,
            run: None,
            is_wanted: false,
            letting_go: LettingGo::default(),
            settled: None,
            last_success: None,
            let_go: None,
            trouble: None,
        }
    }

    /// It under settings read anew, of which `new` was made. Where nothing has changed for it, it goes on as it is, and is
    /// tried at once if it was in trouble. Otherwise it begins anew, but has been behind for as long as it has.
    pub(super) fn under(mut self, mut new: Self, repository: Option<&RepositoryStatus>, now: Timestamp) -> Self {
        if self.goes_by == new.goes_by {
            self.pauses = new.pauses;
            if self.run.is_none() && self.trouble.is_some() {
                self.due = Some(now);
            }
            return self;
        }
        new.began = match &self.settled {
            None => self.began,
            Some(_) => repository
                .and_then(|repository| self.behind_since(repository))
                .unwrap_or(now),
        };
        new.letting_go = self.letting_go.anew();
        new
    }

    pub(super) fn name(&self) -> &str {
        &self.place.settings.name
    }

    /// A backup of this agent has come.
    pub(super) fn want(&mut self, now: Timestamp) {
        self.is_wanted = self.run.is_some();
        self.letting_go.owe();
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
        let job = Arc::new(Job {
            place: Arc::clone(&self.place),
            workplace: Arc::clone(workplace),
            cancel: cancel.clone(),
            live: live.clone(),
        });
        self.run = Some(Run {
            since: now,
            work: Arc::clone(&job).fill().boxed(),
            job,
        });
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.run.is_some() || self.letting_go.goes_on()
    }

    /// What ends first, if anything goes on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        if let Some(run) = &mut self.run
            && let Poll::Ready(copied) = run.work.poll_unpin(context)
        {
            return Poll::Ready(Ended::Filled(copied));
        }
        self.letting_go
            .poll(context)
            .map(|let_go| Ended::LetGo(Box::new(let_go)))
    }

    /// Takes it in.
    pub(super) fn ended(&mut self, ended: Ended, live: &Live, now: Timestamp) {
        match ended {
            Ended::Filled(copied) => self.filled(copied, live, now),
            Ended::LetGo(let_go) => self.letting_go.ended(&let_go, &self.place.settings.name, live),
        }
    }

    fn filled(&mut self, copied: Result<CopyReport>, live: &Live, now: Timestamp) {
        if let Some(run) = self.run.take()
            && copied.is_ok()
        {
            self.letting_go.after_filling(run.job, self.is_wanted);
        }
        let trouble = match &copied {
            Ok(report) => report
                .left
                .first()
                .map(|left| format!("{}: {}", left.backup_id, left.reason)),
            Err(error) => Some(causes::chain(error)),
        };
        self.tell(&copied, trouble.as_deref(), live);
        if let Ok(report) = copied {
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
            running_since: self.run.as_ref().map(|run| run.since),
            next_attempt: self.due,
            last_success: self.last_success,
            missing: repository.and_then(|repository| self.missing(repository)),
            behind_since: repository.and_then(|repository| self.behind_since(repository)),
            let_go: self.let_go,
            trouble: self.trouble.clone(),
            retention: self.letting_go.status(&self.place),
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

#[cfg(test)]
mod tests;
