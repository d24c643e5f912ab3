//! Every key of a repository, built and parsed in one place.
//!
//! Keys are relative to the store's prefix. `Key` has exactly one text form: what parses as a key prints as the same
//! text again, and whatever else lies in the bucket is nobody's key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::{BackupId, DrillId, LeaseScope, Sha256Digest, VerifyId};

pub const REPOSITORY: &str = "repository.json";
pub const CHUNKS: &str = "chunks/";
pub const MANIFESTS: &str = "manifests/";
pub const CERTIFICATES: &str = "certificates/";
pub const DAMAGE: &str = "damage/";
pub const LEASES: &str = "leases/";
/// Where people accept what backups no longer hold.
pub const DRIFT: &str = "drift/";
pub const HOLDS: &str = "holds/";
pub const TOMBSTONES: &str = "tombstones/";
pub const INCOMING: &str = "incoming/";
/// What drills in other places said of backups that were copied here.
pub const ELSEWHERE: &str = "elsewhere/";
/// Where the backup agent's credentials try what the store can do.
pub const PROBES: &str = "probes/";
/// The same for the restore agent, whose credentials can write nowhere else.
pub const CERTIFICATE_PROBES: &str = "certificates/probes/";

/// What a drill had to say. It stands in the key, so that a listing alone tells verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Written first. Without a verdict of the same drill beside it, the drill was interrupted.
    Started,
    Certified,
    Failed,
    /// The drill could not judge; says nothing about the backup.
    Unverified,
}

/// The name of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Names the repository and its format.
    Repository,
    /// Content; `copy` tells objects with the same contents apart.
    Chunk { sha256: Sha256Digest, copy: u32 },
    /// The root of a backup.
    Manifest(BackupId),
    Certificate {
        backup_id: BackupId,
        drill_id: DrillId,
        state: CertificateState,
    },
    /// What a verification found damaged.
    Damage(VerifyId),
    /// Who backs a cluster up, by generation.
    Lease { scope: LeaseScope, generation: u64 },
    /// The end of that generation.
    LeaseRelease { scope: LeaseScope, generation: u64 },
    /// A person's word that a backup's drift is what was wanted.
    DriftAcceptance(BackupId),
    /// Keeps a backup from expiring, by generation.
    Hold { backup_id: BackupId, generation: u32 },
    /// The end of that generation.
    HoldRelease { backup_id: BackupId, generation: u32 },
    /// A backup that is being expired, or was.
    Tombstone(BackupId),
    /// Since when its manifest is gone at the latest.
    Gone(BackupId),
    /// The root of a backup whose chunks are on their way here from another repository.
    Incoming(BackupId),
    /// What a drill in another place had to say of a backup that was copied here.
    Elsewhere {
        backup_id: BackupId,
        drill_id: DrillId,
        state: CertificateState,
    },
}

impl CertificateState {
    const ALL: [Self; 4] = [Self::Started, Self::Certified, Self::Failed, Self::Unverified];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Certified => "certified",
            Self::Failed => "failed",
            Self::Unverified => "unverified",
        }
    }
}

impl fmt::Display for CertificateState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Where the certificates of one backup lie.
#[must_use]
pub fn certificates_of(backup_id: &BackupId) -> String {
    format!("{CERTIFICATES}{backup_id}/")
}

/// Where the holds of one backup lie.
#[must_use]
pub fn holds_of(backup_id: &BackupId) -> String {
    format!("{HOLDS}{backup_id}/")
}

/// Where the leases of one cluster lie.
#[must_use]
pub fn leases_of(scope: &LeaseScope) -> String {
    format!("{LEASES}{scope}/")
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository => formatter.write_str(REPOSITORY),
            Self::Chunk { sha256, copy } => {
                let digest = sha256.to_string();
                write!(formatter, "{CHUNKS}{}/{digest}", &digest[..2])?;
                match copy {
                    0 => Ok(()),
                    copy => write!(formatter, ".{copy}"),
                }
            }
            Self::Manifest(backup_id) => write!(formatter, "{MANIFESTS}{backup_id}.json"),
            Self::Certificate {
                backup_id,
                drill_id,
                state,
            } => write!(formatter, "{CERTIFICATES}{backup_id}/{drill_id}.{state}.json"),
            Self::Damage(verify_id) => write!(formatter, "{DAMAGE}{verify_id}.json"),
            Self::Lease { scope, generation } => write!(formatter, "{LEASES}{scope}/{generation:020}.json"),
            Self::LeaseRelease { scope, generation } => {
                write!(formatter, "{LEASES}{scope}/{generation:020}.released.json")
            }
            Self::Hold { backup_id, generation } => write!(formatter, "{HOLDS}{backup_id}/{generation:010}.json"),
            Self::HoldRelease { backup_id, generation } => {
                write!(formatter, "{HOLDS}{backup_id}/{generation:010}.released.json")
            }
            Self::DriftAcceptance(backup_id) => write!(formatter, "{DRIFT}{backup_id}.json"),
            Self::Tombstone(backup_id) => write!(formatter, "{TOMBSTONES}{backup_id}.json"),
            Self::Gone(backup_id) => write!(formatter, "{TOMBSTONES}{backup_id}.gone.json"),
            Self::Incoming(backup_id) => write!(formatter, "{INCOMING}{backup_id}.json"),
            Self::Elsewhere {
                backup_id,
                drill_id,
                state,
            } => write!(formatter, "{ELSEWHERE}{backup_id}/{drill_id}.{state}.json"),
        }
    }
}

