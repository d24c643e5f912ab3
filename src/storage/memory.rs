//! A store in memory, with the semantics of the S3 store and none of its failures. For tests and demonstrations.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::key::check_key;
use super::{
    Capabilities, Error, ErrorKind, Hidden, LockPeriod, MAX_DELETES, ObjectMeta, ObjectStore, Operation, Outcome, Page,
    Put, RequestStats, Result, Version, Versions,
};

/// Keys that one page holds at most, as on S3.
const MAX_PAGE: usize = 1000;

/// A flat space of objects that is gone with the value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    stats: RequestStats,
    /// Stands still where a test has set it.
    clock: Option<jiff::Timestamp>,
    /// As a store that ignores `If-None-Match` says of itself.
    ignores_conditions: bool,
    lock_period: Option<LockPeriod>,
    place_name: Option<String>,
    /// Keys that were locked again, in the order of the requests.
    locked_again: Vec<String>,
    /// What deletions have hidden in a store with versions, and since when; none where it keeps nothing.
    hidden: Option<BTreeMap<String, jiff::Timestamp>>,
    /// What such a store keeps of what was overwritten or deleted, the newest last.
    older: BTreeMap<String, Vec<Bytes>>,
    /// The credentials may not list versions.
    hides_versions: bool,
}

#[derive(Debug)]
struct Object {
    body: Bytes,
    modified: jiff::Timestamp,
    sha256: [u8; 32],
    locked_until: Option<jiff::Timestamp>,
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `body` in the place of whatever is there, behind the back of the interface: how a test damages an object.
    /// The store's own checksum stays what it was, as on a disk that rots.
    pub fn replace(&self, key: &str, body: Bytes) {
        let mut state = self.lock();
        let now = state.now();
        let before = state.objects.get(key).map(|object| object.body.clone());
        state.keep(key, before);
        match state.objects.get_mut(key) {
            Some(object) => object.body = body,
            None => {
                state.objects.insert(key.to_owned(), Object::new(body, now));
            }
        }
    }

    /// From now on its clock, which is not this machine's, says so until it is set again.
    pub fn set_clock(&self, now: jiff::Timestamp) {
        self.lock().clock = Some(now);
    }

    /// A store that cannot promise that only one of two creators succeeds.
    #[must_use]
    pub fn without_create_only() -> Self {
        let store = Self::default();
        store.lock().ignores_conditions = true;
        store
    }

    /// A store that says it locks what is put into it, and notes what it is asked to lock again.
    #[must_use]
    pub fn with_locks(period: LockPeriod) -> Self {
        let store = Self::default();
        {
            let mut state = store.lock();
            state.lock_period = Some(period);
            state.place_name = Some("the first place".to_owned());
        }
        store
    }

    /// From now on new objects are locked for so long.
    pub fn set_lock_period(&self, period: LockPeriod) {
        self.lock().lock_period = Some(period);
    }

    /// From now on it is another place, with the same objects, as a copy is.
    pub fn move_to(&self, place_name: &str) {
        self.lock().place_name = Some(place_name.to_owned());
    }

    /// From now on it keeps what is overwritten or deleted and says so, as a store with versions does.
    pub fn keep_versions(&self) {
        self.lock().hidden = Some(BTreeMap::new());
    }

    /// Whether the credentials may see what deletions have hidden.
    pub fn show_versions(&self, may_see: bool) {
        self.lock().hides_versions = !may_see;
    }

    /// Loses what it keeps of what was overwritten or deleted below `prefix`.
    pub fn forget_versions(&self, prefix: &str) {
        let mut state = self.lock();
        state.older.retain(|key, _| !key.starts_with(prefix));
        if let Some(hidden) = &mut state.hidden {
            hidden.retain(|key, _| !key.starts_with(prefix));
        }
    }

    /// The keys that were locked again since this was asked last.
    pub fn take_locked_again(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().locked_again)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one map operation: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    fn new(body: Bytes, modified: jiff::Timestamp) -> Self {
        use sha2::Digest as _;
        Self {
            sha256: sha2::Sha256::digest(&body).into(),
            modified,
            locked_until: None,
            body,
        }
    }

