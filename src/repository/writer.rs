//! Writing a backup's chunks: hashed, reused where their contents are known, else compressed and stored.
//!
//! Many workers share one writer. Hashing and compressing run off the async threads, and a worker's buffer is dropped as
//! soon as it is compressed and there is room for the result. Nothing of the backup is visible before `commit`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::codec::{Sealed, Sealer, check_frame_ends};
use super::error::{Error, Result};
use super::id::{Blake3Digest, Sha256Digest};
use super::lease::Lease;
use super::locks;
use super::manifest::{Chunk, Codec, Segment};
use super::placement::{Origin, Placement};
use super::reader::Repository;
use super::reuse::{Content, ReuseIndex};
use super::upload_room::UploadRoom;

/// How chunks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// zstd level.
    pub compression_level: i32,
    /// Compressed chunks in memory, on their way to the store, come to at most this together where they compress to a quarter; a single larger one goes alone.
    pub upload_bytes: usize,
    /// What takes longer by the store's clock is not committed.
    pub max_duration: Option<Duration>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            compression_level: 1,
            upload_bytes: 16 * 1024 * 1024,
            max_duration: None,
        }
    }
}

/// What a writer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Raw bytes of the chunks, each counted once.
    pub raw_bytes: u64,
    /// Stored bytes of the chunks, each counted once.
    pub stored_bytes: u64,
    /// Stored bytes uploaded.
    pub new_bytes: u64,
    /// New and reused ones.
    pub chunks: u64,
    pub new_chunks: u64,
    /// Known from the previous backup, or found in the store.
    pub reused_chunks: u64,
    /// New ones that were stored beside a damaged object.
    pub healed_chunks: u64,
}

/// Writes one backup.
#[derive(Debug)]
pub struct BackupWriter {
    pub(super) placement: Placement,
    pub(super) ledger: Arc<Ledger>,
    pub(super) lease: Option<Lease>,
    /// By the store's clock.
    pub(super) begun: Timestamp,
    room: UploadRoom,
}

/// What the worker threads share.
#[derive(Debug)]
pub(super) struct Ledger {
    reuse: ReuseIndex,
    pub(super) options: WriterOptions,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    chunks: Vec<Chunk>,
    numbers: HashMap<Content, u32>,
    stats: WriterStats,
}

/// A chunk with its digests and nowhere to lie yet.
struct Prepared {
    content: Content,
    raw_blake3: Blake3Digest,
    raw_bytes: u64,
    stored_sha256: Sha256Digest,
    sealed: Sealed,
}

enum Looked {
    Known(u32),
    Fresh(Blake3Digest),
}

impl BackupWriter {
    /// Begins a backup in `repository` that may refer to the chunks of `reuse`.
    #[must_use]
    pub fn new(repository: &Repository, mut reuse: ReuseIndex, options: WriterOptions) -> Self {
        Self {
            placement: Placement::new(repository.clone(), reuse.take_unsound()),
            ledger: Arc::new(Ledger {
                reuse,
                options,
                written: Mutex::default(),
            }),
            lease: None,
            begun: repository.store().now(),
            room: UploadRoom::of(options.upload_bytes),
        }
    }

    /// The backup comes to exist only if `lease` is still held at its end, and says its generation.
    #[must_use]
    pub fn under(self, lease: Option<Lease>) -> Self {
        Self { lease, ..self }
    }

