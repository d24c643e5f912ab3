//! The way of each backup: announced, its chunks brought and looked for, its root last.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::found::Rules;
use super::people::{copy_acceptance_of, copy_holds_of};
use super::reliance::Reliance;
use super::writes::{announce, copy_chunk, put_root, withdraw};
use super::{CopyOptions, CopyReport, Left, Stays};
use crate::repository::damage::KnownDamage;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::locks;
use crate::repository::manifest::Chunk;
use crate::repository::presence::stored_objects;
use crate::repository::reader::{Repository, StoredManifest};
use crate::repository::retention::Declining;
use crate::storage::ObjectMeta;
use crate::telemetry::failpoint;
use crate::telemetry::progress::Progress;

/// A copy under way.
pub(super) struct Copying<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
    pub(super) options: &'a CopyOptions,
    pub(super) progress: &'a dyn Progress,
    /// What was found damaged over there.
    pub(super) damage: KnownDamage,
    /// Those whose drift a person has accepted here.
    pub(super) accepted: BTreeSet<BackupId>,
    pub(super) reliance: Reliance<'a>,
    pub(super) report: CopyReport,
}

impl Copying<'_> {
    /// Brings those of `missing` that the place would keep. Where one of them stays behind, what was declined for its sake
    /// is looked at again.
    pub(super) async fn copy_wanted(&mut self, mut missing: BTreeSet<BackupId>) -> Result<()> {
        let mut declining = Declining::new(self.from, self.to, &self.options.policy);
        loop {
            let declined = declining.of(&missing).await?;
            self.report.let_go = declined.iter().cloned().collect();
            let left_before = self.report.left.len();
            let wanted: Vec<&BackupId> = missing.difference(&declined).collect();
            let mut waiting = Vec::new();
            for backup_id in wanted.into_iter().rev() {
                if let Some(reason) = self.try_backup(backup_id).await? {
                    waiting.push((backup_id.clone(), reason, self.report.copied.len()));
                }
            }
            // One that came after it may protect over there what it could not rely on.
            for (backup_id, reason, copied_then) in waiting {
                let reason = if self.report.copied.len() > copied_then {
                    self.try_backup(&backup_id).await?
                } else {
                    Some(reason)
                };
                if let Some(reason) = reason {
                    self.leave(&backup_id, reason);
                }
            }
            if self.report.left.len() == left_before || declined.is_empty() {
                return Ok(());
            }
            missing = declined;
        }
    }

    /// Why it waits for a neighbour, where it does.
    async fn try_backup(&mut self, backup_id: &BackupId) -> Result<Option<String>> {
        let done = self.copy_backup(backup_id).await;
        self.progress.end();
        match done {
            Ok(()) => self.report.copied.push(backup_id.clone()),
            Err(Stays::Broken(error)) => return Err(error),
            // Expired since it was listed.
            Err(_) if matches!(self.from.has_backup(backup_id).await, Ok(false)) => {}
            Err(Stays::Because(reason)) => self.leave(backup_id, reason),
            Err(Stays::Waiting(reason)) => return Ok(Some(reason)),
        }
        Ok(None)
    }

    fn leave(&mut self, backup_id: &BackupId, reason: String) {
        tracing::warn!(%backup_id, reason, "this backup was not copied");
        let backup_id = backup_id.clone();
        self.report.left.push(Left { backup_id, reason });
    }

    async fn copy_backup(&mut self, backup_id: &BackupId) -> std::result::Result<(), Stays> {
        self.progress.begin("copy", None);
        self.reliance.look_around(backup_id).await?;
        let (stored, root) = self.from.read_root(backup_id).await.map_err(Stays::of_read)?;
        let index = stored.manifest.index.clone();
        let chunks = self.chunks_of(stored.clone()).await.map_err(Stays::of_read)?;
        let said = announce(self.to.store().as_ref(), backup_id, &root).await?;
        failpoint::reach("copy-after-announcement").await;
        // The index first: without it nobody over there knows what has been announced.
        let missing = self.missing(&index, said).await?;
        let mut brought: HashSet<String> = missing.iter().map(|chunk| chunk.key.clone()).collect();
        self.bring(missing).await?;
        failpoint::reach("copy-after-index").await;
        let announced = self.announced(&index, said).await?;
        let missing = self.missing(&chunks, announced).await?;
        brought.extend(missing.iter().map(|chunk| chunk.key.clone()));
        let reused = (chunks.len() - brought.len()) as u64;
        let sizes = missing.iter().map(|chunk| chunk.stored_bytes);
        self.progress.begin("copy", Some(sizes.sum()));
        self.bring(missing).await?;
        failpoint::reach("copy-after-chunks").await;
        // Whatever was brought was brought since.
        let locks = &self.options.known_locks;
        locks.note_new(self.to.store().as_ref(), brought, said);
        let renewed = locks::renew(self.to.store().as_ref(), chunks.clone(), locks).await;
        renewed.map_err(|error| match error {
            Error::LostChunk { key, reason } => Stays::Because(format!(
                "'{key}' of the copy {reason}: remove it there, and it is brought anew"
            )),
            error => error.into(),
        })?;
        self.check_all(&chunks).await?;
        self.report.copied_holds += copy_holds_of(self.from, self.to, Some(backup_id)).await?;
        if self.accepted.contains(backup_id) {
            copy_acceptance_of(self.from, self.to, backup_id).await?;
        }
        failpoint::reach("copy-before-manifest").await;
        put_root(self.to, backup_id, root, stored.sha256).await?;
        failpoint::reach("copy-after-manifest").await;
        withdraw(self.to.store().as_ref(), backup_id).await?;
        self.report.reused_chunks += reused;
        self.reliance.add(backup_id, chunks);
        Ok(())
    }

    /// Since when whoever looks over there finds both the announcement and what it announces.
    async fn announced(&self, index: &[Chunk], said: Timestamp) -> Result<Timestamp> {
        let keys = index.iter().map(|chunk| chunk.key.clone()).collect();
        let there = stored_objects(self.to.store().as_ref(), keys).await?;
        Ok(there.values().map(|object| object.modified).fold(said, Timestamp::max))
    }

    /// Right before the root: every chunk is there, whoever brought it.
    async fn check_all(&self, chunks: &[Chunk]) -> std::result::Result<(), Stays> {
        let keys = chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let there = stored_objects(self.to.store().as_ref(), keys).await?;
        let is_there = |chunk: &&Chunk| there.get(&chunk.key).map(|object| object.bytes) == Some(chunk.stored_bytes);
        match chunks.iter().find(|chunk| !is_there(chunk)) {
            None => Ok(()),
            Some(lost) => Err(Stays::Because(format!(
                "'{}' of the copy has gone while the backup was brought: copy again",
                lost.key
            ))),
        }
    }

    /// Brings `missing`. One that is damaged here keeps the backup back and not the other chunks: older backups may be
    /// made of them.
    async fn bring(&mut self, missing: Vec<Chunk>) -> std::result::Result<(), Stays> {
        let (from, to) = (self.from, self.to);
        let brought =
            stream::iter(missing).map(|chunk| async move { copy_chunk(from, to, &chunk).await.map(|()| chunk) });
        let mut brought = brought.buffer_unordered(self.options.concurrency);
        let mut first_reason = None;
        while let Some(chunk) = brought.next().await {
            match chunk {
                Ok(chunk) => {
                    self.progress.advance(chunk.stored_bytes);
                    self.report.copied_chunks += 1;
                    self.report.copied_bytes += chunk.stored_bytes;
                    // What announced this backup protects it from here on, also for the next one.
                    self.reliance.add_chunk(chunk.key);
                }
                Err(Stays::Because(reason) | Stays::Waiting(reason)) => first_reason = first_reason.or(Some(reason)),
                Err(broken @ Stays::Broken(_)) => return Err(broken),
            }
        }
        first_reason.map_or(Ok(()), |reason| Err(Stays::Because(reason)))
    }

    /// Every chunk that a root refers to, once.
    async fn chunks_of(&self, stored: StoredManifest) -> Result<Vec<Chunk>> {
        let backup = self.from.read_index(stored).await?;
        let mut seen = HashSet::new();
        let chunks = backup.manifest.index.into_iter().chain(backup.chunks);
        Ok(chunks.filter(|chunk| seen.insert(chunk.key.clone())).collect())
    }

    /// Those of `chunks` that have to be brought: what is not there, also of what a root over there needs. `announced`:
    /// since when the backup is.
    async fn missing(&self, chunks: &[Chunk], announced: Timestamp) -> std::result::Result<Vec<Chunk>, Stays> {
        let grace = self.options.grace;
        let safe_after = self.to.store().now() - grace;
        let keys = chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let there: HashMap<String, ObjectMeta> = stored_objects(self.to.store().as_ref(), keys).await?;
        let rules = Rules {
            damage: &self.damage,
            announced: (announced > safe_after).then_some(announced),
            grace,
        };
        let mut missing = Vec::new();
        for chunk in chunks {
            match there.get(&chunk.key) {
                Some(object) => rules.accept(chunk, object, self.reliance.covers(&chunk.key))?,
                None => missing.push(chunk.clone()),
            }
        }
        Ok(missing)
    }
}
