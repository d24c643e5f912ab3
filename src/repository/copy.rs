//! Backups into another repository: what is missing there and nothing else, every chunk's digest checked on the way, a
//! root never before its chunks. Interrupted anywhere, the next copy goes on.
//!
//! What lies in the other repository already may be about to be deleted: a chunk that no root refers to is litter to
//! `prune`, whatever we are about to write. So a copy says first what it brings (`incoming/<backup_id>.json`, which
//! protects a root's chunks as the root itself would), and then relies on a chunk that it finds there only if a backup
//! there refers to it, or if it is younger than that word, or if the word is older than the grace period: whoever
//! decided before it was given has deleted by then. One that is gone is brought, whoever needs it; one that was found
//! damaged there keeps its backup back.

mod found;
mod people;
mod words;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::damage::KnownDamage;
use super::error::{Error, Result};
use super::id::{BackupId, Sha256Digest};
use super::layout::Key;
use super::locks::{self, KnownLocks};
use super::manifest::Chunk;
use super::presence::stored_objects;
use super::reader::{Repository, StoredManifest};
use super::retention::{Declining, Policy};
use crate::storage::{ErrorKind, ObjectMeta, ObjectStore, Put};
use crate::telemetry::failpoint;
use crate::telemetry::progress::Progress;
use found::Rules;
use people::{copy_acceptances, copy_holds_of};
use words::copy_words;

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Chunks on their way at once; each is a few MiB in memory.
    pub concurrency: usize,
    /// As long as `prune` over there spares what nothing refers to.
    pub grace: Duration,
    /// What is kept over there: a backup that these rules would let go at once is not brought.
    pub policy: Policy,
    /// Locks over there that were seen to before; whoever copies again hands them on.
    pub known_locks: Arc<KnownLocks>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct CopyReport {
    /// Backups that were there before.
    pub present: usize,
    /// Newest first.
    pub copied: Vec<BackupId>,
    /// Backups that could not be copied, newest first.
    pub left: Vec<Left>,
    /// Backups that are not brought, oldest first: an expiry over there has let them go, or the rules there would at once.
    pub let_go: Vec<BackupId>,
    pub copied_chunks: u64,
    pub copied_bytes: u64,
    /// Chunks that were there before, of the copied backups.
    pub reused_chunks: u64,
    pub copied_holds: u64,
    /// Verdicts of drills that were made here.
    pub copied_verdicts: u64,
    /// Every backup that has not to be brought any more.
    #[serde(skip)]
    pub settled: BTreeSet<BackupId>,
}

/// A backup that is not over there yet, and why.
#[derive(Debug, Serialize)]
pub struct Left {
    pub backup_id: BackupId,
    pub reason: String,
}

/// Why a backup stays behind while others go on.
enum Stays {
    /// By a trouble of its own.
    Because(String),
    /// The other repository or this one cannot be used; nothing else would do better.
    Broken(Error),
}

impl From<Error> for Stays {
    fn from(error: Error) -> Self {
        match error {
            Error::Storage(error) => Self::Broken(Error::Storage(error)),
            error => Self::Because(error.to_string()),
        }
    }
}

/// Copies every backup of `from` that `to` lacks and would keep, the newest first, every hold, and what drills have said.
///
/// # Errors
/// The stores' own. What was copied before stays.
pub async fn copy(
    from: &Repository,
    to: &Repository,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    if from.id() != to.id() {
        return Err(Error::OtherRepository {
            expected: from.id().clone(),
            found: to.id().clone(),
        });
    }
    copy_acceptances(from, to).await?;
    let copied_holds = copy_holds_of(from, to, None).await?;
    let there: BTreeSet<BackupId> = to.backup_ids().await?.into_iter().collect();
    let mut missing: BTreeSet<BackupId> = from.backup_ids().await?.into_iter().collect();
    let all = missing.len();
    missing.retain(|backup_id| !there.contains(backup_id));
    let damage = if missing.is_empty() {
        KnownDamage::default()
    } else {
        to.known_damage().await?
    };
    let mut copying = Copying {
        from,
        to,
        options,
        progress,
        damage,
        relied_on: HashSet::new(),
        there: there.clone(),
        seen: BTreeSet::new(),
        relied_since: to.store().now(),
        report: CopyReport {
            present: all - missing.len(),
            copied_holds,
            copied_verdicts: copy_words(from, to, &there).await?,
            ..CopyReport::default()
        },
    };
    copying.copy_wanted(missing).await?;
    let mut report = copying.report;
    if !report.copied.is_empty() {
        let copied = report.copied.iter().cloned().collect();
        report.copied_verdicts += copy_words(from, to, &copied).await?;
    }
    report.settled = there;
    report
        .settled
        .extend(report.copied.iter().chain(&report.let_go).cloned());
    Ok(report)
}

