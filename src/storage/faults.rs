//! A store that fails on purpose, at chosen requests, over any other store. For tests only.
//!
//! A fault names an operation, the beginning of a key, and which of the matching requests it strikes. What a network or
//! a disk can do is all there: refuse, fail after the work was done, hang, be slow, return other bytes than were stored,
//! or fewer, or a listing that was true before.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

pub use super::Operation;
use super::{
    BucketReport, Capabilities, Error, ErrorKind, Hidden, LockPeriod, ObjectMeta, ObjectStore, Page, Put, RequestStats,
    Result, Versions,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done.
    Refuse(ErrorKind),
    /// All is done, but the caller hears of a failure: the answer was lost.
    FailAfter(ErrorKind),
    /// Never an answer; nothing is done. Ends only by cancellation.
    Hang,
    /// Done later, by tokio's clock.
    Slow(Duration),
    /// One bit of the body that is read is flipped.
    Corrupt,
    /// The second half of the body that is read does not come, and nobody says so.
    Truncate,
    /// A page of a listing is what it was the last time that it was asked for and not struck; one never asked for is
    /// empty.
    Stale,
}

/// Which page of which listing: prefix, where it begins, how long it may be.
type Asked = (String, Option<String>, usize);

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    pub operation: Operation,
    /// Beginning of the key, or of the prefix of a listing.
    pub key_prefix: String,
    /// Matching requests that pass before it strikes.
    pub after: usize,
    /// Matching requests that it strikes.
    pub times: usize,
    pub effect: Effect,
}

impl Fault {
    /// Strikes the first matching request.
    #[must_use]
    pub fn first(operation: Operation, key_prefix: impl Into<String>, effect: Effect) -> Self {
        Self {
            operation,
            key_prefix: key_prefix.into(),
            after: 0,
            times: 1,
            effect,
        }
    }

    /// Strikes the request that comes after `after` matching ones.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Strikes every matching request from there on.
    #[must_use]
    pub fn always(self) -> Self {
        Self {
            times: usize::MAX,
            ..self
        }
    }
}

/// The store that fails.
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Vec<(Fault, AtomicUsize)>,
    struck: watch::Sender<usize>,
    listed: Mutex<HashMap<Asked, Page>>,
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FaultStore")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl FaultStore {
    /// Of several faults that would strike the same request, the first does.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Vec<Fault>) -> Self {
        Self {
            inner,
            plan: plan.into_iter().map(|fault| (fault, AtomicUsize::new(0))).collect(),
            struck: watch::Sender::new(0),
            listed: Mutex::default(),
        }
    }

    /// How many requests were struck so far, to be awaited: a test that cancels a hanging request waits for it here.
    #[must_use]
    pub fn struck(&self) -> watch::Receiver<usize> {
        self.struck.subscribe()
    }

    fn strike(&self, operation: Operation, key: &str) -> Option<Effect> {
        let mut effect = None;
        for (fault, seen) in &self.plan {
            if fault.operation != operation || !key.starts_with(&fault.key_prefix) {
                continue;
            }
            let number = seen.fetch_add(1, Ordering::Relaxed);
            if effect.is_none() && number >= fault.after && number - fault.after < fault.times {
                effect = Some(fault.effect);
            }
        }
        if effect.is_some() {
            self.struck.send_modify(|struck| *struck += 1);
        }
        effect
    }

    async fn run<T>(
        &self,
        operation: Operation,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Option<Effect>)> {
        match self.strike(operation, key) {
            Some(effect) => Ok((Self::suffer(effect, operation, key, request).await?, Some(effect))),
            None => Ok((request.await?, None)),
        }
    }

    async fn suffer<T>(
        effect: Effect,
        operation: Operation,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let name = operation.as_str();
        match effect {
            Effect::Refuse(kind) => Err(Error::new(kind, name, key)),
            Effect::FailAfter(kind) => {
                request.await?;
                Err(Error::new(kind, name, key))
            }
            Effect::Hang => std::future::pending().await,
            Effect::Slow(time) => {
                tokio::time::sleep(time).await;
                request.await
            }
            Effect::Corrupt | Effect::Truncate | Effect::Stale => request.await,
        }
    }
}

