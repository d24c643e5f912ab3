//! Hours, days, ISO weeks, months and years in a time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A unit of the calendar that a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// The rule's name in the settings.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Hour => "keep_hourly",
            Self::Day => "keep_daily",
            Self::Week => "keep_weekly",
            Self::Month => "keep_monthly",
            Self::Year => "keep_yearly",
        }
    }

    /// The period that `time` lies in, in words that no other period of this unit has.
    pub(super) fn of(self, time: Timestamp, time_zone: &TimeZone) -> String {
        let local = time.to_zoned(time_zone.clone());
        match self {
            // With the offset: where clocks are set back, one hour comes twice.
            Self::Hour => local.strftime("%Y-%m-%d %H:00%:z").to_string(),
            Self::Day => local.strftime("%Y-%m-%d").to_string(),
            Self::Week => local.strftime("%G-W%V").to_string(),
            Self::Month => local.strftime("%Y-%m").to_string(),
            Self::Year => local.strftime("%Y").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(period: Period, time: &str, zone: &str) -> String {
        period.of(time.parse().unwrap(), &TimeZone::get(zone).unwrap())
    }

    #[test]
    fn a_day_begins_where_the_time_zone_says() {
        let late = "2026-11-20T23:30:00Z";
        assert_eq!(of(Period::Day, late, "UTC"), "2026-11-20");
        assert_eq!(of(Period::Day, late, "Europe/Berlin"), "2026-11-21");
        assert_eq!(of(Period::Day, late, "America/Los_Angeles"), "2026-11-20");
    }

    #[test]
    fn the_hour_that_comes_twice_is_two_hours() {
        let [first, second] = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
        assert_eq!(of(Period::Hour, first, "Europe/Berlin"), "2026-10-25 02:00+02:00");
        assert_eq!(of(Period::Hour, second, "Europe/Berlin"), "2026-10-25 02:00+01:00");
        assert_eq!(
            of(Period::Day, first, "Europe/Berlin"),
            of(Period::Day, second, "Europe/Berlin")
        );
    }

    #[test]
    fn a_week_is_that_of_iso_8601_and_may_belong_to_another_year() {
        assert_eq!(of(Period::Week, "2027-01-01T12:00:00Z", "UTC"), "2026-W53");
        assert_eq!(of(Period::Month, "2027-01-01T12:00:00Z", "UTC"), "2027-01");
        assert_eq!(of(Period::Year, "2027-01-01T12:00:00Z", "UTC"), "2027");
    }
}