/// A copy under way.
struct Copying<'a> {
    from: &'a Repository,
    to: &'a Repository,
    options: &'a CopyOptions,
    progress: &'a dyn Progress,
    /// What was found damaged over there.
    damage: KnownDamage,
    /// Keys of chunks that a root over there refers to, as far as this run has seen.
    relied_on: HashSet<String>,
    /// Backups over there, and those whose chunks are among these.
    there: BTreeSet<BackupId>,
    seen: BTreeSet<BackupId>,
    /// When the oldest of these was seen, by the clock over there.
    relied_since: Timestamp,
    report: CopyReport,
}

impl Copying<'_> {
    /// Brings those of `missing` that the place would keep. Where one of them stays behind, what was declined for its sake
    /// is looked at again.
    async fn copy_wanted(&mut self, mut missing: BTreeSet<BackupId>) -> Result<()> {
        let mut declining = Declining::new(self.from, self.to, &self.options.policy);
        loop {
            let declined = declining.of(&missing).await?;
            self.report.let_go = declined.iter().cloned().collect();
            let left_before = self.report.left.len();
            let wanted: Vec<&BackupId> = missing.difference(&declined).collect();
            for backup_id in wanted.into_iter().rev() {
                self.try_backup(backup_id).await?;
            }
            if self.report.left.len() == left_before || declined.is_empty() {
                return Ok(());
            }
            missing = declined;
        }
    }

    async fn try_backup(&mut self, backup_id: &BackupId) -> Result<()> {
        let done = self.copy_backup(backup_id).await;
        self.progress.end();
        match done {
            Ok(()) => self.report.copied.push(backup_id.clone()),
            Err(Stays::Broken(error)) => return Err(error),
            // Expired since it was listed.
            Err(Stays::Because(_)) if !self.from.has_backup(backup_id).await? => {}
            Err(Stays::Because(reason)) => {
                tracing::warn!(%backup_id, reason, "this backup was not copied");
                let backup_id = backup_id.clone();
                self.report.left.push(Left { backup_id, reason });
            }
        }
        Ok(())
    }

    /// What the backup `there` refers to is safe: its root protects it, and for a grace period even when it expires.
    async fn rely_on(&mut self, there: &BackupId) -> Result<()> {
        self.seen.insert(there.clone());
        match self.to.read_backup(there).await {
            Ok(backup) => {
                let chunks = backup.manifest.index.iter().chain(&backup.chunks);
                self.relied_on.extend(chunks.map(|chunk| chunk.key.clone()));
                Ok(())
            }
            Err(Error::Storage(error)) => Err(error.into()),
            // Expired since it was listed.
            Err(Error::NoSuchBackup(_)) => Ok(()),
            Err(error) => {
                tracing::warn!(backup_id = %there, %error, "this backup of the copy cannot be read: nothing is taken from it");
                Ok(())
            }
        }
    }

    /// A backup that comes between others shares most with the next of them.
    async fn rely_on_neighbours(&mut self, backup_id: &BackupId) -> Result<()> {
        let older = self.there.range(..backup_id).next_back();
        let newer = self.there.range(backup_id..).next();
        let unseen = older.into_iter().chain(newer).filter(|next| !self.seen.contains(*next));
        let unseen: Vec<BackupId> = unseen.cloned().collect();
        for next in unseen {
            self.rely_on(&next).await?;
        }
        Ok(())
    }

    async fn copy_backup(&mut self, backup_id: &BackupId) -> std::result::Result<(), Stays> {
        self.progress.begin("copy", None);
        self.forget_what_is_old();
        self.rely_on_neighbours(backup_id).await?;
        let (stored, root) = self.from.read_root(backup_id).await?;
        let index = stored.manifest.index.clone();
        let chunks = self.chunks_of(stored.clone()).await?;
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
        self.report.reused_chunks += (chunks.len() - brought.len()) as u64;
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
        failpoint::reach("copy-before-manifest").await;
        put_root(self.to, backup_id, root, stored.sha256).await?;
        failpoint::reach("copy-after-manifest").await;
        withdraw(self.to.store().as_ref(), backup_id).await?;
        self.relied_on.extend(chunks.into_iter().map(|chunk| chunk.key));
        self.there.insert(backup_id.clone());
        self.seen.insert(backup_id.clone());
        Ok(())
    }

    /// Since when whoever looks over there finds both the announcement and what it announces.
    async fn announced(&self, index: &[Chunk], said: Timestamp) -> Result<Timestamp> {
        let keys = index.iter().map(|chunk| chunk.key.clone()).collect();
        let there = stored_objects(self.to.store().as_ref(), keys).await?;
        Ok(there.values().map(|object| object.modified).fold(said, Timestamp::max))
    }

    /// A root that was seen long ago may have expired since, and been pruned.
    fn forget_what_is_old(&mut self) {
        let now = self.to.store().now();
        if now.duration_since(self.relied_since).unsigned_abs() > self.options.grace / 2 {
            self.relied_since = now;
            self.relied_on.clear();
            self.seen.clear();
        }
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
                    self.relied_on.insert(chunk.key);
                }
                Err(Stays::Because(reason)) => first_reason = first_reason.or(Some(reason)),
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
                Some(object) => rules
                    .accept(chunk, object, self.relied_on.contains(&chunk.key))
                    .map_err(Stays::Because)?,
                None => missing.push(chunk.clone()),
            }
        }
        Ok(missing)
    }
}

