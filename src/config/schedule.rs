//! When something is to happen: at the times of a cron expression in its time zone, or a set time after the last one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::value::Span;

/// As it was written, and what it means.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>),
    Every(Duration),
}

#[derive(Clone, Debug)]
struct Cron {
    /// The expression in its time zone.
    zoned: Crontab,
    /// The same on a clock that is never set.
    civil: Crontab,
    zone: TimeZone,
}

impl Cron {
    /// A time that a clock leaps over is due when the leap is done: a backup at half past two is made in that night too.
    /// A time that comes twice is due twice, since one backup too many does no harm.
    fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        let zoned = self.zoned.find_next(last).ok().map(|next| next.timestamp());
        let shown = self.zone.to_datetime(last).to_zoned(TimeZone::UTC).ok()?;
        let civil = self.civil.find_next(shown.timestamp()).ok()?;
        let leapt = self
            .zone
            .to_timestamp(civil.datetime())
            .ok()
            .filter(|time| *time > last);
        zoned.into_iter().chain(leapt).min()
    }
}

impl Schedule {
    /// The first time that is due after `last`; none when the expression never comes true again.
    #[must_use]
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => cron.next_after(last),
            Rule::Every(interval) => last.checked_add(*interval).ok(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let rule = match text.strip_prefix("every ") {
            Some(interval) => parse_interval(interval)?,
            None => parse_cron(text)?,
        };
        let text = text.to_owned();
        Ok(Self { text, rule })
    }
}

fn parse_interval(text: &str) -> Result<Rule, String> {
    match text.parse::<Span>() {
        Ok(Span(interval)) if !interval.is_zero() => Ok(Rule::Every(interval)),
        _ => Err("must be 'every' and a duration such as 30m or 6h".to_owned()),
    }
}

fn parse_cron(text: &str) -> Result<Rule, String> {
    const FIELDS: usize = 5;
    let fields: Vec<&str> = text.split_whitespace().collect();
    let zone = match fields.get(FIELDS) {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|_| format!("names no time zone: '{name}'"))?,
    };
    let expression = fields[..fields.len().min(FIELDS)].join(" ");
    let cron = Cron {
        zoned: parse_fields(text)?,
        civil: parse_fields(&expression)?,
        zone,
    };
    // The 30th of February is well-formed.
    if cron.next_after(Timestamp::UNIX_EPOCH).is_none() {
        return Err("must come true at some time".to_owned());
    }
    Ok(Rule::Cron(Box::new(cron)))
}

fn parse_fields(text: &str) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    parse_crontab_with(text, options).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches([' ', '^']);
        format!("must be a cron expression such as '30 2 * * * Europe/Berlin', or 'every 6h': {reason}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, last: &str) -> String {
        let schedule: Schedule = schedule.parse().unwrap();
        schedule.next_after(last.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn cron_expressions_are_read_in_their_time_zone() {
        assert_eq!(next("30 2 * * *", "2026-11-21T02:30:00Z"), "2026-11-22T02:30:00Z");
        assert_eq!(
            next("30 2 * * * Europe/Berlin", "2026-11-21T02:30:00Z"),
            "2026-11-22T01:30:00Z"
        );
        assert_eq!(next("0 */6 * * *", "2026-11-21T05:59:59Z"), "2026-11-21T06:00:00Z");
    }

    #[test]
    fn an_interval_counts_from_the_last_time() {
        assert_eq!(next("every 1h 30m", "2026-11-21T02:30:00Z"), "2026-11-21T04:00:00Z");
    }

    /// The clock is put forward over 02:30 on one night a year, and runs through it twice on another.
    #[test]
    fn no_night_is_left_out_when_the_clocks_change() {
        let berlin = "30 2 * * * Europe/Berlin";
        assert_eq!(next(berlin, "2026-03-28T02:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(next(berlin, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            "",
            "soon",
            "every",
            "every 0s",
            "* * *",
            "61 * * * *",
            "0 0 30 2 *",
            "0 0 * * * Nowhere/City",
        ] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
