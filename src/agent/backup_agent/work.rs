//! What the agent is at: at most one run, one look at the bucket, one expiry with prune and one filling of each copy, side by
//! side.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Rules};
use super::attempt::{Attempt, Attempted};
use super::copies::Copies;
use super::retention::let_go;
use super::workplace::Workplace;
use crate::agent::error::Result;
use crate::agent::live::{Live, RunEnd};
use crate::agent::surroundings::Surroundings;
use crate::agent::view::View;
use crate::config::Settings;
use crate::http::status::{NextRun, Outcome, RepositoryStatus, StoreCounts};
use crate::postgres::Environment;
use crate::telemetry::causes;

/// A look at the bucket; the view comes back with what it has learnt.
type Look = BoxFuture<'static, Looked>;

struct Looked {
    began: Instant,
    /// With what it knows now.
    view: View,
    /// Known although drills may not be; none where the backups could not be seen.
    newest: Option<Newest>,
    seen: Result<RepositoryStatus>,
}

/// When the newest backup began, if there is one.
struct Newest(Option<Timestamp>);

/// The loop's state.
pub(super) struct Work {
    workplace: Arc<Workplace>,
    /// Under settings that are no longer in force; what goes on may have begun with them.
    earlier: Vec<Arc<Workplace>>,
    /// Requests made in such ones before.
    earlier_requests: StoreCounts,
    holder: String,
    agenda: Agenda,
    live: Live,
    cancel: CancellationToken,
    run: Option<BoxFuture<'static, Attempted>>,
    look: Option<Look>,
    copies: Copies,
    /// What follows a backup holds up no other one.
    retention: Option<BoxFuture<'static, ()>>,
    /// One more is due: a backup was made while it went on.
    retention_again: bool,
    /// What was seen before then is out of date: a run has ended since.
    stale_before: Instant,
    /// Here while nobody looks.
    view: Option<View>,
    /// What a due run, and a look, wait for.
    run_waits_for: Option<String>,
    look_waits_for: Option<String>,
    told_next: Option<NextRun>,
}

impl Work {
    pub(super) fn new(settings: Settings, environment: Environment, live: Live, cancel: CancellationToken) -> Self {
        let rules = Rules::new(&settings.backup_agent, settings.agent.poll_interval.0);
        tracing::info!(
            cluster = settings.cluster,
            schedule = %settings.backup_agent.schedule,
            "backup agent starts"
        );
        let holder = holder();
        Self {
            copies: Copies::new(&settings, crate::telemetry::clock::now()),
            agenda: Agenda::new(rules, rand::random(), crate::telemetry::clock::now()),
            workplace: Arc::new(Workplace::new(settings, environment, holder.clone())),
            holder,
            earlier: Vec::new(),
            earlier_requests: StoreCounts::default(),
            live,
            cancel,
            run: None,
            look: None,
            retention: None,
            retention_again: false,
            stale_before: Instant::now(),
            view: Some(View::default()),
            run_waits_for: None,
            look_waits_for: None,
            told_next: None,
        }
    }

    /// Begins what is due.
    pub(super) fn begin(&mut self, now: Timestamp) {
        if self.look.is_none() && self.agenda.is_look_due(now) {
            let view = self.view.take().unwrap_or_default();
            self.look = Some(look(Arc::clone(&self.workplace), view).boxed());
        }
        if self.run.is_none()
            && let Some(trigger) = self.agenda.begin(now)
        {
            self.agenda.begun();
            let attempt = Attempt {
                workplace: Arc::clone(&self.workplace),
                live: self.live.clone(),
                trigger,
                newest: self.agenda.newest(),
                cancel: self.cancel.clone(),
            };
            self.run = Some(attempt.run().boxed());
        }
        self.copies.begin(&self.workplace, &self.live, &self.cancel, now);
    }

    /// Tells the status where things stand.
    pub(super) fn tell(&mut self, now: Timestamp) {
        self.live.turn(now);
        let requests = self.count_requests();
        self.live.set_store_counts(requests);
        self.live.set_queued(self.run.is_some() && self.agenda.is_wanted());
        if self.live.is_running() {
            self.run_waits_for = None;
        }
        let waits_for = self.run_waits_for.as_ref().or(self.look_waits_for.as_ref());
        self.live.set_waiting_for(waits_for.cloned());
        let next = if self.run.is_none() { self.agenda.due() } else { None };
        if let Some(next) = &next
            && self.told_next.as_ref() != Some(next)
        {
            tracing::info!(at = %next.at, trigger = next.trigger.as_str(), "next backup");
            self.told_next = Some(next.clone());
        }
        self.live.set_next_run(next);
        self.copies.tell(&self.live);
    }

    /// All of this process.
    fn count_requests(&mut self) -> StoreCounts {
        if self.run.is_none() && self.retention.is_none() && !self.copies.are_at_work() {
            for requests in self.earlier.drain(..).filter_map(|workplace| workplace.requests()) {
                self.earlier_requests.add(&requests);
            }
        }
        let mut all = self.earlier_requests.clone();
        let in_use = self.earlier.iter().chain([&self.workplace]);
        for requests in in_use.filter_map(|workplace| workplace.requests()) {
            all.add(&requests);
        }
        all
    }

    /// SIGUSR1.
    pub(super) fn triggered(&mut self, count: u64) {
        let coalesced = self.agenda.want(count);
        if coalesced > 0 {
            self.live.count(|counts| counts.coalesced_signals += coalesced);
            tracing::info!(signals = coalesced, "SIGUSR1: a backup is waiting to begin already");
        }
        if coalesced < count {
            let when = if self.run.is_some() {
                "when the present one has ended"
            } else {
                "now"
            };
            tracing::info!(when, "SIGUSR1: a backup is wanted");
        }
    }

