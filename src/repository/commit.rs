//! The end of a backup: its index, the proof that what it reuses is still there, and last of all its root.

use std::time::Duration;

use bytes::Bytes;

use super::document;
use super::drift::Drift;
use super::error::{Error, Result};
use super::id::{BackupId, Sha256Digest};
use super::index::{self, ChunkRecord, Lines};
use super::layout::Key;
use super::lease::Lease;
use super::locks;
use super::manifest::{
    BackupKind, BackupStats, Chunk, DatabaseSummary, FORMAT_VERSION, MAX_ROOT_BYTES, Manifest, PhaseSeconds,
    Predecessor, Record, Source,
};
use super::presence::stored_sizes;
use super::reader::StoredManifest;
use super::writer::BackupWriter;
use crate::storage::Put;

/// What a manifest says that the repository does not know by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestDraft {
    pub kind: BackupKind,
    pub backup_id: BackupId,
    pub predecessor: Option<Predecessor>,
    pub tool_version: String,
    pub source: Source,
    pub started: jiff::Timestamp,
    pub finished: jiff::Timestamp,
    pub databases: Vec<DatabaseSummary>,
    pub databases_not_included: Vec<String>,
    /// The writer fills in the bytes and chunks that it stored itself.
    pub stats: BackupStats,
    pub phases: Vec<PhaseSeconds>,
    pub drift: Option<Drift>,
}

/// A backup of which everything is stored and proven but its root.
pub struct Unpublished {
    writer: BackupWriter,
    stored: StoredManifest,
    object: Bytes,
}

impl Unpublished {
    /// The id that the backup will have.
    #[must_use]
    pub fn backup_id(&self) -> &BackupId {
        &self.stored.manifest.backup_id
    }

    /// Makes the backup exist. Not to be given up once it is begun: whether there is a backup would be anybody's guess.
    ///
    /// # Errors
    /// `Conflict` when a backup of this id exists, `PublishedOrNot` when the store gave no answer, or the store's own; but
    /// for `PublishedOrNot` the backup does not exist then.
    pub async fn publish(self) -> Result<StoredManifest> {
        let backup_id = &self.stored.manifest.backup_id;
        self.writer.put_root(backup_id, self.object).await?;
        Ok(self.stored)
    }
}

impl BackupWriter {
    /// Everything but the root: `records`, without `chunk` records, become the index. The order of `records` is that of
    /// `Record`.
    ///
    /// # Errors
    /// `LostChunk` when a chunk is gone or has changed, `RootTooLarge`, `Invalid` when the parts do not fit
    /// together, `LeaseLost`, `TooLate`, or the store's own. The backup does not exist then.
    pub async fn prepare(self, draft: ManifestDraft, records: Vec<Record>) -> Result<Unpublished> {
        let mut chunks = self.ledger.take_chunks();
        let repository = self.placement.repository();
        locks::renew_name(repository).await?;
        locks::extend(repository.store().as_ref(), &mut chunks).await?;
        let index = self.write_index(&chunks, &records).await?;
        let mut manifest = self.manifest(draft, index);
        let mut object = document::encode(&manifest)?;
        if let (true, Some(drift)) = (object.len() > MAX_ROOT_BYTES, &mut manifest.drift) {
            // The alarm must not cost the backup; how many findings there are still stands there.
            drift.findings.clear();
            object = document::encode(&manifest)?;
        }
        if object.len() > MAX_ROOT_BYTES {
            return Err(Error::RootTooLarge {
                bytes: object.len(),
                limit: MAX_ROOT_BYTES,
            });
        }
        let sha256 = Sha256Digest::of(&object);
        self.check_chunks(chunks.iter().chain(&manifest.index)).await?;
        let stored = StoredManifest { manifest, sha256 };
        check(&stored, chunks, records)?;
        if let Some(lease) = &self.lease {
            lease.confirm().await?;
        }
        self.check_in_time()?;
        Ok(Unpublished {
            writer: self,
            stored,
            object,
        })
    }

    async fn write_index(&self, chunks: &[Chunk], records: &[Record]) -> Result<Vec<Chunk>> {
        let mut lines = Lines::default();
        let mut index = Vec::new();
        for chunk in chunks {
            lines.push(&ChunkRecord { chunk }).map_err(Error::Json)?;
            while let Some(piece) = lines.full_piece() {
                index.push(self.put_index(piece).await?);
            }
        }
        for record in records {
            lines.push(record).map_err(Error::Json)?;
            while let Some(piece) = lines.full_piece() {
                index.push(self.put_index(piece).await?);
            }
        }
        if let Some(piece) = lines.last_piece() {
            index.push(self.put_index(piece).await?);
        }
        Ok(index)
    }

