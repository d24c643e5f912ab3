//! Times and outcomes in words.

use jiff::Timestamp;

use crate::http::status::{BackupStatus, DrillState, Outcome, Trigger};

/// `40 s`, `12 min`, `7 h 5 min`, `3 days`: as exact as one wants to know it.
pub(super) fn span(seconds: f64) -> String {
    let seconds = whole(seconds);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..36_000 if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        3600..172_800 => format!("{hours} h"),
        _ => format!("{days} days"),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds, not below 0"
)]
fn whole(seconds: f64) -> u64 {
    seconds.max(0.0).round() as u64
}

/// `7 h ago`; a clock that is behind makes it `just now`.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    match since(now, then) {
        seconds if seconds < 1.0 => "just now".to_owned(),
        seconds => format!("{} ago", span(seconds)),
    }
}

pub(super) fn since(now: Timestamp, then: Timestamp) -> f64 {
    now.duration_since(then).as_secs_f64()
}

/// What is known of a backup, and the class that colours it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Certified,
    Failed,
    Unverified,
    InDrill,
    Waiting,
    Damaged,
}

impl Mark {
    pub(super) fn of(backup: &BackupStatus) -> Self {
        if backup.damage.is_some() {
            return Self::Damaged;
        }
        match (backup.verdict(), backup.drills.last().map(|drill| drill.state)) {
            (Some(DrillState::Failed), _) => Self::Failed,
            (Some(_), _) => Self::Certified,
            (None, None) => Self::Waiting,
            (None, Some(DrillState::Started)) => Self::InDrill,
            (None, Some(_)) => Self::Unverified,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Failed => "failed",
            Self::Unverified => "could not be judged",
            Self::InDrill => "drill begun",
            Self::Waiting => "not yet drilled",
            Self::Damaged => "cannot be read",
        }
    }

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Certified => "good",
            Self::Failed | Self::Damaged => "bad",
            Self::Unverified => "warn",
            Self::InDrill | Self::Waiting => "idle",
        }
    }
}

pub(super) const fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Succeeded => ("good", "succeeded"),
        Outcome::Certified => ("good", "certified"),
        Outcome::Failed => ("bad", "failed"),
        Outcome::Unverified => ("warn", "could not judge"),
        Outcome::Yielded => ("warn", "gave way to production"),
        Outcome::Skipped => ("idle", "not its turn"),
        Outcome::Interrupted => ("idle", "interrupted"),
    }
}

pub(super) const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Schedule => "on schedule",
        Trigger::CatchUp => "catching up",
        Trigger::Signal => "asked for",
        Trigger::Retry => "trying again",
        Trigger::Poll => "new backup found",
        Trigger::Reprove => "proving an older backup again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_exact_as_one_wants_to_know_them() {
        let spans = [-3.0, 59.4, 61.0, 3599.0, 3600.0, 25_500.0, 90_000.0, 200_000.0].map(span);
        assert_eq!(
            spans,
            ["0 s", "59 s", "1 min", "59 min", "1 h", "7 h 5 min", "25 h", "2 days"]
        );
    }
}
