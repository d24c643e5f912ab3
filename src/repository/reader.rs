//! Opening a repository and reading backups back. No byte is used before its digest was found right.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::ChunkBytes;
use super::document;
use super::error::{Error, Result};
use super::id::{BackupId, RepositoryId, Sha256Digest};
use super::index;
use super::layout::{self, Key};
use super::limits::MAX_RECORD_BYTES;
use super::manifest::{Backup, Chunk, FORMAT_VERSION, MAX_ROOT_BYTES, Manifest, Segment};
use super::older_versions::OlderVersions;
use crate::storage::{ObjectStore, Put};

/// A repository that was found to exist and to be of our format. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    id: RepositoryId,
    /// What was read from older versions, over all clones.
    older: Arc<OlderVersions>,
}

/// A root object as read, with the digest that pins it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredManifest {
    pub manifest: Manifest,
    /// SHA-256 of the whole object.
    pub sha256: Sha256Digest,
}

/// `repository.json`.
#[derive(Debug, Serialize, Deserialize)]
struct RepositoryDocument {
    format_version: u32,
    repository_id: RepositoryId,
}

/// The object that names a repository.
fn name_document(repository_id: RepositoryId) -> Result<Bytes> {
    document::encode(&RepositoryDocument {
        format_version: FORMAT_VERSION,
        repository_id,
    })
}