    fn manifest(&self, draft: ManifestDraft, index: Vec<Chunk>) -> Manifest {
        let written = self.stats();
        Manifest {
            format_version: FORMAT_VERSION,
            kind: draft.kind,
            repository_id: self.placement.repository().id().clone(),
            backup_id: draft.backup_id,
            predecessor: draft.predecessor,
            tool_version: draft.tool_version,
            lease_generation: self.lease.as_ref().map(Lease::generation),
            source: draft.source,
            started: draft.started,
            finished: draft.finished,
            databases: draft.databases,
            databases_not_included: draft.databases_not_included,
            stats: BackupStats {
                stored_bytes: written.stored_bytes,
                new_bytes: written.new_bytes,
                chunks: written.chunks,
                new_chunks: written.new_chunks,
                reused_chunks: written.reused_chunks,
                healed_chunks: written.healed_chunks,
                ..draft.stats
            },
            phases: draft.phases,
            locked_in: locks::place(self.placement.repository().store().as_ref()),
            index,
            drift: draft.drift,
        }
    }

    /// A machine that slept does not know it: its timers stood still with it. The store's clock did not, and prune goes by that.
    fn check_in_time(&self) -> Result<()> {
        let Some(limit) = self.ledger.options.max_duration else {
            return Ok(());
        };
        let taken = self.placement.repository().store().now().duration_since(self.begun);
        match Duration::try_from(taken) {
            Ok(taken) if taken > limit => Err(Error::TooLate { limit }),
            _ => Ok(()),
        }
    }

    /// What was there before may have been pruned or lost since; and what was uploaded, by a deletion of an older object of
    /// its name that was decided before and came late.
    async fn check_chunks<'a>(&self, chunks: impl Iterator<Item = &'a Chunk> + Clone) -> Result<()> {
        let keys = chunks.clone().map(|chunk| chunk.key.clone()).collect();
        let sizes = stored_sizes(self.placement.repository().store().as_ref(), keys).await?;
        for chunk in chunks {
            let reason = match sizes.get(&chunk.key) {
                Some(size) if *size == chunk.stored_bytes => continue,
                Some(size) => format!("has {size} bytes instead of {}", chunk.stored_bytes),
                None => "is gone".to_owned(),
            };
            let key = chunk.key.clone();
            return Err(Error::LostChunk { key, reason });
        }
        Ok(())
    }

    /// A put whose answer was lost may have succeeded: then the object is there with our bytes. One that is not there yet may
    /// still be on its way.
    async fn put_root(&self, backup_id: &BackupId, object: Bytes) -> Result<()> {
        let key = Key::Manifest(backup_id.clone()).to_string();
        let store = self.placement.repository().store();
        let put = store.put_new(&key, object.clone()).await;
        if matches!(put, Ok(Put::Created)) {
            return Ok(());
        }
        let unknown = |source| {
            let backup_id = backup_id.clone();
            Err(Error::PublishedOrNot { backup_id, source })
        };
        match (store.get_at_most(&key, object.len() as u64).await, put) {
            (Ok(existing), _) if existing == object => Ok(()),
            // Somebody else's bytes.
            (Ok(_), _) => Err(Error::Conflict { key }),
            (Err(error), _) if error.is_too_large() => Err(Error::Conflict { key }),
            // Refused, and not there.
            (Err(missing), Err(refused)) if missing.is_not_found() && !refused.is_unavailable() => Err(refused.into()),
            // Sent more than once, perhaps, and only the last answer is known.
            (Err(_), Err(error)) | (Err(error), Ok(_)) => unknown(error),
        }
    }
}

/// A backup that could not be read back must not come to exist.
fn check(stored: &StoredManifest, chunks: Vec<Chunk>, records: Vec<Record>) -> Result<()> {
    let chunks = chunks.into_iter().map(Record::Chunk);
    let backup = index::assemble(stored.manifest.clone(), stored.sha256, chunks.chain(records));
    let backup = backup.map_err(Error::invalid)?;
    match index::find_unused_frame(&backup) {
        Some(reason) => Err(Error::invalid(reason)),
        None => Ok(()),
    }
}
