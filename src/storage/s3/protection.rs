//! What an object is given on its way into the bucket: a lock that nobody lifts before its time, and encryption at rest.
//!
//! A lock protects a version, not a key: whoever may delete hides a locked object behind a marker, and the version stays.
//! Locks are given for longer than is promised, so that what many backups refer to is locked again now and then and not
//! for each of them.

use std::time::Duration;

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ServerSideEncryption,
};
use jiff::Timestamp;

use super::S3Store;
use super::errors::translate;
use crate::storage::{Error, ErrorKind, LockPeriod, Result};

const DAY: Duration = Duration::from_hours(24);

/// What new objects are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    pub lock: Option<Lock>,
    pub encryption: Option<Encryption>,
}

/// Object Lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub mode: LockMode,
    /// How long after a backup everything that it refers to is locked at least.
    pub days: u32,
    /// Keys that begin with one of these are locked, relative to the store's prefix.
    pub keys: Vec<String>,
    /// Unless they begin with one of these.
    pub except: Vec<String>,
}

/// Who may lift a lock early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody.
    Compliance,
}

/// Encryption by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-S3: with a key of the store.
    Store,
    /// SSE-KMS: with this key, or the account's own for S3.
    Kms { key_id: Option<String> },
}

impl Lock {
    pub(super) fn period(&self) -> LockPeriod {
        let promised = DAY * self.days;
        LockPeriod {
            promised,
            given: promised + (promised / 4).max(DAY),
        }
    }

    fn covers(&self, key: &str) -> bool {
        let begins_with_one = |beginnings: &[String]| beginnings.iter().any(|beginning| key.starts_with(beginning));
        begins_with_one(&self.keys) && !begins_with_one(&self.except)
    }

    /// Whether nobody can lift sooner what is locked in `mode`.
    fn is_no_stricter_than(&self, mode: &ObjectLockMode) -> bool {
        match self.mode {
            LockMode::Governance => matches!(mode, ObjectLockMode::Governance | ObjectLockMode::Compliance),
            LockMode::Compliance => *mode == ObjectLockMode::Compliance,
        }
    }
}

impl S3Store {
    pub(super) fn lock(&self) -> Option<&Lock> {
        self.options.protection.lock.as_ref()
    }

    pub(super) fn protect(&self, key: &str, put: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let put = match &self.options.protection.encryption {
            None => put,
            Some(Encryption::Store) => put.server_side_encryption(ServerSideEncryption::Aes256),
            Some(Encryption::Kms { key_id }) => put
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .set_ssekms_key_id(key_id.clone()),
        };
        match self.lock() {
            Some(lock) if lock.covers(key) => {
                let mode = match lock.mode {
                    LockMode::Governance => ObjectLockMode::Governance,
                    LockMode::Compliance => ObjectLockMode::Compliance,
                };
                let until = self.counters.now() + lock.period().given;
                // A lock demands a checksum, and to be told that there is one.
                put.checksum_algorithm(ChecksumAlgorithm::Sha256)
                    .object_lock_mode(mode)
                    .object_lock_retain_until_date(DateTime::from_secs(until.as_second()))
            }
            _ => put,
        }
    }

    /// Locks an object that exists for as long as a new one, or finds that it is locked for long enough: no store lets a lock be
    /// shortened, and one from before the settings changed, or a stranger's, may be longer.
    pub(super) async fn lock_again(&self, key: &str) -> Result<Timestamp> {
        let Some(lock) = self.lock() else {
            return Err(Error::new(ErrorKind::Settings, "lock", key).with_source("no lock is configured"));
        };
        let until = self.counters.now() + lock.period().given;
        let mode = match lock.mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(DateTime::from_secs(until.as_second()))
            .build();
        let request = || {
            self.client
                .put_object_retention()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
                .retention(retention.clone())
                .send()
        };
        let answer = self.send(request).await;
        if let Err(error) = answer {
            let error = translate("lock", key, &self.place, &error);
            return match self.lasting_lock(key, lock).await {
                Some(until) if error.kind == ErrorKind::Denied => Ok(until),
                _ => Err(error),
            };
        }
        Timestamp::from_second(until.as_second())
            .map_err(|error| Error::new(ErrorKind::Other, "lock", key).with_source(error))
    }

    /// Until when the object is locked, if that is for as long and as strictly as `lock` promises. Its headers say so to
    /// whoever may ask for its retention.
    async fn lasting_lock(&self, key: &str, lock: &Lock) -> Option<Timestamp> {
        let needed = self.counters.now() + lock.period().promised;
        let head = self.ask_head(key).await.ok()?;
        let until = Timestamp::from_second(head.object_lock_retain_until_date()?.secs()).ok()?;
        let is_enough = until >= needed && lock.is_no_stricter_than(head.object_lock_mode()?);
        is_enough.then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_for_longer_than_it_is_promised() {
        for (days, given) in [(1, 2), (3, 4), (4, 5), (30, 37), (365, 456)] {
            let lock = Lock {
                mode: LockMode::Governance,
                days,
                keys: Vec::new(),
                except: Vec::new(),
            };
            let period = lock.period();
            assert_eq!(period.promised, DAY * days);
            assert_eq!(period.given.as_secs() / DAY.as_secs(), given, "{days}");
        }
    }

    #[test]
    fn what_lies_below_an_exception_is_not_locked() {
        let lock = Lock {
            mode: LockMode::Governance,
            days: 30,
            keys: vec!["certificates/".to_owned(), "chunks/".to_owned()],
            except: vec!["certificates/probes/".to_owned()],
        };
        let keys = ["chunks/a", "certificates/b", "certificates/probes/c", "leases/d"];
        assert_eq!(keys.map(|key| lock.covers(key)), [true, true, false, false]);
    }

    #[test]
    fn a_lock_that_is_stricter_is_as_good_and_one_that_is_not_is_none() {
        let lock = |mode| Lock {
            mode,
            days: 1,
            keys: Vec::new(),
            except: Vec::new(),
        };
        let modes = [ObjectLockMode::Governance, ObjectLockMode::Compliance, "NEW".into()];
        let stands_for = |mode| modes.each_ref().map(|found| lock(mode).is_no_stricter_than(found));
        assert_eq!(stands_for(LockMode::Governance), [true, true, false]);
        assert_eq!(stands_for(LockMode::Compliance), [false, true, false]);
    }
}
