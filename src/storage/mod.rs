//! Object stores: S3, a directory, memory, and a store that injects faults. The only room that names the S3 crate, and the only
//! one that retries calls.
//!
//! Keys are relative to the store's prefix. Every body is in memory: the signed payload hash of such a body is the one
//! integrity check that real S3 servers share, and a retry needs nothing but the bytes it already has. Whether a store
//! honours create-only puts is probed, never assumed; nothing above rests its correctness on it.

#[cfg(any(test, feature = "demo"))]
pub mod conformance;
mod error;
#[cfg(any(test, feature = "demo"))]
pub mod faults;
mod filesystem;
mod key;
mod memory;
mod s3;
mod stats;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::{Error, ErrorKind, Result};
pub use filesystem::FilesystemStore;
pub use memory::MemoryStore;
pub use s3::{Encryption, Lock, LockMode, Protection, S3Credentials, S3Options, S3Store};
pub use stats::{Ended, Operation, Outcome, RequestStats};

/// What became of a create-only put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is there now and was not before, as far as the store can tell.
    Created,
    /// An object of that key existed; it is unchanged.
    Exists,
}

/// What a listing or a HEAD tells about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Relative to the store's prefix.
    pub key: String,
    pub bytes: u64,
    /// Last modification by the store's clock.
    pub modified: jiff::Timestamp,
    /// SHA-256 that the store itself keeps for the object, where it does; never in listings.
    pub sha256: Option<[u8; 32]>,
}

/// One page of a listing, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<ObjectMeta>,
    /// More follow; ask again with the last key as `start_after`.
    pub truncated: bool,
}

/// What a store was seen to do, by trying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// `If-None-Match: *` on an existing key is refused. Otherwise create-only is a HEAD before the PUT.
    pub create_only: bool,
    /// A body that contradicts its `x-amz-checksum-sha256` is refused.
    pub checksum_sha256: bool,
    /// A retention set on upload can be read back.
    pub object_lock: bool,
}

/// For how long a store locks what is put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockPeriod {
    /// What a backup may rely on.
    pub promised: Duration,
    /// What an object is given: longer, so that it need not be locked again for every backup.
    pub given: Duration,
}

/// What lies under one key, where a store keeps what was overwritten or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The newest first.
    pub all: Vec<Version>,
    /// There are more than anybody looks at.
    pub is_cut: bool,
}

/// What deletions have hidden below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The store keeps nothing of what is deleted.
    NotKept,
    /// It may keep something, and does not let us see it.
    Unseen,
    /// Keys that hold something, and since when no listing shows them, by the store's clock.
    Seen(BTreeMap<String, jiff::Timestamp>),
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: String,
    pub bytes: u64,
}

/// What a bucket is set to; none: not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketReport {
    pub versioned: Option<bool>,
    pub lockable: Option<bool>,
    /// The algorithm of its default encryption, or `none`.
    pub encryption: Option<String>,
    /// Lifecycle rules in force that touch the prefix.
    pub rules: Option<Vec<BucketRule>>,
}

/// A rule by which a bucket takes objects away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRule {
    pub name: String,
    /// How the keys begin that it takes, relative to the store's prefix.
    pub beginning: String,
    /// It deletes objects.
    pub expires: bool,
    /// It moves objects to a class that may not be read at once.
    pub moves: bool,
    /// It deletes what was overwritten or deleted before.
    pub expires_versions: bool,
}

