//! What a new backup need not store again: the chunks of the backup before it, by their raw contents.

use std::collections::HashMap;

use super::error::{Error, Result};
use super::id::Blake3Digest;
use super::locks;
use super::manifest::Chunk;
use super::placement::Unsound;
use super::presence::stored_sizes;
use super::reader::{Repository, StoredManifest};

/// What makes two chunks interchangeable: the same raw bytes, divided at the same places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content {
    raw_blake3: Blake3Digest,
    frame_ends: Box<[u64]>,
}

impl Content {
    pub(super) fn new(raw_blake3: Blake3Digest, frame_ends: &[usize]) -> Self {
        Self {
            raw_blake3,
            frame_ends: frame_ends.iter().map(|end| *end as u64).collect(),
        }
    }

    fn of(chunk: &Chunk) -> Self {
        let frame_ends = chunk.frames.iter().scan(0u64, |end, frame| {
            *end += frame.raw_bytes;
            Some(*end)
        });
        Self {
            raw_blake3: chunk.raw_blake3,
            frame_ends: frame_ends.collect(),
        }
    }
}

/// The chunks that a new backup may refer to.
#[derive(Debug, Default)]
pub struct ReuseIndex {
    chunks: HashMap<Content, Chunk>,
    /// What is known to be unsound, when that has been looked up.
    unsound: Option<Unsound>,
}

impl ReuseIndex {
    /// Nothing to reuse.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The chunks of `previous` that are in the store with their right size and not known as damaged; those that have to be
    /// locked again also by the digest that the store keeps. A previous backup whose index is damaged gives nothing, so
    /// that the new one can take its place.
    ///
    /// # Errors
    /// The store's own.
    pub async fn load(repository: &Repository, previous: &StoredManifest) -> Result<Self> {
        let mut unsound = Unsound::new(repository.damaged_keys().await?);
        let mut chunks = match repository.read_chunks_of_index(previous.clone()).await {
            Ok(chunks) => chunks,
            Err(Error::Damaged { key, reason }) => {
                let backup_id = &previous.manifest.backup_id;
                tracing::warn!(%backup_id, key, reason, "previous backup is damaged, nothing of it is reused");
                return Ok(Self {
                    chunks: HashMap::new(),
                    unsound: Some(unsound),
                });
            }
            Err(error) => return Err(error),
        };
        locks::forget_of_elsewhere(repository.store().as_ref(), &previous.manifest, &mut chunks);
        let keys = chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let sizes = stored_sizes(repository.store().as_ref(), keys).await?;
        let replaced = locks::replaced(repository.store().as_ref(), &chunks).await?;
        if !replaced.is_empty() {
            tracing::warn!(
                chunks = replaced.len(),
                "chunks of the previous backup are gone or were replaced by other objects; they are stored anew"
            );
        }
        let is_known = |key: &String| unsound.contains(key) || replaced.contains(key);
        let sound: Vec<bool> = chunks
            .iter()
            .map(|chunk| sizes.get(&chunk.key) == Some(&chunk.stored_bytes) && !is_known(&chunk.key))
            .collect();
        let (sound, lost): (Vec<_>, Vec<_>) = chunks.into_iter().zip(sound).partition(|(_, sound)| *sound);
        for (chunk, _) in lost {
            unsound.add_lost(chunk.stored_sha256);
        }
        Ok(Self {
            chunks: sound
                .into_iter()
                .map(|(chunk, _)| (Content::of(&chunk), chunk))
                .collect(),
            unsound: Some(unsound),
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn find(&self, content: &Content) -> Option<&Chunk> {
        self.chunks.get(content)
    }

    pub(super) fn take_unsound(&mut self) -> Option<Unsound> {
        self.unsound.take()
    }
}
