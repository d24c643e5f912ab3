//! What a store can do, found out by trying it on objects of random names that are removed afterwards.
//!
//! Only the answers that a question looks for count; a store that cannot be reached or does not know us is an error,
//! never "no". An identity that may not delete leaves some hundred bytes behind, and on a bucket with Object Lock one
//! version of a probe stays locked for [`RETENTION`].

use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockEnabled, ObjectLockMode};
use bytes::Bytes;

use super::S3Store;
use super::errors::{CONFLICT, reasons, refusal, translate};
use super::put::{Extras, sha256_base64};
use super::read::pause;
use crate::storage::{Capabilities, Error, ErrorKind, Result};

/// The retention that the lock probe asks for. A store refuses a date that is past by its own clock, so this allows for
/// a minute of skew, and no more: until it is over nobody can remove that version.
const RETENTION: Duration = Duration::from_mins(1);

const BODY: Bytes = Bytes::from_static(b"kubebackup asks what this store can do\n");
const OTHER_BODY: &[u8] = b"another text, whose digest is wrong for a probe\n";

/// Objects that the probe wrote, with the version where the store keeps versions.
type Written = Vec<(String, Option<String>)>;

#[derive(Debug)]
enum Answer {
    Accepted,
    Refused {
        status: u16,
        is_conflict: bool,
        error: Error,
    },
}

impl S3Store {
    /// Asks the three questions under `probe_prefix`.
    pub(super) async fn probe(&self, probe_prefix: &str) -> Result<Capabilities> {
        let mut attempt = 1;
        loop {
            match self.probe_once(probe_prefix).await {
                // The answer to an upload tells nothing when it was asked for twice: all of it again, under another key.
                Err(error) if error.is_retryable() && attempt < self.options.max_attempts => {
                    tracing::debug!(attempt, error = %reasons(&error), "a probe failed, probing again");
                    tokio::time::sleep(pause(attempt)).await;
                    self.counters.add_retry();
                    attempt += 1;
                }
                found => return found,
            }
        }
    }

    async fn probe_once(&self, probe_prefix: &str) -> Result<Capabilities> {
        let key = format!("{probe_prefix}{:032x}", rand::random::<u128>());
        let mut written = Written::new();
        let found = self.ask(&key, &mut written).await;
        for (key, version) in written {
            self.remove(&key, version).await;
        }
        let found = found?;
        tracing::debug!(place = self.place, ?found, "probed the store");
        Ok(found)
    }

    async fn ask(&self, key: &str, written: &mut Written) -> Result<Capabilities> {
        let create_only = self.probe_create_only(key, written).await?;
        Ok(Capabilities {
            create_only,
            checksum_sha256: self
                .probe_checksum(&format!("{key}-checksum"), create_only, written)
                .await?,
            object_lock: self.has_object_lock(key).await?
                && self
                    .probe_retention(&format!("{key}-lock"), create_only, written)
                    .await?,
        })
    }

    /// The same key twice: the second upload has to be refused.
    async fn probe_create_only(&self, key: &str, written: &mut Written) -> Result<bool> {
        let extras = Extras {
            condition: true,
            checksum: false,
        };
        for is_second in [false, true] {
            match self
                .try_put(key, self.put_object(key, BODY, extras, ""), written)
                .await?
            {
                Answer::Accepted => {}
                Answer::Refused { error, .. } if error.kind == ErrorKind::Unsupported => return Ok(false),
                Answer::Refused { status: 412, .. } | Answer::Refused { is_conflict: true, .. } if is_second => {
                    return Ok(true);
                }
                Answer::Refused { error, .. } => return Err(error),
            }
        }
        Ok(false)
    }

