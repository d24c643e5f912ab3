//! Identifiers and digests as newtypes with one text form each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the identifier or digest it should be.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct ParseIdError {
    text: String,
    expected: &'static str,
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }
    };
}

macro_rules! digest {
    ($name:ident, $doc:literal, $expected:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 32];
                let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) if is_lower => Ok(Self(bytes)),
                    _ => Err(ParseIdError {
                        text: text.to_owned(),
                        expected: $expected,
                    }),
                }
            }
        }

        text_newtype!($name);
    };
}

digest!(
    Sha256Digest,
    "SHA-256 of an object's stored bytes: its name, and what users check.",
    "a SHA-256 digest of 64 lower-case hexadecimal digits"
);
digest!(
    Blake3Digest,
    "BLAKE3 of a chunk's raw bytes: decides reuse, nothing else.",
    "a BLAKE3 digest of 64 lower-case hexadecimal digits"
);

impl Sha256Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl Blake3Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

macro_rules! timed_id {
    ($name:ident, $doc:literal, $expected:literal) => {
        #[doc = $doc]
        ///
        /// Text: `20261121T055117Z-8f3a2c1d`, UTC to the second and eight random hexadecimal digits; sorts by time.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The id of `time` (UTC, truncated to the second) and a suffix that tells it from others of that second.
            #[must_use]
            pub fn new(time: jiff::Timestamp, suffix: u32) -> Self {
                Self(format!("{}-{suffix:08x}", time.strftime("%Y%m%dT%H%M%SZ")))
            }

            /// The time in the id.
            #[must_use]
            pub fn time(&self) -> jiff::Timestamp {
                parse_time(&self.0).unwrap_or_default()
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match parse_time(text) {
                    Some(_) => Ok(Self(text.to_owned())),
                    None => Err(ParseIdError {
                        text: text.to_owned(),
                        expected: $expected,
                    }),
                }
            }
        }

        text_newtype!($name);
    };
}

timed_id!(
    BackupId,
    "A backup's name: the time of its (oldest) snapshot by the database server's clock.",
    "a backup id such as 20261121T055117Z-8f3a2c1d"
);
timed_id!(
    DrillId,
    "A drill's name: the time of its start.",
    "a drill id such as 20261121T055117Z-8f3a2c1d"
);
timed_id!(
    VerifyId,
    "A verification's name: the time of its start.",
    "a verification id such as 20261121T055117Z-8f3a2c1d"
);

impl BackupId {
    /// The id of `time` with a suffix out of `random` that sorts after `earlier` where that is of the same second: two
    /// small backups in a row take less, and which one is the newest must not be left to chance.
    #[must_use]
    pub fn following(earlier: Option<&Self>, time: jiff::Timestamp, random: u32) -> Self {
        let id = Self::new(time, random);
        let Some(last) = earlier.filter(|earlier| earlier.time() == id.time()) else {
            return id;
        };
        let last = last
            .0
            .rsplit('-')
            .next()
            .and_then(|suffix| u32::from_str_radix(suffix, 16).ok());
        // Of 2^32 suffixes, so many are left; whoever got the last one has no follower in its second.
        let room = u32::MAX - last.unwrap_or_default();
        Self::new(time, random.checked_rem(room).map_or(random, |step| u32::MAX - step))
    }
}

fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    let (time, suffix) = text.split_once('-')?;
    let is_suffix = suffix.len() == 8 && suffix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    let timestamp = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    (is_suffix && timestamp.strftime("%Y%m%dT%H%M%SZ").to_string() == time).then_some(timestamp)
}

/// A repository's own name: 32 random hexadecimal digits, chosen once when it is created.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepositoryId(String);

impl RepositoryId {
    #[must_use]
    pub fn new(random: u128) -> Self {
        Self(format!("{random:032x}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for RepositoryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.to_owned())).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a repository id of 32 lower-case hexadecimal digits",
        })
    }
}

text_newtype!(RepositoryId);

/// A cluster in keys: the first 16 hexadecimal digits of the SHA-256 of its name, so that any name fits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LeaseScope(String);

impl LeaseScope {
    const DIGITS: usize = 16;

    #[must_use]
    pub fn of(cluster: &str) -> Self {
        let mut digits = Sha256Digest::of(cluster.as_bytes()).to_string();
        digits.truncate(Self::DIGITS);
        Self(digits)
    }
}

impl fmt::Display for LeaseScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for LeaseScope {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_scope = text.len() == Self::DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_scope.then(|| Self(text.to_owned())).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a lease's scope of 16 lower-case hexadecimal digits",
        })
    }
}

text_newtype!(LeaseScope);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_id_sorts_by_time_and_reads_back() {
        let early = BackupId::new("2026-11-21T05:51:17Z".parse().unwrap(), 0xffff_ffff);
        let late = BackupId::new("2026-11-21T05:51:18Z".parse().unwrap(), 0);
        assert_eq!(early.to_string(), "20261121T055117Z-ffffffff");
        assert!(early < late);
        assert_eq!(early.as_str().parse::<BackupId>().unwrap(), early);
        assert_eq!(late.time(), "2026-11-21T05:51:18Z".parse().unwrap());
    }

    #[test]
    fn a_backup_of_the_same_second_sorts_after_the_one_before_it() {
        let second: jiff::Timestamp = "2026-11-21T05:51:17Z".parse().unwrap();
        let later = second + jiff::SignedDuration::from_millis(900);
        for before in [0, 1, 0x8f3a_2c1d, u32::MAX - 1] {
            let earlier = BackupId::new(second, before);
            for random in [0, 1, 0x8f3a_2c1d, u32::MAX - 1, u32::MAX] {
                let id = BackupId::following(Some(&earlier), later, random);
                assert!(id > earlier && id.time() == second, "{earlier} {random:x} {id}");
            }
        }
        let plain = BackupId::new(second, 7);
        let others = [
            None,
            Some(BackupId::new("2026-11-21T05:51:16Z".parse().unwrap(), u32::MAX)),
        ];
        for earlier in others {
            assert_eq!(BackupId::following(earlier.as_ref(), second, 7), plain);
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for wrong in [
            "",
            "latest",
            "20261121T055117Z",
            "20261121T055117Z-8F3A2C1D",
            "20261321T055117Z-8f3a2c1d",
            "../x-00000000",
        ] {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong}");
        }
        assert!("AB".parse::<Sha256Digest>().is_err());
        assert!("g".repeat(64).parse::<Sha256Digest>().is_err());
    }
}