    /// Stores `raw` as one chunk, a frame for each run that ends at one of `frame_ends` (rising, the last at the end of
    /// `raw`, none empty), and gives its number for the segments that refer to it. The same contents, divided alike, get
    /// the same number.
    ///
    /// # Errors
    /// `Invalid` for frame ends that do not fit, or the store's own.
    pub async fn put<B>(&self, raw: B, frame_ends: Vec<usize>) -> Result<u32>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let ledger = Arc::clone(&self.ledger);
        let looked = tokio::task::spawn_blocking(move || {
            let looked = ledger.look(raw.as_ref(), &frame_ends)?;
            Ok::<_, Error>((looked, raw, frame_ends))
        });
        let (looked, raw, frame_ends) = looked.await??;
        let raw_blake3 = match looked {
            Looked::Known(number) => return Ok(number),
            Looked::Fresh(raw_blake3) => raw_blake3,
        };
        let mut room = self.room.take(raw.as_ref().len()).await;
        let ledger = Arc::clone(&self.ledger);
        // The buffer goes back to its pool before the upload.
        let prepared = tokio::task::spawn_blocking(move || ledger.prepare(raw.as_ref(), &frame_ends, raw_blake3));
        let prepared = prepared.await??;
        room.fit(prepared.sealed.stored.len());
        let content = prepared.content.clone();
        let chunk = self.store(prepared).await?;
        self.ledger.enter(content, chunk)
    }

    /// Stores `raw` as a chunk of one frame that no segment can refer to: a piece of the index.
    pub(super) async fn put_index(&self, raw: Vec<u8>) -> Result<Chunk> {
        let ledger = Arc::clone(&self.ledger);
        let prepared = tokio::task::spawn_blocking(move || {
            let frame_ends = [raw.len()];
            let raw_blake3 = Blake3Digest::of(&raw);
            ledger.prepare(&raw, &frame_ends, raw_blake3)
        });
        let mut chunk = self.store(prepared.await??).await?;
        locks::extend(
            self.placement.repository().store().as_ref(),
            std::slice::from_mut(&mut chunk),
        )
        .await?;
        self.ledger.written().count(&chunk);
        Ok(chunk)
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let stats = self.ledger.written().stats;
        WriterStats {
            reused_chunks: stats.chunks.saturating_sub(stats.new_chunks),
            ..stats
        }
    }

    /// What the frames of `segments` take compressed; none where one of them is of no chunk that this writer numbered.
    #[must_use]
    pub fn stored_bytes_of(&self, segments: &[Segment]) -> Option<u64> {
        let written = self.ledger.written();
        let frame = |segment: &Segment| {
            let chunk = written.chunks.get(usize::try_from(segment.chunk).ok()?)?;
            chunk.frames.get(usize::try_from(segment.frame).ok()?)
        };
        segments.iter().map(|segment| Some(frame(segment)?.stored_bytes)).sum()
    }

    async fn store(&self, prepared: Prepared) -> Result<Chunk> {
        let Sealed { stored, frames } = prepared.sealed;
        let store = self.placement.repository().store();
        // Before the put: the store counts from a moment after it.
        let given = store.lock_period().map(|period| store.now() + period.given);
        let (key, origin) = self.placement.place(prepared.stored_sha256, &stored).await?;
        self.ledger.written().count_upload(stored.len() as u64, origin);
        let chunk = Chunk {
            key,
            codec: Codec::Zstd,
            stored_sha256: prepared.stored_sha256,
            stored_bytes: stored.len() as u64,
            raw_blake3: prepared.raw_blake3,
            raw_bytes: prepared.raw_bytes,
            frames,
            locked_until: given.filter(|_| origin != Origin::Reused),
        };
        Ok(chunk)
    }
}

impl Ledger {
    fn look(&self, raw: &[u8], frame_ends: &[usize]) -> Result<Looked> {
        check_frame_ends(raw.len(), frame_ends)?;
        let raw_blake3 = Blake3Digest::of(raw);
        let content = Content::new(raw_blake3, frame_ends);
        if let Some(number) = self.written().numbers.get(&content) {
            return Ok(Looked::Known(*number));
        }
        if let Some(chunk) = self.reuse.find(&content) {
            let number = self.enter(content, chunk.clone())?;
            return Ok(Looked::Known(number));
        }
        Ok(Looked::Fresh(raw_blake3))
    }

    fn prepare(&self, raw: &[u8], frame_ends: &[usize], raw_blake3: Blake3Digest) -> Result<Prepared> {
        let raw_bytes = raw.len() as u64;
        let sealed = Sealer::new(self.options.compression_level)?.seal(raw, frame_ends)?;
        Ok(Prepared {
            content: Content::new(raw_blake3, frame_ends),
            raw_blake3,
            raw_bytes,
            stored_sha256: Sha256Digest::of(&sealed.stored),
            sealed,
        })
    }

    /// Gives the chunk its number, or the number that another worker gave the same contents meanwhile.
    fn enter(&self, content: Content, chunk: Chunk) -> Result<u32> {
        let mut written = self.written();
        if let Some(number) = written.numbers.get(&content) {
            return Ok(*number);
        }
        let number = u32::try_from(written.chunks.len()).map_err(|_| Error::invalid("more chunks than numbers"))?;
        written.count(&chunk);
        written.chunks.push(chunk);
        written.numbers.insert(content, number);
        Ok(number)
    }

    /// The chunks in order of their numbers.
    pub(super) fn take_chunks(&self) -> Vec<Chunk> {
        std::mem::take(&mut self.written().chunks)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        // Every change is complete before anything can panic.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// One more chunk that the backup refers to.
    fn count(&mut self, chunk: &Chunk) {
        self.stats.chunks += 1;
        self.stats.raw_bytes += chunk.raw_bytes;
        self.stats.stored_bytes += chunk.stored_bytes;
    }

    /// Counted when it happens: of two workers with the same contents, the one that uploaded may come second to number
    /// its chunk.
    fn count_upload(&mut self, stored_bytes: u64, origin: Origin) {
        match origin {
            Origin::Reused => return,
            Origin::New => {}
            Origin::Healed => self.stats.healed_chunks += 1,
        }
        self.stats.new_chunks += 1;
        self.stats.new_bytes += stored_bytes;
    }
}

#[cfg(test)]
mod tests;
