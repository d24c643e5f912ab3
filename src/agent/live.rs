//! What a long-running agent is doing, shared between its loop, which tells, and its port, which shows.
//!
//! One short lock around plain data; nobody waits while holding it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::config::Settings;
use crate::http::status::{
    AgentKind, CopyCounts, CopyStatus, Counts, CurrentPace, CurrentPhase, CurrentRetention, CurrentRun, FinishedRun,
    KEPT_RUNS, LeaseStatus, NextRun, Objectives, Outcome, RepositoryStatus, RetentionStatus, Status, StoreCounts,
    Trigger,
};
use crate::telemetry::progress::Progress;
use crate::telemetry::progress_log::LogProgress;

/// The handle. Clones share one state.
#[derive(Clone, Debug)]
pub struct Live(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    agent: AgentKind,
    cluster: Option<String>,
    started: Timestamp,
    turned: Timestamp,
    poll_seconds: f64,
    waiting_for: Option<String>,
    waits_for_settings: bool,
    next_run: Option<NextRun>,
    is_queued: bool,
    begun: u64,
    current: Option<CurrentRun>,
    runs: VecDeque<FinishedRun>,
    counts: Counts,
    objectives: Objectives,
    lease: Option<LeaseStatus>,
    copies: Vec<CopyStatus>,
    retention: RetentionStatus,
    repository: Option<Arc<RepositoryStatus>>,
}

impl State {
    /// At the beginning.
    fn of(agent: AgentKind, now: Timestamp) -> Self {
        Self {
            agent,
            cluster: None,
            started: now,
            turned: now,
            poll_seconds: 0.0,
            waiting_for: None,
            waits_for_settings: false,
            next_run: None,
            is_queued: false,
            begun: 0,
            current: None,
            runs: VecDeque::new(),
            counts: Counts::default(),
            objectives: Objectives::default(),
            lease: None,
            copies: Vec::new(),
            retention: RetentionStatus::default(),
            repository: None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    pub outcome: Outcome,
    pub backup_id: Option<String>,
    pub message: Option<String>,
}

impl Live {
    #[must_use]
    pub fn new(agent: AgentKind, settings: &Settings, now: Timestamp) -> Self {
        let live = Self(Arc::new(Mutex::new(State::of(agent, now))));
        live.apply(settings);
        live
    }

    /// Takes over what new settings change.
    pub fn apply(&self, settings: &Settings) {
        let mut state = self.lock();
        state.cluster.clone_from(&settings.cluster);
        state.poll_seconds = settings.agent.poll_interval.0.as_secs_f64();
        state.objectives = Objectives {
            rto_seconds: settings.objectives.rto.map(|span| span.0.as_secs_f64()),
            rpo_seconds: settings.objectives.rpo.map(|span| span.0.as_secs_f64()),
        };
    }

    /// The document of this moment. What grows with the bucket is shared with it, not copied.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let state = self.lock();
        Status {
            agent: state.agent,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: state.cluster.clone(),
            started: state.started,
            now,
            turned: state.turned,
            poll_seconds: state.poll_seconds,
            waiting_for: state.waiting_for.clone(),
            waits_for_settings: state.waits_for_settings,
            next_run: state.next_run.clone(),
            is_queued: state.is_queued,
            current: state.current.clone(),
            runs: state.runs.iter().cloned().collect(),
            counts: state.counts.clone(),
            objectives: state.objectives,
            lease: state.lease.clone(),
            copies: state.copies.clone(),
            retention: state.retention.clone(),
            repository: state.repository.clone(),
        }
    }

    /// The loop came round.
    pub fn turn(&self, now: Timestamp) {
        self.lock().turned = now;
    }

    /// Whether a run goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.lock().current.is_some()
    }

    pub fn set_waiting_for(&self, what: Option<String>) {
        self.lock().waiting_for = what;
    }

    /// There are none that can be used, for that reason; or there are.
    pub fn wait_for_settings(&self, reason: Option<&str>) {
        let mut state = self.lock();
        state.waits_for_settings = reason.is_some();
        state.waiting_for = reason.map(|reason| format!("settings that can be used: {reason}"));
    }

    pub fn set_next_run(&self, next: Option<NextRun>) {
        self.lock().next_run = next;
    }

    pub fn set_queued(&self, is_queued: bool) {
        self.lock().is_queued = is_queued;
    }

    pub fn set_lease(&self, lease: Option<LeaseStatus>) {
        self.lock().lease = lease;
    }

