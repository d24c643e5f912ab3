//! The restore agent: looks for new backups, drills them one after the other, and lets people know.
//!
//! One loop over what can happen: time has come to look, a look has ended, a drill has ended, a signal. Looks go on while
//! a drill runs, so that what is shown stays true; what they find waits. Nothing is kept but in the bucket.

mod attempt;
mod bucket;
mod choose;
mod lookout;
mod records;
mod target;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::attempt::{Attempt, Ended};
use self::choose::{Choice, Decision, Memory, Policy, choose, newest};
use self::lookout::Lookout;
use self::records::Backoff;
use self::tell::Teller;
use super::error::Result;
use super::live::{Live, RunEnd};
use super::open::check_drill_target;
use super::surroundings::Surroundings;
use crate::config::Settings;
use crate::http::status::{Outcome, RepositoryStatus, Trigger};
use crate::postgres::Environment;
use crate::repository::Repository;

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
    check_settings(&settings, &surroundings.environment)?;
    let agent = RestoreAgent::new(settings, surroundings, live);
    agent.run().await;
    Ok(())
}

/// What a restore agent needs beyond what all settings must be. The password's file may come after the pod: a drill says
/// that it is not there, and the next one is made with it.
///
/// # Errors
/// The setting that is missing, or that leads to no server.
pub fn check_settings(settings: &Settings, environment: &Environment) -> Result<()> {
    settings.repository.require_location()?;
    let mut settings = settings.clone();
    settings.target.password_file.take_if(|file| !file.exists());
    check_drill_target(&settings, environment)
}

struct RestoreAgent {
    settings: Arc<Settings>,
    surroundings: Surroundings,
    live: Live,
    teller: Teller,
    memory: Memory,
    lookout: Lookout,
    drilling: Option<Drilling>,
    /// A signal has asked for a drill that has not begun.
    is_wanted: bool,
    /// When something is due that is known already.
    due: Option<Instant>,
}

/// The drill that runs.
struct Drilling {
    choice: Choice,
    ended: LocalBoxFuture<'static, Ended>,
}

impl RestoreAgent {
    fn new(settings: Settings, surroundings: Surroundings, live: Live) -> Self {
        let settings = Arc::new(settings);
        Self {
            surroundings,
            teller: Teller::new(&settings, live.clone()),
            memory: Memory::new(crate::telemetry::clock::now()),
            lookout: Lookout::new(&settings, live.clone()),
            settings,
            live,
            drilling: None,
            is_wanted: false,
            due: None,
        }
    }

