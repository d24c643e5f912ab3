//! Where stored bytes go: under their digest, or beside an object of that name that is damaged (`<sha256>.<n>`).

use std::collections::HashSet;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::sync::OnceCell;

use super::error::{Error, Result};
use super::id::Sha256Digest;
use super::layout::Key;
use super::reader::Repository;
use crate::storage::{self, ObjectMeta, Put};

/// Copies tried before the store is taken to be broken.
const MAX_COPIES: u32 = 100;

/// An object that was found under its name, and not in the index of a backup, may be one that nothing refers to and that
/// is pruned before this backup's manifest says otherwise. One this young is not pruned while any backup lasts.
const FOUND_AT_MOST: SignedDuration = SignedDuration::from_hours(12);

/// Places content, once for each digest.
#[derive(Debug)]
pub(super) struct Placement {
    repository: Repository,
    /// Looked up with the first chunk, unless handed in.
    damaged: OnceCell<HashSet<String>>,
}

/// How a chunk came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Uploaded.
    New,
    /// Uploaded beside a damaged object.
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
    pub(super) fn new(repository: Repository, damaged: Option<HashSet<String>>) -> Self {
        Self {
            repository,
            damaged: OnceCell::new_with(damaged),
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
        for copy in 0..MAX_COPIES {
            let key = Key::Chunk { sha256, copy }.to_string();
            if self.damaged().await?.contains(&key) {
                continue;
            }
            let store = self.repository.store();
            match store.put_new_of_digest(&key, stored.clone(), sha256.0).await? {
                Put::Created if copy == 0 => return Ok((key, Origin::New)),
                Put::Created => {
                    tracing::warn!(key, "chunk stored again beside a damaged object");
                    return Ok((key, Origin::Healed));
                }
                Put::Exists => match self.look_at(&key, sha256, stored).await? {
                    Found::Sound => return Ok((key, Origin::Reused)),
                    Found::Old => return self.place_beside(sha256, stored).await,
                    Found::Unsound => {}
                },
            }
        }
        let key = Key::Chunk { sha256, copy: 0 }.to_string();
        Err(Error::damaged(key, format!("and so are its {MAX_COPIES} copies")))
    }

    /// Beside an old object, under a number that nobody else takes: old copies may be many.
    async fn place_beside(&self, sha256: Sha256Digest, stored: &Bytes) -> Result<(String, Origin)> {
        loop {
            let copy = rand::random_range(MAX_COPIES..=u32::MAX);
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
        match store.get(key).await {
            Ok(bytes) => Ok(bytes == *stored),
            Err(error) if matches!(error.kind, storage::ErrorKind::NotFound | storage::ErrorKind::Checksum) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn damaged(&self) -> Result<&HashSet<String>> {
        self.damaged.get_or_try_init(|| self.repository.damaged_keys()).await
    }
}