    /// SIGHUP. A run that goes on keeps the settings that it began with.
    pub(super) fn reload(&mut self, surroundings: &Surroundings) {
        let check = |settings: &Settings| Workplace::check(settings, &surroundings.environment);
        let Some(settings) = surroundings.reload(&self.live, check) else {
            return;
        };
        let rules = Rules::new(&settings.backup_agent, settings.agent.poll_interval.0);
        self.agenda.change(rules, crate::telemetry::clock::now());
        self.copies
            .change(&settings, &self.live, crate::telemetry::clock::now());
        let workplace = Workplace::new(settings, surroundings.environment.clone(), self.holder.clone());
        self.earlier
            .push(std::mem::replace(&mut self.workplace, Arc::new(workplace)));
        (self.look, self.view) = (None, None);
        (self.run_waits_for, self.look_waits_for) = (None, None);
    }

    /// Returns when something has ended, which is then taken in.
    pub(super) async fn goes_on(&mut self) {
        tokio::select! {
            attempted = ongoing(&mut self.run) => self.attempted(attempted),
            looked = ongoing(&mut self.look) => self.looked(looked),
            (number, ended) = self.copies.goes_on() => self.copies.ended(number, ended, &self.live, crate::telemetry::clock::now()),
            () = ongoing(&mut self.retention) => self.retained(),
        }
    }

    fn attempted(&mut self, attempted: Attempted) {
        let now = crate::telemetry::clock::now();
        if let Attempted::NotYet(obstacle, reason) = attempted {
            if self.agenda.not_yet(obstacle, now) {
                self.skip(&reason);
            }
            if self.agenda.is_due(now) {
                if self.run_waits_for.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "a backup is due and waits");
                }
                self.run_waits_for = Some(reason);
            }
            return;
        }
        self.run_waits_for = None;
        self.stale_before = Instant::now();
        match attempted {
            Attempted::NotYet(..) => {}
            Attempted::Succeeded(started) => {
                self.agenda.succeeded(started, now);
                self.copies.want(now);
                self.begin_retention();
            }
            Attempted::Failed(class, started) => self.agenda.failed(class, started, now),
            Attempted::Skipped => self.agenda.rest(now),
            Attempted::Superseded => {
                tracing::info!("the backup that was due has been made meanwhile");
                self.agenda.superseded(now);
            }
        }
    }

    /// Expires and prunes, if `retention.after_backup` says so; once more at the end of one that goes on.
    fn begin_retention(&mut self) {
        if !self.workplace.settings.retention.after_backup {
            return;
        }
        if self.retention.is_some() {
            self.retention_again = true;
            return;
        }
        let job = let_go(Arc::clone(&self.workplace), self.live.clone(), self.cancel.clone());
        self.retention = Some(job.boxed());
    }

    fn retained(&mut self) {
        // Backups have gone, perhaps.
        self.agenda.look_again(crate::telemetry::clock::now());
        if std::mem::take(&mut self.retention_again) {
            self.begin_retention();
        }
    }

    /// A due run that is another agent's is a run too, once.
    fn skip(&self, reason: &str) {
        let now = crate::telemetry::clock::now();
        let Some(due) = self.agenda.due() else { return };
        self.live.count_trigger(due.trigger);
        drop(self.live.begin_run(due.trigger, None, now));
        let end = RunEnd {
            outcome: Outcome::Skipped,
            backup_id: None,
            message: Some(reason.to_owned()),
        };
        self.live.end_run(end, now);
    }

    fn looked(&mut self, looked: Looked) {
        let now = crate::telemetry::clock::now();
        self.view = Some(looked.view);
        if looked.began < self.stale_before {
            return;
        }
        match looked.newest {
            Some(Newest(started)) => self.agenda.saw(started, now),
            None => self.agenda.saw_nothing(now),
        }
        match looked.seen {
            Ok(repository) => {
                self.look_waits_for = None;
                self.copies.saw(&repository, now);
                self.live.set_repository(repository);
            }
            Err(error) => {
                let reason = causes::chain(&error);
                if self.look_waits_for.as_ref() != Some(&reason) {
                    tracing::warn!(reason, hint = error.meaning().hint, "the repository cannot be read");
                }
                self.look_waits_for = Some(reason);
                self.live.count(|counts| counts.failed_polls += 1);
            }
        }
        if !self.agenda.is_due(now) {
            self.run_waits_for = None;
        }
    }

    /// Lets a run that was told to stop close its sessions.
    pub(super) async fn stop(self, limit: Duration) {
        if self.retention.is_some() {
            tracing::info!("retention interrupted; the next run goes on");
        }
        let Some(run) = self.run else { return };
        if timeout(limit, run).await.is_err() {
            tracing::warn!("the run did not end in time and is left behind");
        }
    }
}

/// The pod's or machine's name, for people, and what tells two processes of it apart.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{:08x}", host.trim(), rand::random::<u32>())
}

/// The job's result; never, where there is none.
async fn ongoing<T>(job: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(running) = job else { return pending().await };
    let done = running.await;
    *job = None;
    done
}

async fn look(workplace: Arc<Workplace>, mut view: View) -> Looked {
    let began = Instant::now();
    let cluster = workplace.settings.cluster.as_deref();
    let mut newest = None;
    let seen = async {
        let repository = workplace.repository().await?;
        view.read_backups(repository).await?;
        newest = Some(Newest(view.newest_started(cluster, crate::telemetry::clock::now())));
        view.read_drills(repository, cluster).await
    }
    .await;
    Looked {
        began,
        view,
        newest,
        seen,
    }
}

#[cfg(test)]
mod tests;
