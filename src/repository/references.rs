//! The chunks that a backup refers to, by name alone: one record of its index in memory at a time.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::{Error, Result};
use super::id::BackupId;
use super::index::{self, ChunkName};
use super::layout::Key;
use super::manifest::Manifest;
use super::reader::Repository;

/// Indexes read at the same time; each is in memory as a whole.
pub(super) const INDEXES_AT_ONCE: usize = 4;

impl Repository {
    /// Every chunk that the backup refers to, its index included.
    ///
    /// # Errors
    /// `Damaged` for an index that cannot be read; the store's own.
    pub(super) async fn chunk_names_of(&self, manifest: Manifest) -> Result<Vec<ChunkName>> {
        let key = Key::Manifest(manifest.backup_id.clone()).to_string();
        let lines = self.read_index_lines(&manifest).await?;
        let parsed = tokio::task::spawn_blocking(move || {
            let mut names = index::chunk_names(&lines)?;
            for chunk in &manifest.index {
                names.push(ChunkName::of(chunk)?);
            }
            Ok::<_, String>(names)
        });
        parsed
            .await?
            .map_err(|reason| Error::damaged(key, format!("its index cannot be read: {reason}")))
    }

    /// Which of `chunks` each of these backups needs, for those that need any. One whose index cannot be read may need
    /// every one of them.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn needed_of(
        &self,
        chunks: &BTreeSet<ChunkName>,
        backups: BTreeSet<BackupId>,
    ) -> Result<BTreeMap<BackupId, Vec<ChunkName>>> {
        let needed = stream::iter(backups)
            .map(|backup_id| async move {
                let names = match self.read_manifest(&backup_id).await {
                    Ok(stored) => self.chunk_names_of(stored.manifest).await,
                    Err(error) => Err(error),
                };
                let needed = match names {
                    Ok(mut names) => {
                        names.retain(|name| chunks.contains(name));
                        names
                    }
                    // Expired since it was listed.
                    Err(Error::NoSuchBackup(_)) => Vec::new(),
                    Err(error) if error.is_unreadable_object() || error.is_refused_object() => {
                        tracing::debug!(%backup_id, %error, "may need anything");
                        chunks.iter().copied().collect()
                    }
                    Err(error) => return Err(error),
                };
                Ok::<_, Error>((backup_id, needed))
            })
            .buffer_unordered(INDEXES_AT_ONCE)
            .try_filter(|(_, needed)| std::future::ready(!needed.is_empty()));
        needed.try_collect().await
    }
}
