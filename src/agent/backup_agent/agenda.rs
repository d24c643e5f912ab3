//! When the next backup is due and why: pure decisions over what is known, in which time is an argument.
//!
//! The schedule counts from the newest backup in the bucket, whoever made it: so an agent that was away catches up, one
//! that was restarted does not, and of several agents of one cluster only the first finds a backup due.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::backoff::backoff;
use crate::agent::meaning::{Class, Next};
use crate::config::{BackupAgentSettings, Schedule};
use crate::http::status::{NextRun, Trigger};

/// First and longest pause between looks at a server or a store that is not there.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the settings say.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    schedule: Schedule,
    jitter: Duration,
    retry_first: Duration,
    retry_max: Duration,
    poll_interval: Duration,
}

/// Everything that the next step follows from.
#[derive(Debug)]
pub(super) struct Agenda {
    rules: Rules,
    /// Spreads the jitter of different agents; fixed, so that a due time stays what it is.
    seed: u64,
    began: Timestamp,
    /// When the bucket was last seen, and when its newest backup began.
    seen: Option<(Timestamp, Option<Timestamp>)>,
    look_at: Timestamp,
    failed_looks: u32,
    is_wanted: bool,
    failures: u32,
    /// What comes after a failure, instead of what the schedule says.
    after_failure: Option<NextRun>,
    /// What a due backup waits for, until when it is asked again, and how often it was.
    patience: Option<(Timestamp, u32)>,
    /// The due time that was passed over because of the server's role.
    skipped: Option<Timestamp>,
}

/// Why a due backup cannot begin yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A server or the store does not answer.
    Absent,
    /// It is another agent's turn.
    Turn,
}

impl Rules {
    pub(super) fn new(settings: &BackupAgentSettings, poll_interval: Duration) -> Self {
        Self {
            schedule: settings.schedule.clone(),
            jitter: settings.jitter.map_or(Duration::ZERO, |span| span.0),
            retry_first: settings.retry_first.0,
            retry_max: settings.retry_max.0,
            poll_interval,
        }
    }
}

impl Agenda {
    pub(super) fn new(rules: Rules, seed: u64, now: Timestamp) -> Self {
        Self {
            rules,
            seed,
            began: now,
            seen: None,
            look_at: now,
            failed_looks: 0,
            is_wanted: false,
            failures: 0,
            after_failure: None,
            patience: None,
            skipped: None,
        }
    }

    /// New settings: what waited for the operator may begin again.
    pub(super) fn change(&mut self, rules: Rules, now: Timestamp) {
        self.rules = rules;
        (self.seen, self.look_at, self.failed_looks) = (None, now, 0);
        (self.after_failure, self.failures, self.patience) = (None, 0, None);
    }

    /// SIGUSR1 came `signals` times. Returns how many of them asked for what was already asked for.
    pub(super) fn want(&mut self, signals: u64) -> u64 {
        let coalesced = signals - u64::from(!self.is_wanted && signals > 0);
        self.is_wanted |= signals > 0;
        coalesced
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// When and why the next backup begins by itself; none before the bucket was seen.
    pub(super) fn due(&self) -> Option<NextRun> {
        let scheduled = self.scheduled()?;
        Some(self.after_failure.clone().unwrap_or(scheduled))
    }

    /// Whether to look at the bucket: as often as the settings say, and again before a backup begins by itself, since
    /// another agent may have made it.
    pub(super) fn is_look_due(&self, now: Timestamp) -> bool {
        let is_stale = || self.seen.is_some_and(|(at, _)| self.is_due(now) && !self.is_fresh(at));
        is_reached(self.look_at, self.rules.poll_interval.max(PATIENCE.1), now)
            || (self.failed_looks == 0 && is_stale())
    }

    /// What begins now, if anything does.
    pub(super) fn begin(&self, now: Timestamp) -> Option<Trigger> {
        if self.is_wanted {
            return Some(Trigger::Signal);
        }
        let is_fresh = self.seen.is_some_and(|(at, _)| self.is_fresh(at));
        let longest = self.rules.poll_interval.max(PATIENCE.1);
        let is_patient = self.patience.is_some_and(|(until, _)| !is_reached(until, longest, now));
        (is_fresh && !is_patient && self.is_due(now))
            .then(|| self.due())
            .flatten()
            .map(|due| due.trigger)
    }

    /// A run has begun: it answers every signal so far.
    pub(super) const fn begun(&mut self) {
        self.is_wanted = false;
    }

    /// The bucket's newest backup began at `newest`.
    pub(super) fn saw(&mut self, newest: Option<Timestamp>, now: Timestamp) {
        if self.seen.is_some_and(|(_, known)| newest > known) {
            // Of another agent, or by hand: what failed here is no longer missing.
            (self.after_failure, self.failures) = (None, 0);
        }
        self.seen = Some((now, newest));
        self.failed_looks = 0;
        self.look_at = later(now, self.rules.poll_interval);
        if !self.is_due(now) {
            (self.patience, self.skipped) = (None, None);
        }
    }

    /// When the newest backup began that is known of.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.seen.and_then(|(_, newest)| newest)
    }