/// A flat space of immutable objects.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Creates `key` with `body`, never replacing an object.
    ///
    /// # Errors
    /// Whatever stopped the request after the store's own retries.
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put>;

    /// The same for a caller who knows the body's SHA-256, which a store that sends it need not compute again.
    ///
    /// # Errors
    /// As [`ObjectStore::put_new`]. A store that checks bodies refuses one of another digest; others may take it.
    async fn put_new_of_digest(&self, key: &str, body: Bytes, _sha256: [u8; 32]) -> Result<Put> {
        self.put_new(key, body).await
    }

    /// The whole object, if it has no more than `limit` bytes. A larger one is refused by the size that the store
    /// announces, before any byte of it is read.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge`, or whatever stopped the request.
    async fn get_at_most(&self, key: &str, limit: u64) -> Result<Bytes>;

    /// The whole object, whatever its size: for tests and the demo alone, since what lies in a bucket may be of any size.
    ///
    /// # Errors
    /// `NotFound`, or whatever stopped the request.
    #[cfg(any(test, feature = "demo"))]
    async fn get(&self, key: &str) -> Result<Bytes> {
        self.get_at_most(key, u64::MAX).await
    }

    /// Bytes `range` of the object; the range must lie within it. An empty range is answered without asking the store.
    ///
    /// # Errors
    /// `NotFound`, `InvalidRange` when the object is shorter, or whatever stopped the request.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// Size, time and, where the store keeps it, checksum.
    ///
    /// # Errors
    /// `NotFound`, or whatever stopped the request.
    async fn head(&self, key: &str) -> Result<ObjectMeta>;

    /// Keys that begin with `prefix` and come after `start_after`, at most `limit` (the store may give fewer).
    ///
    /// # Errors
    /// Whatever stopped the request.
    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page>;

    /// Removes `key`; removing what is not there is no error.
    ///
    /// # Errors
    /// Whatever stopped the request.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Removes every one of `keys` that it may, in as few requests as the store can do with. The answer tells of those that
    /// stay, each with why; whatever it does not name is gone, or was not there.
    ///
    /// # Errors
    /// Whatever stopped a request as a whole; `Denied` when the credentials may delete none of these keys.
    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>>;

    /// Removes what writers left that were killed before their object had a name, if it is older than `before` and than any upload
    /// takes. Tells of how many it was.
    ///
    /// # Errors
    /// Whatever kept the store from looking; what it may not remove stays.
    async fn remove_unfinished(&self, _before: jiff::Timestamp) -> Result<u64> {
        Ok(0)
    }

    /// What the store can do. Probed once under `probe_prefix` (which the caller's credentials may write), then kept.
    ///
    /// # Errors
    /// Whatever stopped a probing request other than the refusals it looks for.
    async fn capabilities(&self, probe_prefix: &str) -> Result<Capabilities>;

    /// What the bucket is set to; none where there is no bucket.
    ///
    /// # Errors
    /// Whatever stopped a request, unless the store cannot do it or does not let us.
    async fn bucket_report(&self) -> Result<Option<BucketReport>> {
        Ok(None)
    }

    /// For how long new chunks, manifests and certificates are locked; none: not at all.
    fn lock_period(&self) -> Option<LockPeriod> {
        None
    }

    /// What tells this place from others that may hold the same objects; none: nothing does.
    fn place_name(&self) -> Option<String> {
        None
    }

    /// Locks `key`, which exists, as if it were new, and tells until when. No lock is ever shortened: one that lasts for longer
    /// than is promised of new objects stays, and its end is told.
    ///
    /// # Errors
    /// Whatever stopped the request; `Settings` when the store locks nothing.
    async fn lock_again(&self, key: &str) -> Result<jiff::Timestamp> {
        Err(Error::new(ErrorKind::Settings, "lock", key).with_source("this store locks nothing"))
    }

    /// The versions of `key` that hold something, the newest first; none where the store keeps no versions.
    ///
    /// # Errors
    /// Whatever stopped the request, unless the store cannot do it or does not let us.
    async fn versions(&self, _key: &str) -> Result<Versions> {
        Ok(Versions::default())
    }

    /// Keys below `prefix` that hold something and are hidden by a deletion.
    ///
    /// # Errors
    /// Whatever stopped the request, unless the store cannot do it or does not let us.
    async fn hidden(&self, _prefix: &str) -> Result<Hidden> {
        Ok(Hidden::NotKept)
    }

    /// One of these versions, whole, if it has no more than `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge`, or whatever stopped the request.
    async fn get_version(&self, key: &str, _version: &str, _limit: u64) -> Result<Bytes> {
        Err(Error::new(ErrorKind::NotFound, "get", key))
    }

    /// Requests made so far.
    fn stats(&self) -> RequestStats;

    /// The time by the store's own clock, asked for anew, for whoever deletes by age. `prefix`: what may be listed.
    ///
    /// # Errors
    /// Whatever kept the store from telling it. Who may not ask is told this machine's.
    async fn tell_time(&self, prefix: &str) -> Result<jiff::Timestamp> {
        self.list(prefix, None, 1).await?;
        Ok(self.now())
    }

    /// The time by the store's own clock, which wrote every [`ObjectMeta::modified`]: as its last answer told, to the
    /// second, and the time since then. Before any answer, and from a store that tells no time, this machine's.
    fn now(&self) -> jiff::Timestamp;
}

/// Keys that one request deletes at most, by the protocol.
pub const MAX_DELETES: usize = 1000;

/// Every object under `prefix` after `start_after`, page by page.
///
/// # Errors
/// The first page that could not be read.
pub async fn list_all(store: &dyn ObjectStore, prefix: &str, start_after: Option<&str>) -> Result<Vec<ObjectMeta>> {
    let mut objects: Vec<ObjectMeta> = Vec::new();
    let mut after = start_after.map(str::to_owned);
    loop {
        let page = store.list(prefix, after.as_deref(), 1000).await?;
        let truncated = page.truncated;
        objects.extend(page.objects);
        after = objects.last().map(|object| object.key.clone()).or(after);
        if !truncated {
            return Ok(objects);
        }
    }
}
