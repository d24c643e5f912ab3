//! The restore agent: looks for new backups, drills them one after the other, and lets people know.
//!
//! One loop over what can happen: time has come to look, a look has ended, a drill has ended, a signal. Looks go on while
//! a drill runs, so that what is shown stays true; what they find waits. Nothing is kept but in the bucket.

mod attempt;
mod backoff;
mod bucket;
mod choose;
mod records;
mod target;
mod tell;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::attempt::{Attempt, Ended};
use self::backoff::Backoff;
use self::bucket::{Bucket, Look, Seen};
use self::choose::{Choice, Decision, Memory, Policy, choose, newest};
use super::error::{Error, Result};
use super::live::{Live, RunEnd};
use super::notify::Notifier;
use super::surroundings::Surroundings;
use crate::config::{NotifySettings, Settings};
use crate::drill::Verdict;
use crate::http::status::{Outcome, RepositoryStatus, Trigger};
use crate::repository;

/// The loop comes round at least this often.
const TURN: Duration = Duration::from_secs(1);

/// How long a drill may take to stop by itself when the process is told to end. It is dropped then: sessions close and
/// programs are killed.
const GRACE: Duration = Duration::from_millis(1500);

/// Drills what comes, until the process is told to end.
///
/// # Errors
/// Settings that no drill can be made with. Whatever goes wrong later is told and tried again.
pub async fn restore_agent(settings: Settings, surroundings: Surroundings, live: Live) -> Result<()> {
    check_settings(&settings)?;
    let agent = RestoreAgent::new(settings, surroundings, live);
    agent.run().await;
    Ok(())
}

/// What a restore agent needs beyond what all settings must be.
///
/// # Errors
/// The setting that is missing.
pub fn check_settings(settings: &Settings) -> Result<()> {
    settings.require_bucket()?;
    settings.require_target_dsn()?;
    Ok(())
}

struct RestoreAgent {
    settings: Arc<Settings>,
    notify: Arc<NotifySettings>,
    surroundings: Surroundings,
    live: Live,
    notifier: Notifier,
    memory: Memory,
    /// None while a look is under way.
    bucket: Option<Bucket>,
    looking: Option<LocalBoxFuture<'static, Look>>,
    look_at: Instant,
    seen: Option<Seen>,
    /// Looks that began before this moment cannot be decided by.
    stale_before: Instant,
    /// Nothing is decided before the next look.
    is_current: bool,
    drilling: Option<Drilling>,
    /// A signal has asked for a drill that has not begun.
    is_wanted: bool,
    /// When something is due that is known already.
    due: Option<Instant>,
    waiting_for: Option<String>,
}

/// The drill that runs.
struct Drilling {
    choice: Choice,
    ended: LocalBoxFuture<'static, Ended>,
}

impl RestoreAgent {
    fn new(settings: Settings, surroundings: Surroundings, live: Live) -> Self {
        let now = Instant::now();
        Self {
            notify: Arc::new(settings.notify.clone()),
            settings: Arc::new(settings),
            surroundings,
            notifier: Notifier::start(live.clone()),
            live,
            memory: Memory::new(Timestamp::now()),
            bucket: None,
            looking: None,
            look_at: now,
            seen: None,
            stale_before: now,
            is_current: false,
            drilling: None,
            is_wanted: false,
            due: None,
            waiting_for: None,
        }
    }

