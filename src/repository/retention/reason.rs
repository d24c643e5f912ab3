//! Why a backup stays or goes, in words.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

use super::calendar::Period;
use super::plan::Proof;
use crate::repository::id::BackupId;

/// One reason. A backup that stays has those that keep it, one that goes has each rule's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    NoPolicy,
    Frozen(String),
    NothingCertified,
    Unreadable,
    FromTheFuture,
    Misdated,
    StoredLate,
    Held(String),
    Newest,
    AwaitsDrill,
    AmongNewestCertified(usize),
    AmongLast(usize),
    AmongLastCertified(usize),
    Within(Duration),
    OfPeriod {
        period: Period,
        name: String,
        proof: Proof,
    },
    NotAmongLast(usize),
    NotWithin(Duration),
    PeriodKeptBy {
        period: Period,
        name: String,
        by: BackupId,
    },
    PeriodTooOld {
        period: Period,
        name: String,
        number: usize,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => formatter.write_str("no rule of retention is set"),
            Self::Frozen(why) => write!(formatter, "deletion is frozen: {why}"),
            Self::NothingCertified => formatter.write_str("nothing goes while no backup is certified"),
            Self::Unreadable => formatter.write_str("its manifest cannot be read"),
            Self::FromTheFuture => formatter.write_str("its snapshot lies in the future"),
            Self::Misdated => formatter
                .write_str("its snapshot, its run and the store's date of it contradict each other: a clock was wrong"),
            Self::StoredLate => formatter
                .write_str("stored within a week and long after its run: brought late, or the clocks were behind"),
            Self::Held(why) => write!(formatter, "held: {why}"),
            Self::Newest => formatter.write_str("the newest backup"),
            Self::AwaitsDrill => formatter.write_str("newer than the newest certified one, and it awaits a drill"),
            Self::AmongNewestCertified(number) => write!(formatter, "keep_certified {number}"),
            Self::AmongLast(number) => write!(formatter, "keep_last {number}"),
            Self::AmongLastCertified(number) => write!(formatter, "keep_last {number}, counting certified ones"),
            Self::Within(span) => write!(formatter, "keep_within {}", Span(*span)),
            Self::OfPeriod { period, name, proof } => {
                write!(formatter, "{}: {proof} one of {name}", period.rule())
            }
            Self::NotAmongLast(number) => write!(formatter, "not among keep_last {number}"),
            Self::NotWithin(span) => write!(formatter, "older than keep_within {}", Span(*span)),
            Self::PeriodKeptBy { period, name, by } => write!(formatter, "{}: {name} is kept by {by}", period.rule()),
            Self::PeriodTooOld { period, name, number } => {
                write!(formatter, "{} {number}: {name} is too long ago", period.rule())
            }
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written in settings.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 60 * 60;
        match self.0.as_secs() {
            seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => write!(formatter, "{}d", seconds / DAY),
            _ => write!(
                formatter,
                "{:#}",
                SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX)
            ),
        }
    }
}