    /// Another agent has made the backup that was due: the bucket is looked at before anything else begins by itself, and
    /// where that does not show it, the backup that is still due waits for a while.
    pub(super) fn superseded(&mut self, now: Timestamp) {
        (self.seen, self.after_failure, self.failures) = (None, None, 0);
        self.rest(now);
        self.patience = Some((later(now, self.rules.poll_interval), 0));
    }

    pub(super) fn saw_nothing(&mut self, now: Timestamp) {
        let pause = backoff(PATIENCE.0, PATIENCE.1.min(self.rules.poll_interval), self.failed_looks);
        self.look_at = later(now, pause);
        self.failed_looks += 1;
    }

    /// A due backup could not begin. Returns whether this is the first time that this one is another agent's.
    pub(super) fn not_yet(&mut self, obstacle: Obstacle, now: Timestamp) -> bool {
        if !self.is_due(now) {
            // Another agent's backup has been seen meanwhile.
            return false;
        }
        let due = self.due().map(|due| due.at);
        match obstacle {
            Obstacle::Absent => {
                let times = self.patience.map_or(0, |(_, times)| times);
                self.patience = Some((later(now, backoff(PATIENCE.0, PATIENCE.1, times)), times + 1));
                false
            }
            Obstacle::Turn => {
                self.patience = Some((later(now, self.rules.poll_interval), 0));
                let is_first = self.skipped != due;
                self.skipped = due;
                is_first
            }
        }
    }

    /// A backup exists, which began at `started`.
    pub(super) fn succeeded(&mut self, started: Timestamp, now: Timestamp) {
        (self.after_failure, self.failures) = (None, 0);
        self.rest(now);
        self.seen = Some((now, Some(started)));
    }

    /// A run that began at `started` ended without a backup.
    pub(super) fn failed(&mut self, class: Class, started: Timestamp, now: Timestamp) {
        self.rest(now);
        let scheduled = self.scheduled_after_failure(started, now);
        let pause = backoff(self.rules.retry_first, self.rules.retry_max, self.failures);
        let pause = match class.next() {
            Next::Retry => Some(pause),
            Next::Late => Some(self.rules.retry_max),
            Next::Schedule | Next::Never => None,
        };
        let retry = pause.map(|pause| NextRun {
            at: later(now, pause),
            trigger: Trigger::Retry,
        });
        let sooner = retry.filter(|retry| retry.at < scheduled.at);
        self.after_failure = Some(sooner.unwrap_or(scheduled));
        self.failures += 1;
    }

    /// The next time of the schedule that lies ahead.
    fn scheduled_after_failure(&self, started: Timestamp, now: Timestamp) -> NextRun {
        let ahead = |run: &NextRun| run.at > now;
        let next_after = |last| Some(self.at(self.rules.schedule.next_after(last)?));
        let never = NextRun {
            at: Timestamp::MAX,
            trigger: Trigger::Schedule,
        };
        self.scheduled()
            .filter(ahead)
            .or_else(|| next_after(started).filter(ahead))
            .or_else(|| next_after(now))
            .unwrap_or(never)
    }

    fn scheduled(&self) -> Option<NextRun> {
        match self.seen?.1 {
            None => Some(self.at(self.began)),
            Some(newest) => Some(self.at(self.rules.schedule.next_after(newest)?)),
        }
    }

    /// A run has ended: what is in the bucket is looked at anew.
    pub(super) fn rest(&mut self, now: Timestamp) {
        self.patience = None;
        self.look_at = now;
    }

    /// Something else has changed the bucket: it is looked at anew, and what waits goes on waiting.
    pub(super) const fn look_again(&mut self, now: Timestamp) {
        self.look_at = now;
    }

    /// A time of the schedule, with its jitter and its reason.
    fn at(&self, time: Timestamp) -> NextRun {
        if time <= self.began {
            return NextRun {
                at: time,
                trigger: Trigger::CatchUp,
            };
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, time.as_nanosecond()).hash(&mut hasher);
        let share = hasher.finish() % 1000;
        let jitter = self.rules.jitter * u32::try_from(share).unwrap_or(0) / 1000;
        NextRun {
            at: later(time, jitter),
            trigger: Trigger::Schedule,
        }
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|due| match due.trigger {
            Trigger::Retry => is_reached(due.at, self.rules.retry_max, now),
            _ => due.at <= now,
        })
    }

    /// Whether the bucket was seen after the backup became due.
    fn is_fresh(&self, seen: Timestamp) -> bool {
        self.is_due(seen)
    }
}

/// Whether a pause of at most `longest` is over. One that seems longer was counted before the clock was set back.
pub(super) fn is_reached(at: Timestamp, longest: Duration, now: Timestamp) -> bool {
    now >= at || at > later(now, longest)
}

pub(super) fn later(time: Timestamp, pause: Duration) -> Timestamp {
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