    pub fn set_repository(&self, repository: impl Into<Arc<RepositoryStatus>>) {
        let before = self.lock().repository.replace(repository.into());
        // Which may be the last hold on a large document.
        drop(before);
    }

    /// As it was last read.
    #[must_use]
    pub fn repository(&self) -> Option<Arc<RepositoryStatus>> {
        self.lock().repository.clone()
    }

    pub fn set_copies(&self, copies: Vec<CopyStatus>) {
        self.lock().copies = copies;
    }

    /// The expiry with prune that goes on in a copy.
    pub fn set_copy_retention(&self, name: &str, current: Option<CurrentRetention>) {
        let mut state = self.lock();
        if let Some(copy) = state.copies.iter_mut().find(|copy| copy.name == name) {
            copy.retention.current = current;
        }
    }

    /// Changes one of the counters of a copy.
    pub fn count_copy(&self, name: &str, change: impl FnOnce(&mut CopyCounts)) {
        self.count(|counts| change(counts.copies.entry(name.to_owned()).or_default()));
    }

    pub fn set_store_counts(&self, store: StoreCounts) {
        self.lock().counts.store = store;
    }

    /// Changes what is said of expiry and prune.
    pub fn set_retention(&self, change: impl FnOnce(&mut RetentionStatus)) {
        change(&mut self.lock().retention);
    }

    /// Changes one of the counters.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    pub fn count_trigger(&self, trigger: Trigger) {
        self.count(|counts| *counts.triggers.entry(trigger).or_default() += 1);
    }

    /// A run begins; what it tells of its progress goes through what is returned.
    #[must_use]
    pub fn begin_run(&self, trigger: Trigger, backup_id: Option<String>, now: Timestamp) -> LiveProgress {
        let mut state = self.lock();
        state.begun += 1;
        state.waiting_for = None;
        state.current = Some(CurrentRun {
            number: state.begun,
            trigger,
            started: now,
            backup_id,
            phase: None,
            blocked_sessions: None,
            pace: None,
            snapshot: None,
        });
        LiveProgress {
            number: state.begun,
            live: self.clone(),
            log: LogProgress::default(),
        }
    }

    /// The present run has ended.
    pub fn end_run(&self, end: RunEnd, now: Timestamp) {
        let mut state = self.lock();
        let Some(run) = state.current.take() else { return };
        *state.counts.runs.entry(end.outcome).or_default() += 1;
        state.runs.push_front(FinishedRun {
            number: run.number,
            trigger: run.trigger,
            started: run.started,
            finished: now,
            outcome: end.outcome,
            backup_id: end.backup_id.or(run.backup_id),
            message: end.message,
        });
        state.runs.truncate(KEPT_RUNS);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment or two: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run's progress, in the status and in the log.
#[derive(Debug)]
pub struct LiveProgress {
    number: u64,
    live: Live,
    log: LogProgress,
}

impl LiveProgress {
    /// The run's number in this process, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    fn change(&self, change: impl FnOnce(&mut CurrentRun)) {
        if let Some(run) = &mut self.live.lock().current {
            change(run);
        }
    }
}

impl Progress for LiveProgress {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        self.log.begin(phase, total_bytes);
        self.change(|run| {
            run.phase = Some(CurrentPhase {
                name: phase.to_owned(),
                started: crate::telemetry::clock::now(),
                done_bytes: 0,
                total_bytes,
            });
        });
    }

    fn advance(&self, bytes: u64) {
        self.log.advance(bytes);
        self.change(|run| {
            if let Some(phase) = &mut run.phase {
                phase.done_bytes += bytes;
            }
        });
    }

    fn end(&self) {
        self.log.end();
        self.change(|run| run.phase = None);
    }

    fn blocked_sessions(&self, sessions: u64) {
        self.change(|run| run.blocked_sessions = Some(sessions));
    }

    fn pace(&self, ratio: f64, paced_seconds: f64) {
        self.change(|run| run.pace = Some(CurrentPace { ratio, paced_seconds }));
    }

    fn snapshot(&self, taken: Option<Timestamp>) {
        self.change(|run| run.snapshot = taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn what_is_known_of_the_bucket_is_shared_with_whoever_asks() {
        let live = Live(Arc::new(Mutex::new(State::of(AgentKind::RestoreAgent, sample::NOW))));
        assert!(live.status(sample::NOW).repository.is_none());
        live.set_repository(sample::repository());
        let [one, other] = [0, 1].map(|_| live.status(sample::NOW).repository.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
    }
}