impl Repository {
    /// Opens what lies in `store`. Where its name was overwritten or hidden, an older version tells it.
    ///
    /// # Errors
    /// `Missing`, `UnknownFormat`, `Damaged`, or the store's own.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self> {
        let first = twice_if_damaged(|| Self::read_document(store.as_ref())).await;
        let older = OlderVersions::default();
        let document = match first {
            Err(error @ (Error::Damaged { .. } | Error::Missing)) => {
                let key = Key::Repository.to_string();
                let decode = |object: Bytes| document::decode(&key, &object).ok();
                let sizes = (None, MAX_RECORD_BYTES);
                older.read(store.as_ref(), &key, sizes, decode, error).await?
            }
            document => document?,
        };
        Ok(Self {
            store,
            id: document.repository_id,
            older: Arc::new(older),
        })
    }

    async fn read_document(store: &dyn ObjectStore) -> Result<RepositoryDocument> {
        let key = Key::Repository.to_string();
        let object = store
            .get_at_most(&key, MAX_RECORD_BYTES)
            .await
            .map_err(|error| match error {
                error if error.is_not_found() => Error::Missing,
                error => Error::of_get(error),
            })?;
        document::decode(&key, &object)
    }

    /// Opens what lies in `store`; where there is nothing, creates a repository named `id` first.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub async fn open_or_create(store: Arc<dyn ObjectStore>, id: RepositoryId) -> Result<Self> {
        match Self::open(Arc::clone(&store)).await {
            Err(Error::Missing) => {}
            Ok(opened) => {
                opened.put_name_back().await;
                return Ok(opened);
            }
            Err(error) => return Err(error),
        }
        // A new name over old backups would make them nobody's.
        if !store.list(layout::MANIFESTS, None, 1).await?.objects.is_empty() {
            let reason = "missing, and there are backups: put it back, from a copy or an older version";
            return Err(Error::damaged(Key::Repository.to_string(), reason));
        }
        store.put_new(&Key::Repository.to_string(), name_document(id)?).await?;
        // Whoever came first named it.
        Self::open(store).await
    }

    /// Where only an older version tells the name, whoever may not see versions finds no repository: a deletion is made good.
    /// What was overwritten stays so, since nothing is ever put over an object.
    async fn put_name_back(&self) {
        let key = Key::Repository.to_string();
        if !self.older.keys().contains(&key) {
            return;
        }
        let put = match name_document(self.id.clone()) {
            Ok(object) => self.store.put_new(&key, object).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match put {
            Ok(Put::Created) => {
                self.older.remove(&key);
                tracing::warn!(key, "was deleted, and is there again");
            }
            Ok(Put::Exists) => tracing::warn!(key, "overwritten: remove the newest version of it"),
            Err(error) => tracing::warn!(key, %error, "was deleted, and cannot be put back"),
        }
    }

    #[must_use]
    pub fn id(&self) -> &RepositoryId {
        &self.id
    }

    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Every backup, oldest first.
    ///
    /// # Errors
    /// The store's own.
    pub async fn backup_ids(&self) -> Result<Vec<BackupId>> {
        let backups = self.list_backups().await?;
        Ok(backups.into_iter().map(|(backup_id, _)| backup_id).collect())
    }

    /// Whether a backup of that id exists, readable or not.
    pub(super) async fn has_backup(&self, backup_id: &BackupId) -> Result<bool> {
        let modified = self.modified_by_name(&Key::Manifest(backup_id.clone())).await?;
        Ok(modified.is_some())
    }

    /// When the object was stored, if it is there, whatever a listing says.
    pub(super) async fn modified_by_name(&self, key: &Key) -> Result<Option<Timestamp>> {
        match self.store.head(&key.to_string()).await {
            Ok(object) => Ok(Some(object.modified)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The root of a backup, found to be this repository's and this backup's.
    ///
    /// # Errors
    /// `NoSuchBackup`, `UnknownFormat`, `Damaged`, or the store's own.
    pub async fn read_manifest(&self, backup_id: &BackupId) -> Result<StoredManifest> {
        self.read_root(backup_id).await.map(|(stored, _)| stored)
    }

    /// The same with the object itself.
    pub(super) async fn read_root(&self, backup_id: &BackupId) -> Result<(StoredManifest, Bytes)> {
        match twice_if_damaged(|| self.read_root_once(backup_id)).await {
            Err(damaged @ Error::Damaged { .. }) => self.read_older_root(backup_id, damaged).await,
            newest => newest,
        }
    }

    async fn read_root_once(&self, backup_id: &BackupId) -> Result<(StoredManifest, Bytes)> {
        let key = Key::Manifest(backup_id.clone()).to_string();
        let object = self
            .store
            .get_at_most(&key, MAX_ROOT_BYTES as u64)
            .await
            .map_err(|error| match error {
                error if error.is_not_found() => Error::NoSuchBackup(backup_id.clone()),
                error => Error::of_get(error),
            })?;
        self.decode_root(&key, backup_id, object)
    }

    fn decode_root(&self, key: &str, backup_id: &BackupId, object: Bytes) -> Result<(StoredManifest, Bytes)> {
        let manifest: Manifest = document::decode(key, &object)?;
        self.check_manifest(&manifest, backup_id, object.len())
            .map_err(|reason| Error::damaged(key, reason))?;
        let sha256 = Sha256Digest::of(&object);
        Ok((StoredManifest { manifest, sha256 }, object))
    }

    /// Somebody has put another object over a root: a store that keeps versions has the one that was written.
    async fn read_older_root(&self, backup_id: &BackupId, damaged: Error) -> Result<(StoredManifest, Bytes)> {
        let key = Key::Manifest(backup_id.clone()).to_string();
        let decode = |object| self.decode_root(&key, backup_id, object).ok();
        let sizes = (None, MAX_ROOT_BYTES as u64);
        self.older.read(self.store.as_ref(), &key, sizes, decode, damaged).await
    }

    /// The root of a backup that a deletion has hidden; none where no version of it can be read.
    pub(super) async fn read_hidden_root(&self, backup_id: &BackupId) -> Result<Option<Manifest>> {
        let hidden = Error::NoSuchBackup(backup_id.clone());
        match self.read_older_root(backup_id, hidden).await {
            Ok((stored, _)) => Ok(Some(stored.manifest)),
            Err(Error::NoSuchBackup(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same for a chunk, also one that is hidden behind a deletion.
    async fn read_older_chunk(&self, chunk: &Chunk, damaged: Error) -> Result<Bytes> {
        let is_it = |stored: Bytes| {
            let is_it = check_size(chunk, &stored).is_ok() && Sha256Digest::of(&stored) == chunk.stored_sha256;
            is_it.then_some(stored)
        };
        let sizes = (Some(chunk.stored_bytes), chunk.stored_bytes);
        self.older
            .read(self.store.as_ref(), &chunk.key, sizes, is_it, damaged)
            .await
    }

    /// The same repository with a record of its own of what had to be read from older versions; its name, if it had, is in
    /// each.
    #[must_use]
    pub fn watched(&self) -> Self {
        let name = Key::Repository.to_string();
        let older = OlderVersions::default();
        if self.older.keys().contains(&name) {
            older.add(&name);
        }
        Self {
            older: Arc::new(older),
            ..self.clone()
        }
    }

    /// Keys of objects that were damaged or hidden and had to be read from older versions, since [`Repository::watched`].
    #[must_use]
    pub fn read_from_older_versions(&self) -> Vec<String> {
        self.older.keys()
    }

    /// The root of a backup that a copy is bringing here, if one is.
    pub(super) async fn read_incoming(&self, backup_id: &BackupId) -> Result<Option<Manifest>> {
        let key = Key::Incoming(backup_id.clone()).to_string();
        let object = match self.store.get_at_most(&key, MAX_ROOT_BYTES as u64).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::of_get(error)),
        };
        let manifest: Manifest = document::decode(&key, &object)?;
        self.check_manifest(&manifest, backup_id, object.len())
            .map_err(|reason| Error::damaged(&key, reason))?;
        Ok(Some(manifest))
    }

    fn check_manifest(&self, manifest: &Manifest, id: &BackupId, bytes: usize) -> std::result::Result<(), String> {
        if bytes > MAX_ROOT_BYTES {
            return Err(format!("it has {bytes} bytes, a root has at most {MAX_ROOT_BYTES}"));
        }
        if manifest.backup_id != *id {
            return Err(format!("it is the root of backup {}", manifest.backup_id));
        }
        if manifest.repository_id != self.id {
            return Err(format!(
                "it belongs to repository {}, this is {}",
                manifest.repository_id, self.id
            ));
        }
        manifest.index.iter().try_for_each(index::check_piece)
    }

    /// A whole backup: the root and its records, all numbers in them checked.
    ///
    /// # Errors
    /// As for [`Repository::read_manifest`]; `Damaged` also for the index.
    pub async fn read_backup(&self, backup_id: &BackupId) -> Result<Backup> {
        let stored = self.read_manifest(backup_id).await?;
        self.read_index(stored).await
    }

    /// The records of a root that was read before. Beside what they come to, one piece of the index is in memory.
    ///
    /// # Errors
    /// `Damaged`, or the store's own.
    pub async fn read_index(&self, stored: StoredManifest) -> Result<Backup> {
        let assembly = index::Assembly::new(stored.manifest.clone(), stored.sha256);
        Box::pin(self.assemble(stored, assembly)).await
    }

    /// The chunks of a root that was read before. All records are checked as for [`Repository::read_index`]; those of tables and
    /// other objects, of which there may be as many as rows in a catalog, are not kept.
    pub(super) async fn read_chunks_of_index(&self, stored: StoredManifest) -> Result<Vec<Chunk>> {
        let assembly = index::Assembly::of_chunks(stored.manifest.clone(), stored.sha256);
        Ok(Box::pin(self.assemble(stored, assembly)).await?.chunks)
    }

    async fn assemble(&self, stored: StoredManifest, mut assembly: index::Assembly) -> Result<Backup> {
        let key = Key::Manifest(stored.manifest.backup_id.clone()).to_string();
        let damaged = |reason| Error::damaged(&key, format!("its index does not fit together: {reason}"));
        let mut records = self.records(&stored);
        while let Some(piece) = records.next().await? {
            let grown = tokio::task::spawn_blocking(move || assembly.add(piece).map(|()| assembly));
            assembly = grown.await?.map_err(damaged)?;
        }
        assembly.finish().map_err(damaged)
    }

    /// The raw index of a root: its records, line by line.
    pub(super) async fn read_index_lines(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        for chunk in &manifest.index {
            lines.extend(self.read_all_frames(chunk).await?);
        }
        Ok(lines)
    }

    /// One chunk, its size and SHA-256 found right.
    ///
    /// # Errors
    /// `Damaged` with the chunk's key, or the store's own.
    pub async fn read_chunk(&self, chunk: &Chunk) -> Result<ChunkBytes> {
        Ok(ChunkBytes::new(chunk, self.read_stored(chunk).await?))
    }

    /// The same as it is stored.
    pub(super) async fn read_stored(&self, chunk: &Chunk) -> Result<Bytes> {
        match self.read_newest(chunk).await {
            Err(damaged @ Error::Damaged { .. }) => self.read_older_chunk(chunk, damaged).await,
            newest => newest,
        }
    }

    /// The same, and no older version in its place: what a store without versions would have lost is damage.
    pub(super) async fn read_newest(&self, chunk: &Chunk) -> Result<Bytes> {
        twice_if_damaged(|| self.read_stored_once(chunk)).await
    }

    async fn read_stored_once(&self, chunk: &Chunk) -> Result<Bytes> {
        // What is longer than it should be is refused before it is read, what is shorter right after.
        let stored = self.store.get_at_most(&chunk.key, chunk.stored_bytes).await;
        let stored = stored.map_err(Error::of_get)?;
        check_size(chunk, &stored)?;
        let (stored, sha256) = tokio::task::spawn_blocking(move || {
            let sha256 = Sha256Digest::of(&stored);
            (stored, sha256)
        })
        .await?;
        if sha256 == chunk.stored_sha256 {
            Ok(stored)
        } else {
            Err(Error::damaged(&chunk.key, format!("its SHA-256 is {sha256}")))
        }
    }

    /// Raw bytes of `segments`, one after the other. For what is small: it is all held in memory.
    ///
    /// # Errors
    /// `Damaged` with the key of the chunk at fault, or the store's own.
    pub async fn read_segments(&self, backup: &Backup, segments: &[Segment]) -> Result<Bytes> {
        let mut raw = Vec::new();
        let mut last: Option<(u32, ChunkBytes)> = None;
        for segment in segments {
            let bytes = match last.take() {
                Some((number, bytes)) if number == segment.chunk => bytes,
                _ => self.read_chunk(chunk_of(backup, segment)?).await?,
            };
            let (of_frame, frame) = (bytes.clone(), segment.frame as usize);
            raw.extend(tokio::task::spawn_blocking(move || of_frame.frame_bytes(frame)).await??);
            last = Some((segment.chunk, bytes));
        }
        Ok(raw.into())
    }

    pub(super) async fn read_all_frames(&self, chunk: &Chunk) -> Result<Vec<u8>> {
        let bytes = self.read_chunk(chunk).await?;
        tokio::task::spawn_blocking(move || {
            let mut raw = Vec::new();
            for number in 0..bytes.frames().len() {
                raw.extend(bytes.frame_bytes(number)?);
            }
            Ok(raw)
        })
        .await?
    }
}

/// What arrives damaged is read once more: a byte may be lost on the way, and only what is stored wrong is damage.
///
/// # Errors
/// The second reading's, if there is one.
pub(super) async fn twice_if_damaged<T, R>(read: impl Fn() -> R) -> Result<T>
where
    R: Future<Output = Result<T>>,
{
    match read().await {
        Err(Error::Damaged { key, reason }) => {
            tracing::warn!(key, reason, "arrived damaged, reading it again");
            read().await
        }
        first => first,
    }
}

fn check_size(chunk: &Chunk, stored: &Bytes) -> Result<()> {
    if stored.len() as u64 == chunk.stored_bytes {
        return Ok(());
    }
    let reason = format!("it has {} bytes instead of {}", stored.len(), chunk.stored_bytes);
    Err(Error::damaged(&chunk.key, reason))
}

fn chunk_of<'a>(backup: &'a Backup, segment: &Segment) -> Result<&'a Chunk> {
    let chunk = backup.chunks.get(segment.chunk as usize);
    chunk.ok_or_else(|| Error::invalid(format!("there is no chunk {}", segment.chunk)))
}

#[cfg(test)]
mod tests;
