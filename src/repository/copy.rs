//! Backups into another repository: what is missing there and nothing else, every chunk's digest checked on the way, a
//! root never before its chunks. Interrupted anywhere, the next copy goes on.
//!
//! What lies in the other repository already may be about to be deleted: a chunk that no root refers to is litter to
//! `prune`, whatever we are about to write. So a copy says first what it brings (`incoming/<backup_id>.json`, which
//! protects a root's chunks as the root itself would), and then relies on a chunk that it finds there only if a backup
//! there refers to it, or if it is younger than that word, or if the word is older than the grace period: whoever
//! decided before it was given has deleted by then. One that is gone is brought, whoever needs it; one that was found
//! damaged there keeps its backup back until somebody has removed it.

mod copying;
mod found;
mod mend;
mod people;
mod reliance;
mod words;
mod writes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::error::{Error, Result};
use super::id::BackupId;
use super::locks::{self, KnownLocks};
use super::reader::Repository;
use super::retention::Policy;
use crate::storage::ObjectStore;
use crate::telemetry::causes;
use crate::telemetry::progress::Progress;
use copying::Copying;
use mend::bring_what_was_removed;
use people::{copy_acceptances, copy_holds_of};
use reliance::Reliance;
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
    /// Backups that could not be copied, newest first, and before them those that lack there what was removed as damaged and
    /// could not be brought anew.
    pub left: Vec<Left>,
    /// Backups that are not brought, oldest first: an expiry over there has let them go, or the rules there would at once.
    pub let_go: Vec<BackupId>,
    pub copied_chunks: u64,
    pub copied_bytes: u64,
    /// Chunks that were there before, of the copied backups.
    pub reused_chunks: u64,
    pub copied_holds: u64,
    /// Chunks, also among the copied ones, that were found damaged over there, had been removed, and are there again.
    pub mended_chunks: u64,
    /// Verdicts of drills that were made here.
    pub copied_verdicts: u64,
    /// Every backup of which nothing has to be brought any more.
    #[serde(skip)]
    pub settled: BTreeSet<BackupId>,
}

/// A backup that is not over there yet, or not whole there, and why.
#[derive(Debug, Serialize)]
pub struct Left {
    pub backup_id: BackupId,
    pub reason: String,
}

/// Why a backup stays behind while others go on.
enum Stays {
    /// By a trouble of its own.
    Because(String),
    /// Nothing over there protects what it could rely on; once a neighbour has come, that may.
    Waiting(String),
    /// The other repository or this one cannot be used; nothing else would do better.
    Broken(Error),
}

impl Stays {
    /// What could not be read of one backup: an object that its store keeps back, under a key that is gone or in an archive,
    /// is that backup's own trouble.
    fn of_read(error: Error) -> Self {
        if error.is_refused_object() {
            return Self::Because(causes::chain(&error));
        }
        error.into()
    }
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
    locks::renew_name(to).await?;
    let there: BTreeSet<BackupId> = to.backup_ids().await?.into_iter().collect();
    let accepted = copy_acceptances(from, to, &there).await?;
    let copied_holds = copy_holds_of(from, to, None).await?;
    let mut missing: BTreeSet<BackupId> = from.backup_ids().await?.into_iter().collect();
    let all = missing.len();
    missing.retain(|backup_id| !there.contains(backup_id));
    let damage = to.known_damage().await?;
    let report = CopyReport {
        present: all - missing.len(),
        copied_holds,
        copied_verdicts: copy_words(from, to, &there).await?,
        ..bring_what_was_removed(from, to, &damage, &there).await?
    };
    let mut copying = Copying {
        from,
        to,
        options,
        progress,
        damage,
        accepted,
        reliance: Reliance::new(to, there.clone(), options.grace),
        report,
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
    // What is there and not whole has still to be brought.
    for left in &report.left {
        report.settled.remove(&left.backup_id);
    }
    Ok(report)
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
