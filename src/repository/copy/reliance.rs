//! Which chunks over there are safe to rely on, because a backup there refers to them.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::manifest::Chunk;
use crate::repository::reader::Repository;

/// What is known of it, as far as this run has looked.
pub(super) struct Reliance<'a> {
    to: &'a Repository,
    grace: Duration,
    /// Keys of chunks that a root over there refers to.
    chunks: HashSet<String>,
    /// Backups over there, and those whose chunks are among these.
    there: BTreeSet<BackupId>,
    seen: BTreeSet<BackupId>,
    /// When the oldest of these was seen, by the clock over there.
    since: Timestamp,
}

impl<'a> Reliance<'a> {
    pub(super) fn new(to: &'a Repository, there: BTreeSet<BackupId>, grace: Duration) -> Self {
        Self {
            to,
            grace,
            chunks: HashSet::new(),
            there,
            seen: BTreeSet::new(),
            since: to.store().now(),
        }
    }

    /// Whether a root over there protects the chunk.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.chunks.contains(key)
    }

    /// `backup_id` has come over there.
    pub(super) fn add(&mut self, backup_id: &BackupId, chunks: Vec<Chunk>) {
        self.chunks.extend(chunks.into_iter().map(|chunk| chunk.key));
        self.there.insert(backup_id.clone());
        self.seen.insert(backup_id.clone());
    }

    /// An announced backup protects it.
    pub(super) fn add_chunk(&mut self, key: String) {
        self.chunks.insert(key);
    }

    /// Looks at the neighbours of `backup_id`: one that comes between others shares most with the next of them.
    pub(super) async fn look_around(&mut self, backup_id: &BackupId) -> Result<()> {
        self.forget_what_is_old();
        let older = self.there.range(..backup_id).next_back();
        let newer = self.there.range(backup_id..).next();
        let unseen = older.into_iter().chain(newer).filter(|next| !self.seen.contains(*next));
        let unseen: Vec<BackupId> = unseen.cloned().collect();
        for next in unseen {
            self.rely_on(&next).await?;
        }
        Ok(())
    }

    /// A root that was seen long ago may have expired since, and been pruned.
    fn forget_what_is_old(&mut self) {
        let now = self.to.store().now();
        if now.duration_since(self.since).unsigned_abs() > self.grace / 2 {
            self.since = now;
            self.chunks.clear();
            self.seen.clear();
        }
    }

    /// What the backup `there` refers to is safe: its root protects it, and for a grace period even when it expires.
    async fn rely_on(&mut self, there: &BackupId) -> Result<()> {
        self.seen.insert(there.clone());
        match self.to.read_backup(there).await {
            Ok(backup) => {
                let chunks = backup.manifest.index.iter().chain(&backup.chunks);
                self.chunks.extend(chunks.map(|chunk| chunk.key.clone()));
                Ok(())
            }
            Err(error @ Error::Storage(_)) if !error.is_refused_object() => Err(error),
            // Expired since it was listed.
            Err(Error::NoSuchBackup(_)) => Ok(()),
            Err(error) => {
                tracing::warn!(backup_id = %there, %error, "this backup of the copy cannot be read: nothing is taken from it");
                Ok(())
            }
        }
    }
}
