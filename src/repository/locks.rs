//! Locks of what a backup refers to: given with each upload, given again to what is reused before they run out.
//!
//! What an index says of locks counts only in the place where it was written: a copy has the same index and locks of its own.
//!
//! A lock is given to the newest version of a name. So what is locked again is looked at: a lock on an object that somebody
//! has put over a chunk would keep that one, and let the chunk's own run out.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::error::{Error, Result};
use super::id::Sha256Digest;
use super::layout::Key;
use super::manifest::{Chunk, Manifest};
use super::reader::Repository;
use crate::storage::{LockPeriod, ObjectStore};

/// By how much a store's clock may seem to go back.
const SLACK: Duration = Duration::from_hours(1);

/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// Where the locks are given that an index of now speaks of; none where none are.
pub(super) fn place(store: &dyn ObjectStore) -> Option<Sha256Digest> {
    store.lock_period()?;
    store.place_name().map(|name| Sha256Digest::of(name.as_bytes()))
}

/// Takes the locks of the backup's `chunks` for unknown that were given elsewhere: its index may have been copied byte for byte,
/// to a place that locks nothing or has only now begun to.
pub(super) fn forget_of_elsewhere(store: &dyn ObjectStore, manifest: &Manifest, chunks: &mut [Chunk]) {
    if manifest.locked_in.is_some() && manifest.locked_in == place(store) {
        return;
    }
    for chunk in chunks {
        chunk.locked_until = None;
    }
}

/// Locks every one of `chunks` again that would not be locked for as long as is promised from now on.
///
/// # Errors
/// `LostChunk` where another object has the name now; the store's own. A promise that cannot be kept makes no backup.
pub(super) async fn extend(store: &dyn ObjectStore, chunks: &mut [Chunk]) -> Result<()> {
    let Some(period) = store.lock_period() else {
        return Ok(());
    };
    let lasting = lasting(store, period);
    let short: Vec<(usize, Chunk)> = chunks
        .iter()
        .enumerate()
        .filter(|(_, chunk)| !is_known_to_last(chunk, &lasting))
        .map(|(number, chunk)| (number, chunk.clone()))
        .collect();
    let locked: Vec<(usize, Timestamp)> = stream::iter(short)
        .map(|(number, chunk)| lock_chunk(store, number, chunk))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    for (number, until) in locked {
        chunks[number].locked_until = Some(until.min(*lasting.end()));
    }
    Ok(())
}