    /// A digest of other bytes, in an otherwise correct and correctly signed request: it has to be refused.
    async fn probe_checksum(&self, key: &str, condition: bool, written: &mut Written) -> Result<bool> {
        let wrong = sha256_base64(&Bytes::from_static(OTHER_BODY)).await;
        let request = self.put_object(
            key,
            BODY,
            Extras {
                condition,
                checksum: true,
            },
            &wrong,
        );
        // Some stores keep the object that they refuse: it is removed whatever the answer.
        written.push((key.to_owned(), None));
        match self.try_put(key, request, written).await? {
            Answer::Accepted => Ok(false),
            Answer::Refused { error, .. } if error.kind == ErrorKind::Checksum => Ok(true),
            Answer::Refused { error, .. } if error.kind == ErrorKind::Unsupported => Ok(false),
            Answer::Refused { status: 400, error, .. } if error.kind == ErrorKind::Other => Ok(true),
            Answer::Refused { error, .. } => Err(error),
        }
    }

    /// Whether the bucket says that it has Object Lock: asked first, so that no other bucket sees a locked object.
    async fn has_object_lock(&self, key: &str) -> Result<bool> {
        let answer = self
            .client
            .get_object_lock_configuration()
            .bucket(&self.options.bucket)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(output
                .object_lock_configuration()
                .and_then(|configuration| configuration.object_lock_enabled())
                .is_some_and(|enabled| *enabled == ObjectLockEnabled::Enabled)),
            Err(error) => no_unless_broken(translate("probe", key, &self.place, &error)),
        }
    }

    /// Some stores take the headers and forget them: the retention has to be there when read back.
    async fn probe_retention(&self, key: &str, condition: bool, written: &mut Written) -> Result<bool> {
        let until = DateTime::from_secs((self.counters.now() + RETENTION).as_second());
        let checksum = sha256_base64(&BODY).await;
        let request = self
            .put_object(
                key,
                BODY,
                Extras {
                    condition,
                    checksum: true,
                },
                &checksum,
            )
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .object_lock_mode(ObjectLockMode::Governance)
            .object_lock_retain_until_date(until);
        if let Answer::Refused { error, .. } = self.try_put(key, request, written).await? {
            return no_unless_broken(error);
        }
        // Its headers say what GetObjectRetention says, by the same right, and more stores answer them well.
        match self.ask_head(key).await {
            Ok(head) => Ok(head
                .object_lock_retain_until_date()
                .is_some_and(|kept| kept.secs() == until.secs())),
            Err(error) => no_unless_broken(translate("probe", key, &self.place, &error)),
        }
    }

    /// One attempt: a refused digest would otherwise be sent again as if the wire had damaged the body.
    async fn try_put(&self, key: &str, request: PutObjectFluentBuilder, written: &mut Written) -> Result<Answer> {
        let once = Builder::default().retry_config(RetryConfig::standard().with_max_attempts(1));
        match request.customize().config_override(once).send().await {
            Ok(output) => {
                written.push((key.to_owned(), output.version_id().map(str::to_owned)));
                Ok(Answer::Accepted)
            }
            Err(error) => {
                let translated = translate("probe", key, &self.place, &error);
                match refusal(&error) {
                    Some(refusal) => Ok(Answer::Refused {
                        status: refusal.status,
                        is_conflict: refusal.code == Some(CONFLICT),
                        error: translated,
                    }),
                    None => Err(translated),
                }
            }
        }
    }

    /// The version itself where there is one and we may; otherwise the key, as far as we may.
    async fn remove(&self, key: &str, version: Option<String>) {
        let delete = || {
            self.client
                .delete_object()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
        };
        if let Some(version) = version
            && delete().version_id(version).send().await.is_ok()
        {
            return;
        }
        if let Err(error) = delete().send().await {
            let error = translate("delete", key, &self.place, &error);
            tracing::debug!(key, kind = ?error.kind, "a probe's object stays");
        }
    }
}

/// A store or an identity that does not do this answers in many ways; only what says nothing about it is an error.
fn no_unless_broken(error: Error) -> Result<bool> {
    match error.kind {
        ErrorKind::Unavailable
        | ErrorKind::Credentials
        | ErrorKind::Settings
        | ErrorKind::NoBucket
        | ErrorKind::Full => Err(error),
        _ => Ok(false),
    }
}