    async fn run(mut self) {
        let cancel = self.surroundings.signals.cancel.clone();
        tracing::info!("restore agent started");
        loop {
            self.live.turn(crate::telemetry::clock::now());
            self.lookout.look_if_due(&self.settings);
            self.drill_if_due(&cancel);
            self.tell_if_idle();
            let pause = self.pause();
            let signals = &mut self.surroundings.signals;
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                signals = signals.trigger.next() => self.trigger(signals),
                _ = signals.reload.next() => self.reload(),
                ended = drill_end(&mut self.drilling) => self.drilled(&ended),
                look = self.lookout.look() => {
                    self.lookout.looked(look, &self.settings, self.drilling.is_some());
                    self.see();
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.stop().await;
    }

    /// What does not wait for a drill to end.
    fn see(&mut self) {
        if let Some(seen) = self.lookout.last_seen() {
            self.teller.see(&seen.status);
        }
    }

    fn drill_if_due(&mut self, cancel: &CancellationToken) {
        self.due = None;
        if self.drilling.is_some() {
            return;
        }
        let Some(seen) = self.lookout.current(&self.settings) else {
            return;
        };
        self.teller.looked(&seen.status);
        let now = crate::telemetry::clock::now();
        let decision = match newest(&seen.status).filter(|_| self.is_wanted) {
            Some(choice) => Decision::Drill(choice),
            None => self.decide(&seen.status, now),
        };
        match decision {
            Decision::Drill(choice) => {
                let repository = seen.repository.clone();
                self.drill(choice, repository, cancel);
            }
            Decision::Wait(next) => {
                let wait = next.as_ref().map(|next| next.at.duration_since(now));
                self.due = wait.map(|wait| Instant::now() + Duration::try_from(wait).unwrap_or_default());
                self.live.set_next_run(next);
            }
        }
    }

    /// Whatever a drill that runs will say, it says it itself.
    fn tell_if_idle(&mut self) {
        if self.drilling.is_some() {
            return;
        }
        if let Some(seen) = self.lookout.last_seen() {
            self.teller.idle(&seen.status, crate::telemetry::clock::now());
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
        let pick = |count| rand::random_range(0..count);
        choose(status, policy, &self.memory, now, pick)
    }

    fn drill(&mut self, choice: Choice, repository: Repository, cancel: &CancellationToken) {
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
        let progress = self
            .live
            .begin_run(choice.trigger, backup_id, crate::telemetry::clock::now());
        let attempt = Attempt {
            settings: Arc::clone(&self.settings),
            environment: self.surroundings.environment.clone(),
            repository,
            live: self.live.clone(),
            progress,
            choice: choice.clone(),
            cancel: cancel.clone(),
        };
        // Each line of the drill, and of its phases, says of which it is.
        let span = tracing::info_span!("drill", backup_id = choice.backup_id, trigger = choice.trigger.as_str());
        self.drilling = Some(Drilling {
            choice,
            ended: Box::pin(attempt.run().instrument(span)),
        });
    }

    fn drilled(&mut self, ended: &Ended) {
        let Some(Drilling { choice, .. }) = self.drilling.take() else {
            return;
        };
        let now = crate::telemetry::clock::now();
        let is_recorded = matches!(ended, Ended::Certificate(_));
        self.memory.note(&choice, is_recorded, now);
        let seen = self.lookout.last_seen().map(|seen| seen.status.as_ref());
        self.teller.drilled(&choice.backup_id, ended, seen);
        let (outcome, message) = ended.told();
        let backup_id = &choice.backup_id;
        match outcome {
            Outcome::Certified => tracing::info!(backup_id, message, "drill ended"),
            Outcome::Failed => tracing::error!(backup_id, message, "drill ended"),
            _ => tracing::warn!(backup_id, outcome = outcome.as_str(), message, "drill ended"),
        }
        let end = RunEnd {
            outcome,
            backup_id: Some(choice.backup_id),
            message: Some(message),
        };
        self.live.end_run(end, now);
        self.lookout.look_again();
    }

    /// SIGUSR1, that many times.
    fn trigger(&mut self, signals: u64) {
        let coalesced = if self.is_wanted {
            signals
        } else {
            signals.saturating_sub(1)
        };
        if coalesced > 0 {
            tracing::info!(signals = coalesced, "SIGUSR1: a drill waits to begin already");
            self.live.count(|counts| counts.coalesced_signals += coalesced);
        } else if self.drilling.is_some() {
            tracing::info!("SIGUSR1: one more drill begins when the present one has ended");
        } else {
            tracing::info!("SIGUSR1: the newest backup is drilled now");
        }
        self.is_wanted = true;
        self.live.set_queued(true);
        if self.drilling.is_none() {
            self.lookout.look_again();
        }
    }

    /// SIGHUP. A drill that runs keeps the settings that it began with.
    fn reload(&mut self) {
        let check = |settings: &Settings| check_settings(settings, &self.surroundings.environment);
        if let Some(settings) = self.surroundings.reload(&self.live, check) {
            self.teller.apply(&settings);
            self.settings = Arc::new(settings);
            self.lookout.look_again();
        }
    }

    fn pause(&self) -> Duration {
        let now = Instant::now();
        let due = self.due.map(|due| due.saturating_duration_since(now));
        let pauses = self.lookout.pause(now).into_iter().chain(due);
        pauses.fold(TURN, Duration::min)
    }

    async fn stop(mut self) {
        self.lookout.end();
        if let Some(drilling) = &mut self.drilling {
            // By itself it tells the servers; and a certificate whose checks had all ended may still be stored.
            let ended = tokio::time::timeout(GRACE, &mut drilling.ended).await;
            self.drilled(&ended.unwrap_or(Ended::Interrupted));
        }
        self.teller.end().await;
        tracing::info!("restore agent stopped");
    }
}

async fn drill_end(drilling: &mut Option<Drilling>) -> Ended {
    match drilling {
        Some(drilling) => (&mut drilling.ended).await,
        None => std::future::pending().await,
    }
}