/// Says in the other repository what is about to come, and when that was said, by its clock.
async fn announce(to: &dyn ObjectStore, backup_id: &BackupId, root: &Bytes) -> Result<Timestamp> {
    let key = Key::Incoming(backup_id.clone()).to_string();
    to.put_new(&key, root.clone()).await?;
    Ok(to.head(&key).await?.modified)
}

/// The root speaks for itself now. Where nothing may be deleted the word stays and does no harm.
async fn withdraw(to: &dyn ObjectStore, backup_id: &BackupId) -> Result<()> {
    match to.delete(&Key::Incoming(backup_id.clone()).to_string()).await {
        Err(error) if error.kind == ErrorKind::Denied => {
            tracing::debug!(%backup_id, "what announced this backup may not be deleted, and stays");
            Ok(())
        }
        done => Ok(done?),
    }
}

async fn copy_chunk(from: &Repository, to: &Repository, chunk: &Chunk) -> std::result::Result<(), Stays> {
    let stored = from.read_stored(chunk).await?;
    // One that has come meanwhile came from another copy under way, after this backup was announced.
    to.store().put_new(&chunk.key, stored).await.map_err(Error::from)?;
    Ok(())
}

async fn put_root(to: &Repository, backup_id: &BackupId, root: Bytes, sha256: Sha256Digest) -> Result<()> {
    let key = Key::Manifest(backup_id.clone()).to_string();
    if to.store().put_new(&key, root).await? == Put::Exists && to.read_manifest(backup_id).await?.sha256 != sha256 {
        return Err(Error::Conflict { key });
    }
    Ok(())
}

/// The repository in `store` that holds copies of `from`; made where there is none.
///
/// # Errors
/// `OtherRepository` when another one lies there; the store's own.
pub async fn open_copy(from: &Repository, store: Arc<dyn ObjectStore>) -> Result<Repository> {
    let to = Repository::open_or_create(store, from.id().clone()).await?;
    if to.id() == from.id() {
        return Ok(to);
    }
    Err(Error::OtherRepository {
        expected: from.id().clone(),
        found: to.id().clone(),
    })
}

#[cfg(test)]
mod kept;
#[cfg(test)]
mod tests;
