//! What a bucket keeps of objects that were overwritten or deleted.
//!
//! Versions of one key are listed as far as [`MAX_VERSIONS`], whoever put them there: who floods a key with versions costs
//! a few requests and cannot hide what lies below for nothing.

use std::collections::BTreeSet;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use bytes::Bytes;

use super::errors::translate;
use super::{S3Store, size};
use crate::storage::{Error, ErrorKind, Result, Version, Versions};

/// Versions of one key that are looked at, the newest first.
const MAX_VERSIONS: usize = 10_000;

/// Where a listing goes on.
struct Marker {
    key: String,
    version: Option<String>,
}

impl Marker {
    /// After a page, if there is more.
    fn after(answer: &ListObjectVersionsOutput) -> Option<Self> {
        if answer.is_truncated() != Some(true) {
            return None;
        }
        Some(Self {
            key: answer.next_key_marker()?.to_owned(),
            version: answer.next_version_id_marker().map(str::to_owned),
        })
    }
}

impl S3Store {
    async fn version_page(&self, prefix: &str, after: Option<&Marker>) -> Result<ListObjectVersionsOutput> {
        let request = || {
            self.client
                .list_object_versions()
                .bucket(&self.options.bucket)
                .prefix(self.full_key(prefix))
                .set_key_marker(after.map(|marker| marker.key.clone()))
                .set_version_id_marker(after.and_then(|marker| marker.version.clone()))
                .send()
        };
        let answer = self.send(request).await;
        answer.map_err(|error| translate("list", prefix, &self.place, &error))
    }

    /// The versions of `key` that hold something, the newest first; none where the bucket keeps no versions.
    pub(super) async fn versions_of(&self, key: &str) -> Result<Versions> {
        let full_key = self.full_key(key);
        let mut versions = Versions::default();
        let mut after = None;
        loop {
            let answer = match self.version_page(key, after.as_ref()).await {
                Ok(answer) => answer,
                Err(error) if may_be_none(&error) => return Ok(versions),
                Err(error) => return Err(error),
            };
            let of_key = answer
                .versions()
                .iter()
                .filter(|version| version.key() == Some(&full_key));
            versions.all.extend(of_key.filter_map(|version| {
                Some(Version {
                    id: version.version_id()?.to_owned(),
                    bytes: size(version.size())?,
                })
            }));
            after = Marker::after(&answer).filter(|marker| marker.key == full_key);
            if after.is_none() || versions.all.len() >= MAX_VERSIONS {
                versions.is_cut = after.is_some();
                return Ok(versions);
            }
        }
    }

    /// Keys below `prefix` whose newest version is a deletion and that have an older one which holds something.
    pub(super) async fn hidden_below(&self, prefix: &str) -> Result<Option<Vec<String>>> {
        let (mut deleted, mut held) = (BTreeSet::new(), BTreeSet::new());
        let mut after = None;
        loop {
            let answer = match self.version_page(prefix, after.as_ref()).await {
                Ok(answer) => answer,
                Err(error) if may_be_none(&error) && after.is_none() => return Ok(None),
                Err(error) => return Err(error),
            };
            let newest = answer
                .delete_markers()
                .iter()
                .filter(|marker| marker.is_latest() == Some(true));
            deleted.extend(newest.filter_map(|marker| self.relative(marker.key())));
            held.extend(
                answer
                    .versions()
                    .iter()
                    .filter_map(|version| self.relative(version.key())),
            );
            after = Marker::after(&answer);
            if after.is_none() {
                return Ok(Some(deleted.intersection(&held).cloned().collect()));
            }
        }
    }

    fn relative(&self, key: Option<&str>) -> Option<String> {
        Some(key?.strip_prefix(&self.key_prefix)?.to_owned())
    }

    /// One version as a whole.
    pub(super) async fn read_version(&self, key: &str, version: &str, limit: u64) -> Result<Bytes> {
        let request = || {
            self.client
                .get_object()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
                .version_id(version)
                .send()
        };
        let answer = self.send(request).await;
        let answer = answer.map_err(|error| translate("get", key, &self.place, &error))?;
        self.collect("get", key, answer, limit).await
    }
}

/// A store without versions, or credentials that may not see them.
fn may_be_none(error: &Error) -> bool {
    !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Credentials)
}
