//! What a bucket keeps of objects that were overwritten or deleted.
//!
//! Versions of one key are listed as far as [`MAX_VERSIONS`], whoever put them there: who floods a key with versions costs
//! a few requests and cannot hide what lies below for nothing. A store whose pages do not go on is not asked for ever.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use bytes::Bytes;
use jiff::Timestamp;

use super::errors::translate;
use super::{S3Store, size, timestamp};
use crate::storage::{Error, ErrorKind, Hidden, Result, Version, Versions};

/// Versions of one key that are looked at, the newest first.
const MAX_VERSIONS: usize = 10_000;

/// Pages of one key that are read: several times what its versions take, for a store that gives small ones.
const MAX_PAGES: usize = 100;

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

    /// Whether a listing that went on after `before` has come further.
    fn is_beyond(&self, before: &Self) -> bool {
        // Versions of one key are in no order that their ids tell.
        self.key > before.key || (self.key == before.key && self.version != before.version)
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
        for _ in 0..MAX_PAGES {
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
        versions.is_cut = true;
        Ok(versions)
    }

    /// Keys below `prefix` whose newest version is a deletion and that have an older one which holds something.
    pub(super) async fn hidden_below(&self, prefix: &str) -> Result<Hidden> {
        let mut histories = Histories::default();
        let mut after: Option<Marker> = None;
        let mut pages_of_key = 0;
        loop {
            let answer = match self.version_page(prefix, after.as_ref()).await {
                Ok(answer) => answer,
                Err(error) if error.kind == ErrorKind::Unsupported => return Ok(Hidden::NotKept),
                Err(error) if may_be_none(&error) && after.is_none() => return Ok(Hidden::Unseen),
                Err(error) => return Err(error),
            };
            for marker in answer.delete_markers() {
                if let Some(key) = self.relative(marker.key()) {
                    let is_newest = marker.is_latest() == Some(true);
                    histories.add_marker(key, timestamp(marker.last_modified()), is_newest);
                }
            }
            for version in answer.versions() {
                if let Some(key) = self.relative(version.key()) {
                    histories.add_version(key, timestamp(version.last_modified()));
                }
            }
            let Some(next) = Marker::after(&answer) else {
                return Ok(Hidden::Seen(histories.hidden()));
            };
            let is_same_key = after.as_ref().is_some_and(|before| before.key == next.key);
            pages_of_key = if is_same_key { pages_of_key + 1 } else { 1 };
            if after.as_ref().is_some_and(|before| !next.is_beyond(before)) || pages_of_key > MAX_PAGES {
                return Err(Error::new(ErrorKind::Other, "list", prefix).with_source(format!(
                    "the store's listing of versions does not go on ({})",
                    self.place
                )));
            }
            after = Some(next);
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

/// What a listing of versions tells of the keys below a prefix, on however many pages.
#[derive(Default)]
struct Histories(BTreeMap<String, History>);

#[derive(Default)]
struct History {
    is_deleted: bool,
    markers: Vec<Timestamp>,
    newest_version: Option<Timestamp>,
}

impl Histories {
    /// A deletion without a time is taken for one of the end of time: whatever should explain it is older.
    fn add_marker(&mut self, key: String, time: Option<Timestamp>, is_newest: bool) {
        let history = self.0.entry(key).or_default();
        history.is_deleted |= is_newest;
        history.markers.push(time.unwrap_or(Timestamp::MAX));
    }

    fn add_version(&mut self, key: String, time: Option<Timestamp>) {
        let history = self.0.entry(key).or_default();
        history.newest_version = history.newest_version.max(Some(time.unwrap_or(Timestamp::MAX)));
    }

    fn hidden(self) -> BTreeMap<String, Timestamp> {
        let hidden = self.0.into_iter();
        hidden
            .filter_map(|(key, history)| Some((key, history.hidden_since()?)))
            .collect()
    }
}

impl History {
    /// The first deletion after the newest version: further ones of the same key hide nothing more.
    fn hidden_since(self) -> Option<Timestamp> {
        let version = self.newest_version.filter(|_| self.is_deleted)?;
        let after = self.markers.iter().filter(|marker| **marker >= version);
        after.min().or(self.markers.iter().max()).copied()
    }
}

/// A store without versions, or credentials that may not see them.
fn may_be_none(error: &Error) -> bool {
    !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minute)
    }

    #[test]
    fn a_key_is_hidden_since_the_first_deletion_after_its_newest_version() {
        let mut histories = Histories::default();
        // Brought back once, deleted again, and once more in vain; told on two pages.
        histories.add_marker("again".to_owned(), Some(at(9)), true);
        histories.add_marker("again".to_owned(), Some(at(7)), false);
        histories.add_version("again".to_owned(), Some(at(5)));
        histories.add_marker("again".to_owned(), Some(at(3)), false);
        histories.add_version("again".to_owned(), Some(at(1)));
        // There.
        histories.add_version("back".to_owned(), Some(at(5)));
        histories.add_marker("back".to_owned(), Some(at(3)), false);
        // Nothing is left behind the deletion.
        histories.add_marker("empty".to_owned(), Some(at(3)), true);
        histories.add_version("without times".to_owned(), None);
        histories.add_marker("without times".to_owned(), None, true);
        let expected = [("again", at(7)), ("without times", Timestamp::MAX)];
        let expected = expected.map(|(key, since)| (key.to_owned(), since));
        assert_eq!(histories.hidden(), BTreeMap::from(expected));
    }
}