    fn meta(&self, key: &str) -> ObjectMeta {
        ObjectMeta {
            key: key.to_owned(),
            bytes: self.body.len() as u64,
            modified: self.modified,
            sha256: None,
        }
    }
}

impl State {
    fn object(&self, operation: &'static str, key: &str) -> Result<&Object> {
        self.objects
            .get(key)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, operation, key))
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.unwrap_or_else(jiff::Timestamp::now)
    }

    fn remove(&mut self, key: &str) {
        let (removed, now) = (self.objects.remove(key), self.now());
        if let (Some(_), Some(hidden)) = (&removed, &mut self.hidden) {
            hidden.insert(key.to_owned(), now);
        }
        self.keep(key, removed.map(|object| object.body));
    }

    fn keep(&mut self, key: &str, body: Option<Bytes>) {
        if self.hidden.is_some() {
            self.older.entry(key.to_owned()).or_default().extend(body);
        }
    }

    /// What has the name, if anything has, and then the older ones, the newest first.
    fn versions_of(&self, key: &str) -> Vec<Bytes> {
        let now = self.objects.get(key).map(|object| object.body.clone());
        let older = self.older.get(key).into_iter().flatten().rev().cloned();
        now.into_iter().chain(older).collect()
    }

    /// Counts a request whose answer is known.
    fn end<T>(&mut self, operation: Operation, result: Result<T>) -> Result<T> {
        self.stats.ended.add(operation, Outcome::of(&result));
        result
    }

    fn read(&mut self, key: &str, part: impl FnOnce(&Bytes) -> Result<Bytes>) -> Result<Bytes> {
        self.stats.gets += 1;
        let body = self.object("get", key).and_then(|object| part(&object.body));
        self.stats.bytes_received += body.as_ref().map_or(0, |body| body.len() as u64);
        self.end(Operation::Get, body)
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        check_key("put", key)?;
        let mut state = self.lock();
        state.stats.puts += 1;
        state.stats.bytes_sent += body.len() as u64;
        let put = if state.objects.contains_key(key) {
            Put::Exists
        } else {
            let now = state.now();
            let object = Object {
                locked_until: state.lock_period.map(|period| now + period.given),
                ..Object::new(body, now)
            };
            state.objects.insert(key.to_owned(), object);
            if let Some(hidden) = &mut state.hidden {
                hidden.remove(key);
            }
            Put::Created
        };
        state.stats.ended.add(Operation::Put, Outcome::of_put(put));
        Ok(put)
    }

    async fn get_at_most(&self, key: &str, limit: u64) -> Result<Bytes> {
        check_key("get", key)?;
        self.lock().read(key, |body| {
            let bytes = body.len() as u64;
            if bytes > limit {
                return Err(Error::too_large("get", key, bytes, limit));
            }
            Ok(body.clone())
        })
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        check_key("get", key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.lock().read(key, |body| {
            if range.end > body.len() as u64 {
                return Err(Error::new(ErrorKind::InvalidRange, "get", key));
            }
            let position = |at: u64| usize::try_from(at).expect("it lies within a body that is in memory");
            Ok(body.slice(position(range.start)..position(range.end)))
        })
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        check_key("head", key)?;
        let mut state = self.lock();
        state.stats.heads += 1;
        let meta = state.object("head", key).map(|object| ObjectMeta {
            sha256: Some(object.sha256),
            ..object.meta(key)
        });
        state.end(Operation::Head, meta)
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page> {
        let mut state = self.lock();
        state.stats.lists += 1;
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = state
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let objects = found
            .by_ref()
            .take(limit.clamp(1, MAX_PAGE))
            .map(|(key, object)| object.meta(key))
            .collect();
        let truncated = found.next().is_some();
        state.end(Operation::List, Ok(Page { objects, truncated }))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key("delete", key)?;
        let mut state = self.lock();
        state.stats.deletes += 1;
        state.remove(key);
        state.end(Operation::Delete, Ok(()))
    }

    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>> {
        keys.iter().try_for_each(|key| check_key("delete", key))?;
        let mut state = self.lock();
        for batch in keys.chunks(MAX_DELETES) {
            state.stats.deletes += 1;
            for key in batch {
                state.remove(key);
            }
            state.stats.ended.add(Operation::Delete, Outcome::Ok);
        }
        Ok(Vec::new())
    }

    async fn capabilities(&self, _probe_prefix: &str) -> Result<Capabilities> {
        Ok(Capabilities {
            create_only: !self.lock().ignores_conditions,
            checksum_sha256: false,
            object_lock: false,
        })
    }

    fn lock_period(&self) -> Option<LockPeriod> {
        self.lock().lock_period
    }

    fn place_name(&self) -> Option<String> {
        self.lock().place_name.clone()
    }

    async fn lock_again(&self, key: &str) -> Result<jiff::Timestamp> {
        let mut state = self.lock();
        let period = state
            .lock_period
            .ok_or_else(|| Error::new(ErrorKind::Settings, "lock", key))?;
        let new = state.now() + period.given;
        if let Some(until) = state.object("lock", key)?.locked_until.filter(|until| *until > new) {
            // Nobody shortens a lock.
            return Ok(until);
        }
        state.locked_again.push(key.to_owned());
        if let Some(object) = state.objects.get_mut(key) {
            object.locked_until = Some(new);
        }
        Ok(new)
    }

    async fn hidden(&self, prefix: &str) -> Result<Hidden> {
        let state = self.lock();
        let below = |(key, since): (&String, &jiff::Timestamp)| key.starts_with(prefix).then(|| (key.clone(), *since));
        Ok(match &state.hidden {
            _ if state.hides_versions => Hidden::Unseen,
            None => Hidden::NotKept,
            Some(hidden) => Hidden::Seen(hidden.iter().filter_map(below).collect()),
        })
    }

    async fn versions(&self, key: &str) -> Result<Versions> {
        let state = self.lock();
        if state.hidden.is_none() || state.hides_versions {
            return Ok(Versions::default());
        }
        let numbered = state.versions_of(key).into_iter().enumerate();
        let all = numbered.map(|(number, body)| Version {
            id: number.to_string(),
            bytes: body.len() as u64,
        });
        Ok(Versions {
            all: all.collect(),
            is_cut: false,
        })
    }

    async fn get_version(&self, key: &str, version: &str, limit: u64) -> Result<Bytes> {
        let number = version.parse().unwrap_or(usize::MAX);
        let body = self.lock().versions_of(key).into_iter().nth(number);
        match body {
            Some(body) if body.len() as u64 <= limit => Ok(body),
            Some(body) => Err(Error::too_large("get", key, body.len() as u64, limit)),
            None => Err(Error::new(ErrorKind::NotFound, "get", key)),
        }
    }

    fn stats(&self) -> RequestStats {
        self.lock().stats
    }

    fn now(&self) -> jiff::Timestamp {
        self.lock().now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance::conformance;

    #[tokio::test]
    async fn the_memory_store_does_what_a_store_must() {
        conformance(&MemoryStore::new()).await;
    }

    #[tokio::test]
    async fn a_clock_that_was_set_dates_what_is_put() {
        let store = MemoryStore::new();
        let then = "2001-01-01T00:00:00Z".parse().unwrap();
        store.set_clock(then);
        store.put_new("key", Bytes::new()).await.unwrap();
        assert_eq!((store.now(), store.head("key").await.unwrap().modified), (then, then));
    }

    #[tokio::test]
    async fn a_replaced_body_keeps_the_old_checksum() {
        let store = MemoryStore::new();
        store.put_new("key", Bytes::from_static(b"good")).await.unwrap();
        let before = store.head("key").await.unwrap();
        store.replace("key", Bytes::from_static(b"evil"));
        assert_eq!(store.get("key").await.unwrap(), "evil");
        assert_eq!(store.head("key").await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_lock_is_given_again_and_never_shortened() {
        let days = |days: u64| std::time::Duration::from_hours(24 * days);
        let period = |promised| LockPeriod {
            promised: days(promised),
            given: days(promised + 1),
        };
        let store = MemoryStore::with_locks(period(30));
        let start: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        store.set_clock(start);
        store.put_new("key", Bytes::new()).await.unwrap();
        store.set_lock_period(period(1));
        assert_eq!(store.lock_again("key").await.unwrap(), start + days(31));
        store.set_lock_period(period(60));
        assert_eq!(store.lock_again("key").await.unwrap(), start + days(61));
    }
}
