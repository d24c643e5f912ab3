//! Where stored bytes go: under their digest and a number, `<sha256>.<n>`, that nobody takes again.
//!
//! A deletion by prune may arrive late: its process was paused, or the answer to it was lost and it is repeated. Were a name
//! used again whose object a prune has deleted, such a deletion could take what a backup has stored there since. So the
//! number goes with the time: each [`EPOCH`] has names of its own. What prune deletes is older than the grace period, so that
//! its name is one of an epoch that is over.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use super::error::{Error, Result};
use super::id::Sha256Digest;
use super::index::ChunkName;
use super::layout::Key;
use super::reader::Repository;
use crate::storage::{self, ObjectMeta, Put};

/// Names of one epoch, tried one after the other where an object is damaged, before the store is taken to be broken.
const MAX_COPIES: u32 = 100;

/// How long names are taken for. A grace period is at least twelve hours longer than a backup may take, so that even clocks
/// that are hours apart take no name again which prune may be deleting.
const EPOCH: SignedDuration = SignedDuration::from_hours(6);

/// Names beyond it go with no time.
const FREE: u32 = 1 << 31;

/// An object that was found under its name, and not in the index of a backup, may be one that nothing refers to and that
/// is pruned before this backup's manifest says otherwise. One this young is not pruned while any backup lasts.
const FOUND_AT_MOST: SignedDuration = SignedDuration::from_hours(12);

/// Places content, once for each digest.
#[derive(Debug)]
pub(super) struct Placement {
    repository: Repository,
    /// Looked up with the first chunk, unless handed in.
    unsound: OnceCell<Unsound>,
}

/// What must not be referred to, and is stored anew.
#[derive(Debug, Default)]
pub(super) struct Unsound {
    /// Keys that records of damage name.
    keys: HashSet<String>,
    /// Contents of such objects, and of those that were found to be gone or changed.
    contents: HashSet<Sha256Digest>,
}

impl Unsound {
    pub(super) fn new(damaged_keys: HashSet<String>) -> Self {
        let names = damaged_keys.iter().filter_map(|key| ChunkName::of_key(key));
        Self {
            contents: names.map(|name| name.sha256).collect(),
            keys: damaged_keys,
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// An object with these contents is gone, or is another one now.
    pub(super) fn add_lost(&mut self, sha256: Sha256Digest) {
        self.contents.insert(sha256);
    }
}

/// How a chunk came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Uploaded.
    New,
    /// Uploaded since the object that had these contents is damaged or gone.
    Healed,
    /// Was there before.
    Reused,
}

/// What lies under the name that content should have.
enum Found {
    Sound,
    /// Sound, and older than what may be relied upon.
    Old,
    Unsound,
}

impl Placement {
    pub(super) fn new(repository: Repository, unsound: Option<Unsound>) -> Self {
        Self {
            repository,
            unsound: OnceCell::new_with(unsound),
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Makes sure that `stored`, whose digest is `sha256`, is in the store, and tells under which key.
    ///
    /// # Errors
    /// The store's own; `Damaged` when even the copies are damaged.
    pub(super) async fn place(&self, sha256: Sha256Digest, stored: &Bytes) -> Result<(String, Origin)> {
        let first = first_name(self.repository.store().now());
        let unsound = self.unsound().await?;
        let mut is_healed = unsound.contents.contains(&sha256);
        for copy in first..first + MAX_COPIES {
            let key = Key::Chunk { sha256, copy }.to_string();
            if unsound.contains(&key) {
                continue;
            }
            let store = self.repository.store();
            match store.put_new_of_digest(&key, stored.clone(), sha256.0).await? {
                Put::Created if !is_healed => return Ok((key, Origin::New)),
                Put::Created => {
                    tracing::warn!(
                        key,
                        "chunk stored again, since the object that held it is damaged or gone"
                    );
                    return Ok((key, Origin::Healed));
                }
                Put::Exists => match self.look_at(&key, sha256, stored).await? {
                    Found::Sound => return Ok((key, Origin::Reused)),
                    Found::Old => return self.place_beside(sha256, stored).await,
                    Found::Unsound => is_healed = true,
                },
            }
        }
        let key = Key::Chunk { sha256, copy: first }.to_string();
        Err(Error::damaged(key, format!("and so are its {MAX_COPIES} copies")))
    }

    /// Beside an old object, under a number that nobody else takes: old copies may be many.
    async fn place_beside(&self, sha256: Sha256Digest, stored: &Bytes) -> Result<(String, Origin)> {
        loop {
            let copy = rand::random_range(FREE..=u32::MAX);
            let key = Key::Chunk { sha256, copy }.to_string();
            let store = self.repository.store();
            if store.put_new_of_digest(&key, stored.clone(), sha256.0).await? == Put::Created {
                tracing::debug!(key, "chunk stored again beside an old object that may be pruned");
                return Ok((key, Origin::New));
            }
        }
    }

    async fn look_at(&self, key: &str, sha256: Sha256Digest, stored: &Bytes) -> Result<Found> {
        let store = self.repository.store();
        let object = match store.head(key).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(Found::Unsound),
            Err(error) => return Err(error.into()),
        };
        if !self.is_sound(key, &object, sha256, stored).await? {
            return Ok(Found::Unsound);
        }
        let age = store.now().duration_since(object.modified);
        Ok(if age > FOUND_AT_MOST { Found::Old } else { Found::Sound })
    }

    /// Whether the object that took the name is the content itself: of the right size, and of the right digest by the
    /// store's word or, where it keeps none, by its bytes.
    async fn is_sound(&self, key: &str, object: &ObjectMeta, sha256: Sha256Digest, stored: &Bytes) -> Result<bool> {
        let store = self.repository.store();
        if object.bytes != stored.len() as u64 {
            return Ok(false);
        }
        if let Some(kept) = object.sha256 {
            return Ok(kept == sha256.0);
        }
        tracing::debug!(key, "the store keeps no checksum, so the object is read back");
        match store.get_at_most(key, stored.len() as u64).await {
            Ok(bytes) => Ok(bytes == *stored),
            Err(error)
                if matches!(
                    error.kind,
                    storage::ErrorKind::NotFound | storage::ErrorKind::Checksum | storage::ErrorKind::TooLarge
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn unsound(&self) -> Result<&Unsound> {
        let look_up = || async { Ok(Unsound::new(self.repository.damaged_keys().await?)) };
        self.unsound.get_or_try_init(look_up).await
    }
}

/// The first of the numbers that belong to the epoch of `now`.
fn first_name(now: Timestamp) -> u32 {
    let epoch = now.as_second().max(0) / EPOCH.as_secs();
    // Names begin anew after fourteen thousand years.
    let epoch = u32::try_from(epoch).unwrap_or(u32::MAX) % (FREE / MAX_COPIES);
    epoch * MAX_COPIES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u32 {
        first_name(text.parse().unwrap())
    }

    #[test]
    fn names_of_one_epoch_are_those_of_no_other() {
        let first = at("2026-11-28T12:00:00Z");
        assert_eq!(at("2026-11-28T17:59:59Z"), first);
        assert_eq!(at("2026-11-28T18:00:00Z"), first + MAX_COPIES);
        assert_eq!(at("2026-11-28T11:59:59Z") + MAX_COPIES, first);
        assert!(at("9999-12-30T00:00:00Z") < FREE - MAX_COPIES);
        assert_eq!(at("1900-01-01T00:00:00Z"), 0);
    }
}