fn harm_if_asked((body, effect): (Bytes, Option<Effect>)) -> Bytes {
    let middle = body.len() / 2;
    match effect {
        Some(Effect::Truncate) => body.slice(..middle),
        Some(Effect::Corrupt) if !body.is_empty() => {
            let mut body = BytesMut::from(&body[..]);
            body[middle] ^= 1;
            body.freeze()
        }
        _ => body,
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        Ok(self.run(Operation::Put, key, self.inner.put_new(key, body)).await?.0)
    }

    async fn put_new_of_digest(&self, key: &str, body: Bytes, sha256: [u8; 32]) -> Result<Put> {
        let request = self.inner.put_new_of_digest(key, body, sha256);
        Ok(self.run(Operation::Put, key, request).await?.0)
    }

    async fn get_at_most(&self, key: &str, limit: u64) -> Result<Bytes> {
        Ok(harm_if_asked(
            self.run(Operation::Get, key, self.inner.get_at_most(key, limit))
                .await?,
        ))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        Ok(harm_if_asked(
            self.run(Operation::Get, key, self.inner.get_range(key, range)).await?,
        ))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        Ok(self.run(Operation::Head, key, self.inner.head(key)).await?.0)
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page> {
        let request = self.inner.list(prefix, start_after, limit);
        let (page, effect) = self.run(Operation::List, prefix, request).await?;
        let asked = (prefix.to_owned(), start_after.map(str::to_owned), limit);
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if effect == Some(Effect::Stale) {
            return Ok(listed.get(&asked).cloned().unwrap_or_default());
        }
        listed.insert(asked, page.clone());
        Ok(page)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.run(Operation::Delete, key, self.inner.delete(key)).await?;
        Ok(())
    }

    /// A fault may strike a key of its own: refused, it stays while the others go; any other effect strikes the batch.
    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>> {
        let (mut passed, mut refused, mut struck) = (Vec::new(), Vec::new(), None);
        for key in keys {
            match self.strike(Operation::Delete, key) {
                Some(Effect::Refuse(kind)) => refused.push(Error::new(kind, Operation::Delete.as_str(), key)),
                effect => {
                    struck = struck.or(effect.map(|effect| (effect, key)));
                    passed.push(key.clone());
                }
            }
        }
        let request = self.inner.delete_many(&passed);
        refused.extend(match struck {
            Some((effect, key)) => Self::suffer(effect, Operation::Delete, key, request).await?,
            None => request.await?,
        });
        Ok(refused)
    }

    async fn remove_unfinished(&self, before: jiff::Timestamp) -> Result<u64> {
        self.inner.remove_unfinished(before).await
    }

    async fn capabilities(&self, probe_prefix: &str) -> Result<Capabilities> {
        self.inner.capabilities(probe_prefix).await
    }

    fn lock_period(&self) -> Option<LockPeriod> {
        self.inner.lock_period()
    }

    fn place_name(&self) -> Option<String> {
        self.inner.place_name()
    }

    async fn lock_again(&self, key: &str) -> Result<jiff::Timestamp> {
        Ok(self.run(Operation::Put, key, self.inner.lock_again(key)).await?.0)
    }

    async fn bucket_report(&self) -> Result<Option<BucketReport>> {
        self.inner.bucket_report().await
    }

    async fn versions(&self, key: &str) -> Result<Versions> {
        Ok(self.run(Operation::List, key, self.inner.versions(key)).await?.0)
    }

    async fn hidden(&self, prefix: &str) -> Result<Hidden> {
        Ok(self.run(Operation::List, prefix, self.inner.hidden(prefix)).await?.0)
    }

    async fn get_version(&self, key: &str, version: &str, limit: u64) -> Result<Bytes> {
        let request = self.inner.get_version(key, version, limit);
        Ok(harm_if_asked(self.run(Operation::Get, key, request).await?))
    }

    fn stats(&self) -> RequestStats {
        self.inner.stats()
    }

    fn now(&self) -> jiff::Timestamp {
        self.inner.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStore;
    use crate::storage::conformance::conformance;

    const BODY: Bytes = Bytes::from_static(b"body");

    fn store(plan: Vec<Fault>) -> FaultStore {
        FaultStore::new(Arc::new(MemoryStore::new()), plan)
    }

    #[tokio::test]
    async fn a_store_without_faults_is_as_good_as_the_one_below() {
        conformance(&store(Vec::new())).await;
    }

    #[tokio::test]
    async fn a_fault_strikes_the_chosen_request_alone() {
        let plan = vec![Fault::first(Operation::Put, "a/", Effect::Refuse(ErrorKind::Denied)).after(1)];
        let store = store(plan);
        for (key, kind) in [
            ("b/1", None),
            ("a/1", None),
            ("a/2", Some(ErrorKind::Denied)),
            ("a/3", None),
        ] {
            let outcome = store.put_new(key, BODY).await;
            assert_eq!(
                outcome.as_ref().err().map(|error| error.kind),
                kind,
                "{key}: {outcome:?}"
            );
        }
        assert!(store.get("a/2").await.unwrap_err().is_not_found());
        assert_eq!(*store.struck().borrow(), 1);
    }

    #[tokio::test]
    async fn a_key_of_a_batch_that_is_refused_stays_and_the_others_go() {
        let plan = vec![Fault::first(Operation::Delete, "a/", Effect::Refuse(ErrorKind::Denied)).after(1)];
        let store = store(plan);
        let keys = ["a/1", "a/2", "b/1"].map(str::to_owned);
        for key in &keys {
            store.put_new(key, BODY).await.unwrap();
        }
        let refused = store.delete_many(&keys).await.unwrap();
        assert_eq!((refused.len(), refused[0].key.as_str()), (1, "a/2"));
        let left = store.list("", None, 10).await.unwrap().objects;
        assert_eq!(left.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), ["a/2"]);
    }

    #[tokio::test]
    async fn a_put_that_fails_afterwards_is_stored() {
        let store = store(vec![Fault::first(
            Operation::Put,
            "",
            Effect::FailAfter(ErrorKind::Unavailable),
        )]);
        assert_eq!(
            store.put_new("key", BODY).await.unwrap_err().kind,
            ErrorKind::Unavailable
        );
        assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Exists);
    }

    #[tokio::test]
    async fn corruption_changes_what_is_read_and_not_what_is_stored() {
        let store = store(vec![Fault::first(Operation::Get, "", Effect::Corrupt)]);
        store.put_new("key", BODY).await.unwrap();
        assert_ne!(store.get("key").await.unwrap(), BODY);
        assert_eq!(store.get("key").await.unwrap(), BODY);
    }

    #[tokio::test]
    async fn a_truncated_body_is_half_of_what_is_stored() {
        let store = store(vec![Fault::first(Operation::Get, "", Effect::Truncate)]);
        store.put_new("key", BODY).await.unwrap();
        assert_eq!(store.get("key").await.unwrap(), &BODY[..2]);
        assert_eq!(store.get("key").await.unwrap(), BODY);
    }

    #[tokio::test]
    async fn a_stale_page_is_what_was_listed_before_it_was_struck() {
        let store = store(vec![
            Fault::first(Operation::List, "", Effect::Stale),
            Fault::first(Operation::List, "", Effect::Stale).after(2),
        ]);
        let listed = async || store.list("", None, 10).await.unwrap().objects.len();
        store.put_new("a", BODY).await.unwrap();
        assert_eq!(listed().await, 0, "never asked before");
        assert_eq!(listed().await, 1);
        store.put_new("b", BODY).await.unwrap();
        assert_eq!((listed().await, listed().await), (1, 2));
    }

    #[tokio::test]
    async fn a_hanging_request_is_seen_and_ends_when_it_is_dropped() {
        let store = store(vec![Fault::first(Operation::List, "", Effect::Hang).always()]);
        let mut struck = store.struck();
        tokio::select! {
            outcome = store.list("", None, 1) => panic!("{outcome:?}"),
            waited = struck.wait_for(|struck| *struck == 1) => { waited.unwrap(); }
        }
    }

    #[tokio::test]
    async fn a_slow_request_takes_its_time_and_succeeds() {
        let delay = Duration::from_millis(20);
        let store = store(vec![Fault::first(Operation::Head, "", Effect::Slow(delay))]);
        store.put_new("key", BODY).await.unwrap();
        let begin = tokio::time::Instant::now();
        assert_eq!(store.head("key").await.unwrap().bytes, 4);
        assert!(begin.elapsed() >= delay);
    }
}