/// The text is not the key of any object of a repository.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a key of a repository")]
pub struct ParseKeyError(String);

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .filter(|key| key.to_string() == text)
            .ok_or_else(|| ParseKeyError(text.to_owned()))
    }
}

/// Reads generously (signs, leading zeros, a wrong shard); the caller demands that the key prints as the same text.
fn parse(text: &str) -> Option<Key> {
    if text == REPOSITORY {
        return Some(Key::Repository);
    }
    let (directory, rest) = text.split_once('/')?;
    if directory == "chunks" {
        let (_shard, name) = rest.split_once('/')?;
        let (digest, copy) = name.split_once('.').unwrap_or((name, "0"));
        return Some(Key::Chunk {
            sha256: digest.parse().ok()?,
            copy: copy.parse().ok()?,
        });
    }
    let name = rest.strip_suffix(".json")?;
    match directory {
        "manifests" => Some(Key::Manifest(name.parse().ok()?)),
        "certificates" => parse_certificate(name).map(|(backup_id, drill_id, state)| Key::Certificate {
            backup_id,
            drill_id,
            state,
        }),
        "elsewhere" => parse_certificate(name).map(|(backup_id, drill_id, state)| Key::Elsewhere {
            backup_id,
            drill_id,
            state,
        }),
        "damage" => Some(Key::Damage(name.parse().ok()?)),
        "leases" => parse_lease(name),
        "holds" => parse_hold(name),
        "tombstones" => Some(match name.strip_suffix(".gone") {
            Some(backup_id) => Key::Gone(backup_id.parse().ok()?),
            None => Key::Tombstone(name.parse().ok()?),
        }),
        "drift" => Some(Key::DriftAcceptance(name.parse().ok()?)),
        "incoming" => Some(Key::Incoming(name.parse().ok()?)),
        _ => None,
    }
}

fn parse_certificate(name: &str) -> Option<(BackupId, DrillId, CertificateState)> {
    let (backup_id, rest) = name.split_once('/')?;
    let (drill_id, state) = rest.split_once('.')?;
    let state = CertificateState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)?;
    Some((backup_id.parse().ok()?, drill_id.parse().ok()?, state))
}

fn parse_hold(name: &str) -> Option<Key> {
    let (backup_id, name) = name.split_once('/')?;
    let backup_id = backup_id.parse().ok()?;
    Some(match name.strip_suffix(".released") {
        Some(generation) => Key::HoldRelease {
            backup_id,
            generation: generation.parse().ok()?,
        },
        None => Key::Hold {
            backup_id,
            generation: name.parse().ok()?,
        },
    })
}

