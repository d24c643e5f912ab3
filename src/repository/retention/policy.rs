//! What a user wants to keep, as plain data. The words are restic's: each rule keeps what it names, and a backup goes
//! only when no rule keeps it.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::calendar::Period;

/// The rules. Without any of them nothing is ever expired.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The newest so many.
    pub keep_last: u32,
    /// All that are at most so much older than the newest.
    pub keep_within: Option<Duration>,
    /// One of each of the newest so many hours, days, ISO weeks, months, years that have a backup.
    pub keep_hourly: u32,
    pub keep_daily: u32,
    pub keep_weekly: u32,
    pub keep_monthly: u32,
    pub keep_yearly: u32,
    /// Where days begin.
    pub time_zone: TimeZone,
    /// The newest so many certified ones stay, whatever the rules say. At least one does.
    pub keep_certified: u32,
}

impl Policy {
    /// Keeps everything.
    #[must_use]
    pub fn none() -> Self {
        Self {
            keep_last: 0,
            keep_within: None,
            keep_hourly: 0,
            keep_daily: 0,
            keep_weekly: 0,
            keep_monthly: 0,
            keep_yearly: 0,
            time_zone: TimeZone::UTC,
            keep_certified: 2,
        }
    }

    /// Whether there is any rule.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.keep_last > 0 || self.keep_within.is_some() || self.periods().next().is_some()
    }

    /// The least number of certified backups that stay.
    #[must_use]
    pub fn floor(&self) -> usize {
        self.keep_certified.max(1) as usize
    }

    /// The rules by the calendar that are set.
    pub(super) fn periods(&self) -> impl Iterator<Item = (Period, usize)> {
        let rules = [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
            (Period::Year, self.keep_yearly),
        ];
        let set = rules.into_iter().filter(|(_, number)| *number > 0);
        set.map(|(period, number)| (period, number as usize))
    }
}
