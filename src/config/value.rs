//! Durations, sizes and time zones as people write them: `30s`, `5m`, `1h 30m`, `7d`; `8MiB`, `512KiB`, or a number of
//! bytes; `Europe/Berlin`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::schedule::Schedule;
use super::template::Template;

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a duration such as 30s, 5m, 2h or 7d";
        let span: jiff::Span = text.trim().parse().map_err(|_| EXPECTED)?;
        // Months and years have no length.
        let days_are_24_hours = jiff::SpanRelativeTo::days_are_24_hours();
        let duration = span.to_duration(days_are_24_hours).map_err(|_| EXPECTED)?;
        Duration::try_from(duration).map(Self).map_err(|_| EXPECTED)
    }
}

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a size such as 8MiB, 512KiB or a number of bytes";
        let text = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1));
        let number: u64 = number.trim().parse().map_err(|_| EXPECTED)?;
        number.checked_mul(factor).map(Self).ok_or(EXPECTED)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).copied().unwrap_or(("B", 1));
        write!(formatter, "{}{unit}", self.0 / factor)
    }
}

/// A time zone that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneName(pub jiff::tz::TimeZone);

impl FromStr for ZoneName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let zone = jiff::tz::TimeZone::get(text.trim());
        zone.map(Self)
            .map_err(|_| "must be the IANA name of a time zone, such as Europe/Berlin or UTC")
    }
}

macro_rules! deserialize_from_text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

deserialize_from_text!(Span);
deserialize_from_text!(ByteSize);
deserialize_from_text!(ZoneName);
deserialize_from_text!(Schedule);
deserialize_from_text!(Template);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("2h", 7200),
            ("1h 30m", 5400),
            ("7d", 604_800),
            ("1w 2h", 612_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for wrong in ["", "30", "-5s", "soon", "1mo", "1 year"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown_in_the_largest_whole_unit() {
        for (text, bytes) in [
            ("8MiB", 8 << 20),
            ("512 KiB", 512 << 10),
            ("1GiB", 1 << 30),
            ("1500", 1500),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for wrong in ["", "MiB", "8MB", "-1", "99999999999GiB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
        assert_eq!(ByteSize(8 << 20).to_string(), "8MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
    }
}