fn parse_lease(name: &str) -> Option<Key> {
    let (scope, name) = name.split_once('/')?;
    let scope = scope.parse().ok()?;
    Some(match name.strip_suffix(".released") {
        Some(generation) => Key::LeaseRelease {
            scope,
            generation: generation.parse().ok()?,
        },
        None => Key::Lease {
            scope,
            generation: name.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = jiff::Timestamp> {
        (0i64..4_102_444_800).prop_map(|second| jiff::Timestamp::from_second(second).unwrap())
    }

    fn backup_id() -> impl Strategy<Value = BackupId> {
        (time(), any::<u32>()).prop_map(|(time, suffix)| BackupId::new(time, suffix))
    }

    fn certificate() -> impl Strategy<Value = Key> {
        (backup_id(), time(), any::<u32>(), 0..4usize).prop_map(|(backup_id, time, suffix, state)| Key::Certificate {
            backup_id,
            drill_id: DrillId::new(time, suffix),
            state: CertificateState::ALL[state],
        })
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Repository),
            (any::<[u8; 32]>(), prop_oneof![Just(0), any::<u32>()]).prop_map(|(digest, copy)| Key::Chunk {
                sha256: Sha256Digest(digest),
                copy
            }),
            backup_id().prop_map(Key::Manifest),
            certificate(),
            (time(), any::<u32>()).prop_map(|(time, suffix)| Key::Damage(VerifyId::new(time, suffix))),
            (any::<String>(), any::<u64>()).prop_map(|(cluster, generation)| Key::Lease {
                scope: LeaseScope::of(&cluster),
                generation
            }),
            (any::<String>(), any::<u64>()).prop_map(|(cluster, generation)| Key::LeaseRelease {
                scope: LeaseScope::of(&cluster),
                generation
            }),
            (backup_id(), any::<u32>()).prop_map(|(backup_id, generation)| Key::Hold { backup_id, generation }),
            (backup_id(), any::<u32>()).prop_map(|(backup_id, generation)| Key::HoldRelease { backup_id, generation }),
            backup_id().prop_map(Key::DriftAcceptance),
            backup_id().prop_map(Key::Tombstone),
            backup_id().prop_map(Key::Gone),
            backup_id().prop_map(Key::Incoming),
            (backup_id(), time(), any::<u32>(), 0..4usize).prop_map(|(backup_id, time, suffix, state)| {
                Key::Elsewhere {
                    backup_id,
                    drill_id: DrillId::new(time, suffix),
                    state: CertificateState::ALL[state],
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_itself(key in key()) {
            prop_assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        }

        #[test]
        fn a_key_with_one_character_changed_is_another_key_or_none(
            key in key(), position in any::<prop::sample::Index>(), character in "[ -~]",
        ) {
            let mut text = key.to_string();
            let at = position.index(text.len());
            text.replace_range(at..=at, &character);
            if let Ok(other) = text.parse::<Key>() {
                prop_assert_eq!(other.to_string(), text);
            }
        }

        #[test]
        fn text_around_a_key_makes_it_foreign(key in key(), extra in "[ -~]{1,5}") {
            let (before, after) = (format!("{extra}{key}"), format!("{key}/{extra}"));
            prop_assert!(before.parse::<Key>().is_err());
            prop_assert!(after.parse::<Key>().is_err());
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let sha256 = Sha256Digest::of(b"");
        let plain = Key::Chunk { sha256, copy: 0 }.to_string();
        assert_eq!(
            plain,
            "chunks/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(Key::Chunk { sha256, copy: 2 }.to_string(), format!("{plain}.2"));
        let certificate = Key::Certificate {
            backup_id: "20261121T055117Z-8f3a2c1d".parse().unwrap(),
            drill_id: "20261121T060000Z-00000001".parse().unwrap(),
            state: CertificateState::Certified,
        };
        assert_eq!(
            certificate.to_string(),
            "certificates/20261121T055117Z-8f3a2c1d/20261121T060000Z-00000001.certified.json"
        );
        let backup_id: BackupId = "20261121T055117Z-8f3a2c1d".parse().unwrap();
        let hold = Key::Hold {
            backup_id: backup_id.clone(),
            generation: 3,
        };
        assert_eq!(hold.to_string(), "holds/20261121T055117Z-8f3a2c1d/0000000003.json");
        let gone = Key::Gone(backup_id);
        assert_eq!(gone.to_string(), "tombstones/20261121T055117Z-8f3a2c1d.gone.json");
        let (scope, generation) = (LeaseScope::of("production"), 7);
        let lease = Key::Lease {
            scope: scope.clone(),
            generation,
        };
        assert_eq!(lease.to_string(), "leases/ab8e18ef4ebebedd/00000000000000000007.json");
        let release = Key::LeaseRelease { scope, generation };
        assert_eq!(
            release.to_string(),
            "leases/ab8e18ef4ebebedd/00000000000000000007.released.json"
        );
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let digest = Sha256Digest::of(b"").to_string();
        for foreign in [
            String::new(),
            "chunks/".to_owned(),
            format!("chunks/aa/{digest}"),
            format!("chunks/e3/{digest}.0"),
            format!("chunks/e3/{digest}.01"),
            format!("chunks/e3/{digest}.+1"),
            format!("chunks/e3/{}", digest.to_uppercase()),
            "manifests/latest.json".to_owned(),
            "certificates/probes/x.json".to_owned(),
            "certificates/20261121T055117Z-8f3a2c1d/20261121T060000Z-00000001.json".to_owned(),
            "holds/20261121T055117Z-8f3a2c1d.json".to_owned(),
            "holds/20261121T055117Z-8f3a2c1d/1.json".to_owned(),
            "tombstones/20261121T055117Z-8f3a2c1d.expired.json".to_owned(),
            "leases/00000000000000000007.json".to_owned(),
            "leases/ab8e18ef4ebebedd/7.json".to_owned(),
            "leases/AB8E18EF4EBEBEDD/00000000000000000007.json".to_owned(),
            "leases/ab8e18ef4ebebedd/00000000000000000007.ended.json".to_owned(),
        ] {
            assert!(foreign.parse::<Key>().is_err(), "{foreign}");
        }
    }
}