    async fn run(mut self) {
        let cancel = self.surroundings.signals.cancel.clone();
        tracing::info!("restore agent started");
        loop {
            self.live.turn(Timestamp::now());
            self.look_if_due();
            self.drill_if_due(&cancel);
            let pause = self.pause();
            let signals = &mut self.surroundings.signals;
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                signals = signals.trigger.next() => self.trigger(signals),
                _ = signals.reload.next() => self.reload(),
                ended = drill_end(&mut self.drilling) => self.drilled(&ended),
                look = look_end(&mut self.looking) => self.looked(look),
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.stop().await;
    }

    fn look_if_due(&mut self) {
        if self.looking.is_some() || Instant::now() < self.look_at {
            return;
        }
        let known = self.bucket.take().filter(|bucket| bucket.is_of(&self.settings));
        let bucket = known.unwrap_or_else(|| Bucket::new(Arc::clone(&self.settings)));
        self.look_at = Instant::now() + self.settings.agent.poll_interval.0;
        self.looking = Some(Box::pin(bucket.look(self.live.clone())));
    }

    fn looked(&mut self, look: Look) {
        self.bucket = Some(look.bucket);
        match look.seen {
            Ok(seen) => {
                self.live.set_repository(seen.status.clone());
                let is_of_now = self.bucket.as_ref().is_some_and(|bucket| bucket.is_of(&self.settings));
                self.is_current = look.began >= self.stale_before && is_of_now;
                let trouble = trouble_with(&seen.status, &self.settings);
                self.seen = Some(seen);
                // What a drill waits for it tells itself.
                if self.drilling.is_none() {
                    self.wait_for(trouble);
                } else if self.waiting_for.is_some() {
                    self.wait_for(None);
                }
            }
            Err(error) => {
                self.is_current = false;
                self.live.count(|counts| counts.failed_polls += 1);
                self.wait_for(Some(match &error {
                    Error::Repository(repository::Error::Missing) => {
                        "the first backup, which makes the repository".to_owned()
                    }
                    error => format!("the store: {}", error.chain()),
                }));
            }
        }
        if !self.is_current {
            self.due = None;
        }
    }

    /// Told once, until it changes.
    fn wait_for(&mut self, what: Option<String>) {
        if let Some(what) = &what
            && self.waiting_for.as_ref() != Some(what)
        {
            tracing::warn!(what, "waiting");
        }
        self.live.set_waiting_for(what.clone());
        self.waiting_for = what;
    }

    fn drill_if_due(&mut self, cancel: &CancellationToken) {
        let (None, true, Some(seen)) = (&self.drilling, self.is_current, &self.seen) else {
            return;
        };
        if trouble_with(&seen.status, &self.settings).is_some() {
            self.live.set_next_run(None);
            self.due = None;
            return;
        }
        let now = Timestamp::now();
        let decision = match newest(&seen.status).filter(|_| self.is_wanted) {
            Some(choice) => Decision::Drill(choice),
            None => self.decide(&seen.status, now),
        };
        self.due = decision.wait(now).map(|wait| Instant::now() + wait);
        match decision {
            Decision::Drill(choice) => {
                let repository = seen.repository.clone();
                self.drill(choice, repository, cancel);
            }
            Decision::Wait(next) => self.live.set_next_run(next),
        }
    }

    fn decide(&self, status: &RepositoryStatus, now: Timestamp) -> Decision {
        let settings = &self.settings.restore_agent;
        let policy = Policy {
            backoff: Backoff {
                first: settings.retry_first.0,
                max: settings.retry_max.0,
            },
            reprove: settings.reprove.as_ref(),
        };
        choose(status, policy, &self.memory, now, |count| rand::random_range(0..count))
    }

    fn drill(&mut self, choice: Choice, repository: repository::Repository, cancel: &CancellationToken) {
        if choice.trigger == Trigger::Signal {
            self.is_wanted = false;
            self.live.set_queued(false);
        }
        tracing::info!(
            backup_id = choice.backup_id,
            trigger = choice.trigger.as_str(),
            "drill begins"
        );
        self.live.set_next_run(None);
        self.live.count_trigger(choice.trigger);
        let backup_id = Some(choice.backup_id.clone());
        let progress = self.live.begin_run(choice.trigger, backup_id, Timestamp::now());
        let attempt = Attempt {
            settings: Arc::clone(&self.settings),
            environment: self.surroundings.environment.clone(),
            repository,
            live: self.live.clone(),
            progress,
            choice: choice.clone(),
            cancel: cancel.clone(),
        };
        self.drilling = Some(Drilling {
            choice,
            ended: Box::pin(attempt.run()),
        });
    }

    fn drilled(&mut self, ended: &Ended) {
        let Some(Drilling { choice, .. }) = self.drilling.take() else {
            return;
        };
        let now = Timestamp::now();
        let is_recorded = matches!(ended, Ended::Certificate(_));
        self.memory.note(&choice, is_recorded, now);
        if let (Ended::Certificate(certificate), Some(seen)) = (ended, &self.seen) {
            tell::tell(
                &self.notifier,
                &self.notify,
                &seen.status,
                certificate,
                self.settings.cluster.as_deref(),
            );
        }
        if let Ended::Stopped(error) = ended
            && error.is_refused_by_store()
        {
            // Opened anew by the next look, with credentials read anew.
            self.bucket = None;
        }
        let (outcome, message) = ended.told();
        match outcome {
            Outcome::Certified => tracing::info!(backup_id = choice.backup_id, message, "drill ended"),
            Outcome::Failed => tracing::error!(backup_id = choice.backup_id, message, "drill ended"),
            _ => tracing::warn!(
                backup_id = choice.backup_id,
                outcome = outcome.as_str(),
                message,
                "drill ended"
            ),
        }
        let end = RunEnd {
            outcome,
            backup_id: Some(choice.backup_id),
            message: Some(message),
        };
        self.live.end_run(end, now);
        self.look_again();
    }

    /// At once, and nothing is decided before.
    fn look_again(&mut self) {
        self.stale_before = Instant::now();
        self.is_current = false;
        self.look_at = self.stale_before;
    }

    /// SIGUSR1, that many times.
    fn trigger(&mut self, signals: u64) {
        let coalesced = if self.is_wanted {
            signals
        } else {
            signals.saturating_sub(1)
        };
        self.is_wanted = true;
        if coalesced > 0 {
            tracing::info!(signals = coalesced, "SIGUSR1: a drill waits to begin already");
            self.live.count(|counts| counts.coalesced_signals += coalesced);
        } else if self.drilling.is_some() {
            tracing::info!("SIGUSR1: one more drill begins when the present one has ended");
        } else {
            tracing::info!("SIGUSR1: the newest backup is drilled now");
        }
        self.live.set_queued(true);
        if self.drilling.is_none() {
            self.look_again();
        }
    }

    /// SIGHUP. A drill that runs keeps the settings that it began with.
    fn reload(&mut self) {
        if let Some(settings) = self.surroundings.reload(&self.live, check_settings) {
            self.notify = Arc::new(settings.notify.clone());
            self.settings = Arc::new(settings);
            self.look_again();
        }
    }

    fn pause(&self) -> Duration {
        let now = Instant::now();
        let look = self.looking.is_none().then_some(self.look_at);
        let due = self.due.filter(|_| self.drilling.is_none() && self.is_current);
        let until = |time: Instant| time.saturating_duration_since(now);
        look.into_iter().chain(due).map(until).fold(TURN, Duration::min)
    }

    async fn stop(mut self) {
        self.looking = None;
        if let Some(drilling) = &mut self.drilling {
            // By itself it tells the servers; and a certificate whose checks had all ended may still be stored.
            let ended = tokio::time::timeout(GRACE, &mut drilling.ended).await;
            self.drilled(&ended.unwrap_or(Ended::Interrupted));
        }
        self.notifier.end().await;
        tracing::info!("restore agent stopped");
    }
}

impl Ended {
    /// For the status: how it ended, in a word and in a line.
    fn told(&self) -> (Outcome, String) {
        match self {
            Self::Certificate(certificate) => {
                let outcome = match certificate.verdict {
                    Verdict::Certified => Outcome::Certified,
                    Verdict::Failed => Outcome::Failed,
                    Verdict::Unverified(_) => Outcome::Unverified,
                };
                (outcome, certificate.summary.clone())
            }
            Self::Skipped(why) => (Outcome::Skipped, why.clone()),
            Self::Interrupted => (
                Outcome::Interrupted,
                "interrupted; no certificate was stored".to_owned(),
            ),
            Self::Stopped(error) => (
                Outcome::Unverified,
                format!("no certificate was stored: {}", error.chain()),
            ),
        }
    }
}

/// What keeps an agent from choosing although the repository can be read.
fn trouble_with(status: &RepositoryStatus, settings: &Settings) -> Option<String> {
    if status.backups.is_empty() {
        return Some(match &settings.cluster {
            Some(cluster) => format!("the first backup of cluster '{cluster}'"),
            None => "the first backup".to_owned(),
        });
    }
    let contents = status.backups.iter().filter_map(|backup| backup.contents.as_ref());
    let clusters: BTreeSet<&str> = contents.map(|contents| contents.cluster.as_str()).collect();
    (clusters.len() > 1).then(|| {
        let clusters = Vec::from_iter(clusters).join(", ");
        format!("the setting 'cluster': the repository holds backups of {clusters}")
    })
}

async fn drill_end(drilling: &mut Option<Drilling>) -> Ended {
    match drilling {
        Some(drilling) => (&mut drilling.ended).await,
        None => std::future::pending().await,
    }
}

async fn look_end(looking: &mut Option<LocalBoxFuture<'static, Look>>) -> Look {
    let Some(look) = looking else {
        return std::future::pending().await;
    };
    let look = look.await;
    *looking = None;
    look
}