/// Locks the repository's name again: it is written once, for all backups that will ever be. What somebody has put over it is
/// not locked in its place.
///
/// # Errors
/// The store's own.
pub(super) async fn renew_name(repository: &Repository) -> Result<()> {
    let (store, key) = (repository.store(), Key::Repository.to_string());
    if store.lock_period().is_none() {
        return Ok(());
    }
    if repository.read_from_older_versions().contains(&key) {
        tracing::warn!(
            key,
            "overwritten or hidden, and so not locked again: remove the newest version of it"
        );
        return Ok(());
    }
    match store.lock_again(&key).await {
        Ok(_) => Ok(()),
        // Hidden since it was read: the next backup puts it back, or says why it cannot.
        Err(error) if error.is_not_found() => {
            tracing::warn!(key, %error, "not locked again");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Until when chunks of a copy are locked, as far as this process has seen to it itself: those of the backup that it
/// brought last.
#[derive(Debug, Default)]
pub struct KnownLocks(Mutex<HashMap<String, Timestamp>>);

impl KnownLocks {
    /// Takes down what was stored, and locked with that, at `since` or later.
    pub(super) fn note_new(&self, store: &dyn ObjectStore, keys: HashSet<String>, since: Timestamp) {
        if let Some(period) = store.lock_period() {
            let until = since + period.given;
            self.lock().extend(keys.into_iter().map(|key| (key, until)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        // Every change is one map operation: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks every one of `chunks` again, all of a backup's, unless its lock is known to last.
///
/// # Errors
/// `LostChunk` where another object has the name now; the store's own.
pub(super) async fn renew(store: &dyn ObjectStore, mut chunks: Vec<Chunk>, known: &KnownLocks) -> Result<()> {
    if store.lock_period().is_none() {
        return Ok(());
    }
    // What a chunk says of its lock is said of another place.
    for chunk in &mut chunks {
        chunk.locked_until = known.lock().get(&chunk.key).copied();
    }
    extend(store, &mut chunks).await?;
    let seen = chunks
        .into_iter()
        .filter_map(|chunk| Some((chunk.key, chunk.locked_until?)));
    *known.lock() = seen.collect();
    Ok(())
}

/// Looked at after it was locked: what is put over it before the look is seen.
async fn lock_chunk(store: &dyn ObjectStore, number: usize, chunk: Chunk) -> Result<(usize, Timestamp)> {
    let until = store.lock_again(&chunk.key).await?;
    if is_there(store, &chunk).await? {
        return Ok((number, until));
    }
    Err(Error::LostChunk {
        key: chunk.key,
        reason: "was replaced by another object".to_owned(),
    })
}

/// Those of `chunks` that would have to be locked again and are what they should be no more. Where nothing is locked, none.
///
/// # Errors
/// The store's own.
pub(super) async fn replaced(store: &dyn ObjectStore, chunks: &[Chunk]) -> Result<HashSet<String>> {
    let Some(period) = store.lock_period() else {
        return Ok(HashSet::new());
    };
    let lasting = lasting(store, period);
    let short = chunks
        .iter()
        .filter(|chunk| !is_known_to_last(chunk, &lasting))
        .cloned();
    let short: Vec<Chunk> = short.collect();
    let looked_at: Vec<Option<String>> = stream::iter(short)
        .map(|chunk| async move {
            let is_there = is_there(store, &chunk).await?;
            Ok::<_, Error>((!is_there).then_some(chunk.key))
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(looked_at.into_iter().flatten().collect())
}

/// The ends of locks that an index of now may speak of and that last: for what is promised at least, and no longer than anything is
/// given now. Whoever may write backups may write an index, and a far date in it would keep every later backup from renewing a lock
/// that was never given.
fn lasting(store: &dyn ObjectStore, period: LockPeriod) -> RangeInclusive<Timestamp> {
    let now = store.now();
    now + period.promised..=now + period.given + SLACK
}

fn is_known_to_last(chunk: &Chunk, lasting: &RangeInclusive<Timestamp>) -> bool {
    chunk.locked_until.is_some_and(|until| lasting.contains(&until))
}

/// Whether the object is the chunk, by its size and by the digest that the store keeps, where it keeps one.
async fn is_there(store: &dyn ObjectStore, chunk: &Chunk) -> Result<bool> {
    match store.head(&chunk.key).await {
        Ok(object) => {
            let is_it = object.sha256.is_none_or(|sha256| sha256 == chunk.stored_sha256.0);
            Ok(is_it && object.bytes == chunk.stored_bytes)
        }
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;
    use crate::repository::id::RepositoryId;
    use crate::repository::testing::{Ground, backup_id, draft, put_all, two_tables};
    use crate::storage::MemoryStore;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const DAY: Duration = Duration::from_hours(24);

    async fn ground() -> (Ground, Timestamp) {
        let period = LockPeriod {
            promised: DAY * 30,
            given: DAY * 37,
        };
        let store = Arc::new(MemoryStore::with_locks(period));
        let start = "2030-01-01T00:00:00Z".parse().unwrap();
        store.set_clock(start);
        let repository = Repository::open_or_create(store.clone(), RepositoryId::new(1))
            .await
            .unwrap();
        (Ground { store, repository }, start)
    }

    #[tokio::test]
    async fn what_is_reused_is_locked_again_only_when_its_lock_would_not_last() {
        let (ground, start) = ground().await;
        let first = ground.backup(0, &two_tables()).await;
        for chunk in first.manifest.index.iter().chain(&first.chunks) {
            assert_eq!(chunk.locked_until, Some(start + DAY * 37), "{}", chunk.key);
        }
        let data: BTreeSet<String> = first.chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let locked_again = || -> Vec<String> {
            let mut keys = ground.store.take_locked_again();
            keys.retain(|key| data.contains(key));
            keys.sort();
            keys
        };
        assert_eq!(locked_again(), Vec::<String>::new());

        ground.store.set_clock(start + DAY * 6);
        let second = ground.backup(1, &two_tables()).await;
        assert_eq!(locked_again(), Vec::<String>::new(), "31 days are left");
        assert_eq!(second.chunks, first.chunks);

        ground.store.set_clock(start + DAY * 8);
        let third = ground.backup(2, &two_tables()).await;
        assert_eq!(locked_again(), data.iter().cloned().collect::<Vec<_>>(), "each once");
        for chunk in &third.chunks {
            assert_eq!(chunk.locked_until, Some(start + DAY * 45), "{}", chunk.key);
        }

        ground.store.set_clock(start + DAY * 9);
        ground.backup(3, &two_tables()).await;
        assert_eq!(locked_again(), Vec::<String>::new(), "the index says until when");
    }

    /// As a stolen key can write it: believed, it would keep every backup from locking the chunk again for good.
    #[tokio::test]
    async fn a_date_that_no_lock_of_now_reaches_is_not_believed() {
        let (ground, start) = ground().await;
        let first = ground.backup(0, &two_tables()).await;
        ground.store.take_locked_again();
        let mut chunks = first.chunks;
        chunks[0].locked_until = Some(start + DAY * 5000);
        extend(ground.store.as_ref(), &mut chunks).await.unwrap();
        assert_eq!(ground.store.take_locked_again(), [chunks[0].key.clone()]);
        assert_eq!(chunks[0].locked_until, Some(start + DAY * 37));
    }

    /// It is written once, for all backups that will ever be.
    #[tokio::test]
    async fn the_name_of_the_repository_is_locked_again_by_every_backup() {
        let (ground, start) = ground().await;
        let name = Key::Repository.to_string();
        for (minute, days) in [(0, 1), (1, 2)] {
            ground.store.set_clock(start + DAY * days);
            ground.backup(minute, &two_tables()).await;
            let again = ground.store.take_locked_again();
            assert_eq!(again.iter().filter(|key| **key == name).count(), 1, "{again:?}");
        }
    }

    #[tokio::test]
    async fn what_a_copied_index_says_of_locks_does_not_count_in_the_place_of_the_copy() {
        let (ground, start) = ground().await;
        let first = ground.backup(0, &two_tables()).await;
        let data: BTreeSet<String> = first.chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let mut expected: Vec<String> = data.iter().cloned().collect();
        expected.sort();
        let locked_again = || -> Vec<String> {
            let mut keys = ground.store.take_locked_again();
            keys.retain(|key| data.contains(key));
            keys.sort();
            keys
        };
        // The same objects in another place, whose locks nobody knows.
        ground.store.move_to("another place");
        ground.store.set_clock(start + DAY);
        let second = ground.backup(1, &two_tables()).await;
        assert_eq!(locked_again(), expected, "each once");
        assert_ne!(second.manifest.locked_in, first.manifest.locked_in);
        for chunk in &second.chunks {
            assert_eq!(chunk.locked_until, Some(start + DAY * 38), "{}", chunk.key);
        }
        ground.store.set_clock(start + DAY * 2);
        ground.backup(2, &two_tables()).await;
        assert_eq!(locked_again(), Vec::<String>::new(), "its own index counts");
    }

    #[tokio::test]
    async fn what_was_put_over_a_chunk_is_not_locked_in_its_place_and_the_next_backup_stores_the_chunk_anew() {
        let (ground, start) = ground().await;
        let first = ground.backup(0, &two_tables()).await;
        ground.store.set_clock(start + DAY * 8);
        let writer = ground.writer().await;
        let records = put_all(&writer, &two_tables()).await.unwrap();
        let key = &first.chunks[1].key;
        let size = usize::try_from(first.chunks[1].stored_bytes).unwrap();
        ground.store.delete(key).await.unwrap();
        ground.store.put_new(key, vec![0; size].into()).await.unwrap();
        let error = writer.commit(draft(1, &two_tables()), records).await.unwrap_err();
        assert!(
            matches!(&error, Error::LostChunk { key: lost, reason } if lost == key && reason.contains("replaced")),
            "{error}"
        );
        assert_eq!(ground.repository.backup_ids().await.unwrap(), [backup_id(0)]);
        let next = ground.backup(2, &two_tables()).await;
        assert_ne!(&next.chunks[1].key, key);
        assert_eq!(
            next.chunks[0],
            Chunk {
                locked_until: next.chunks[0].locked_until,
                ..first.chunks[0].clone()
            }
        );
    }

    #[tokio::test]
    async fn a_promise_that_cannot_be_kept_makes_no_backup() {
        let (ground, start) = ground().await;
        let first = ground.backup(0, &two_tables()).await;
        ground.store.set_clock(start + DAY * 8);
        let writer = ground.writer().await;
        let records = put_all(&writer, &two_tables()).await.unwrap();
        ground.store.delete(&first.chunks[0].key).await.unwrap();
        let error = writer.commit(draft(1, &two_tables()), records).await.unwrap_err();
        assert!(error.to_string().contains("lock of '"), "{error}");
        assert_eq!(ground.repository.backup_ids().await.unwrap(), [backup_id(0)]);
    }
}
