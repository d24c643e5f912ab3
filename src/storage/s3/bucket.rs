//! What the bucket itself is set to: versions, locks, encryption, and rules that would take objects away.

use aws_sdk_s3::types::{BucketVersioningStatus, LifecycleRule, ObjectLockEnabled, ServerSideEncryptionConfiguration};

use super::S3Store;
use super::errors::translate;
use crate::storage::{BucketReport, BucketRule, Error, ErrorKind, Result};

impl S3Store {
    /// Asks for everything; what the store does not know or does not tell us is none.
    pub(super) async fn report(&self) -> Result<BucketReport> {
        let lockable = self.is_lockable().await?;
        Ok(BucketReport {
            // Locks are of versions.
            versioned: self.is_versioned().await?.or(lockable.filter(|lockable| *lockable)),
            lockable,
            encryption: self.encryption().await?,
            rules: self.rules().await?,
        })
    }

    async fn is_versioned(&self) -> Result<Option<bool>> {
        let request = || self.client.get_bucket_versioning().bucket(&self.options.bucket).send();
        match self.send(request).await {
            Ok(answer) => Ok(Some(answer.status() == Some(&BucketVersioningStatus::Enabled))),
            Err(error) => unknown(translate("check", "", &self.place, &error)),
        }
    }

    async fn is_lockable(&self) -> Result<Option<bool>> {
        let request = || {
            self.client
                .get_object_lock_configuration()
                .bucket(&self.options.bucket)
                .send()
        };
        match self.send(request).await {
            Ok(answer) => {
                let configuration = answer.object_lock_configuration();
                let enabled = configuration.and_then(|configuration| configuration.object_lock_enabled());
                Ok(Some(enabled == Some(&ObjectLockEnabled::Enabled)))
            }
            Err(error) if is_not_set(&error) => Ok(Some(false)),
            Err(error) => unknown(translate("check", "", &self.place, &error)),
        }
    }

    async fn encryption(&self) -> Result<Option<String>> {
        let request = || self.client.get_bucket_encryption().bucket(&self.options.bucket).send();
        match self.send(request).await {
            Ok(answer) => {
                let rules = answer
                    .server_side_encryption_configuration()
                    .map(ServerSideEncryptionConfiguration::rules);
                let default = rules
                    .unwrap_or_default()
                    .iter()
                    .find_map(|rule| rule.apply_server_side_encryption_by_default());
                Ok(Some(default.map_or_else(
                    || "none".to_owned(),
                    |default| default.sse_algorithm().to_string(),
                )))
            }
            Err(error) if is_not_set(&error) => Ok(Some("none".to_owned())),
            Err(error) => unknown(translate("check", "", &self.place, &error)),
        }
    }

    async fn rules(&self) -> Result<Option<Vec<BucketRule>>> {
        let request = || {
            self.client
                .get_bucket_lifecycle_configuration()
                .bucket(&self.options.bucket)
                .send()
        };
        match self.send(request).await {
            Ok(answer) => Ok(Some(answer.rules().iter().filter_map(|rule| self.rule(rule)).collect())),
            Err(error) if is_not_set(&error) => Ok(Some(Vec::new())),
            Err(error) => unknown(translate("check", "", &self.place, &error)),
        }
    }

    /// A rule that is in force, with the beginning of the keys it takes, relative to the prefix. None: not ours.
    fn rule(&self, rule: &LifecycleRule) -> Option<BucketRule> {
        if rule.status().as_str() != "Enabled" {
            return None;
        }
        #[expect(deprecated, reason = "rules of old have their prefix there")]
        let old = rule.prefix();
        let filter = rule.filter();
        let new = filter.and_then(|filter| filter.prefix().or_else(|| filter.and().and_then(|and| and.prefix())));
        let beginning = new.or(old).unwrap_or_default();
        let relative = match beginning.strip_prefix(&self.key_prefix) {
            Some(relative) => relative,
            None if self.key_prefix.starts_with(beginning) => "",
            None => return None,
        };
        Some(BucketRule {
            name: rule.id().unwrap_or("without a name").to_owned(),
            beginning: relative.to_owned(),
            expires: rule
                .expiration()
                .is_some_and(|expiration| expiration.days().is_some() || expiration.date().is_some()),
            // Of older versions too: what a lock keeps must be readable.
            moves: !rule.transitions().is_empty() || !rule.noncurrent_version_transitions().is_empty(),
            expires_versions: rule.noncurrent_version_expiration().is_some(),
        })
    }
}

/// What is not configured has a 404 of its own.
fn is_not_set<E>(error: &aws_sdk_s3::error::SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| response.status().as_u16() == 404)
}

/// Only what says nothing about the bucket is an error.
fn unknown<T>(error: Error) -> Result<Option<T>> {
    match error.kind {
        ErrorKind::Unavailable | ErrorKind::Credentials | ErrorKind::NoBucket => Err(error),
        _ => Ok(None),
    }
}
