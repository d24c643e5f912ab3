//! Pruning: chunks that nothing refers to are deleted, page by page of a listing.
//!
//! Right before each deletion everything is looked at once more, so that a backup that came to exist meanwhile is marked.
//! What one under way may refer to is younger than the grace period, or belonged to a manifest within it. Nothing is kept
//! between runs: an interrupted one is simply begun again.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::by_name::ByName;
use super::leftovers::{Leftovers, collect};
use super::mark::Marks;
use crate::repository::error::Result;
use crate::repository::index::ChunkName;
use crate::repository::layout;
use crate::repository::reader::Repository;
use crate::storage::{ErrorKind, ObjectMeta};
use crate::telemetry::failpoint;

const PAGE: usize = 1000;

/// What to prune by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOptions {
    /// Nothing younger goes, and nothing that a manifest referred to within it. Longer than any backup takes.
    pub grace: Duration,
    /// Count, and change nothing.
    pub dry_run: bool,
}

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    pub objects: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneOutcome {
    Done,
    /// Nothing was looked at further, nor deleted: a backup lacks what nobody has let go.
    Frozen,
    /// Stopped before the end; the next run goes on.
    Interrupted,
}

/// What was found and done. The four counts of chunks add up to all there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    pub outcome: PruneOutcome,
    /// Why deletion is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// A cluster none of whose backups is certified: then what was expired keeps its chunks, however long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
    pub dry_run: bool,
    /// Manifests, and those expired within the grace period, whose chunks were marked.
    pub manifests: u64,
    pub tombstones: u64,
    /// Distinct chunks that they refer to.
    pub marked: u64,
    /// Memory that their names took at most.
    pub marked_bytes: u64,
    pub referenced: Counted,
    /// Nothing refers to them, and they are too young to go.
    pub young: Counted,
    /// Gone; in a dry run, would go.
    pub deleted: Counted,
    /// The store keeps them: Object Lock, a policy, or credentials that may not delete.
    pub retained: Counted,
    pub leftovers: Leftovers,
    /// Whether the store let us see manifests that are hidden behind deletions. There are none that were not expired.
    pub hidden_seen: bool,
}

impl Counted {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    fn add_all<'a>(&mut self, objects: impl IntoIterator<Item = &'a ObjectMeta>) {
        for object in objects {
            self.add(object.bytes);
        }
    }
}

/// Deletes what nothing needs.
///
/// # Errors
/// `Unmarked` when it is not known what a backup needs, `Damaged` when backups have vanished: nothing more is deleted then. The
/// store's own, except that it refuses to delete.
pub async fn prune(repository: &Repository, options: &PruneOptions, cancel: &CancellationToken) -> Result<PruneReport> {
    // An early answer errs on the side of keeping; a guess might not.
    let now = repository.store().tell_time(layout::MANIFESTS).await?;
    let cutoff = now.checked_sub(options.grace).unwrap_or(Timestamp::MIN);
    // Before the manifests: a backup that is made and drilled meanwhile has not vanished.
    let mut marks = Marks::new(ByName::look(repository).await?);
    marks.refresh(repository, cutoff, !options.dry_run).await?;
    marks.stop_where_proof_vanished()?;
    let unproven = marks.keep_what_may_be_needed(repository, cutoff).await?;
    if unproven.is_some() {
        marks.refresh(repository, cutoff, !options.dry_run).await?;
    }
    for backup_id in marks.held_away() {
        tracing::warn!(%backup_id, "held, and let go all the same: its chunks stay, and the next expiry puts its manifest back");
    }
    if let Some(why) = marks.frozen(repository).await? {
        return Ok(PruneReport {
            outcome: PruneOutcome::Frozen,
            frozen: Some(why),
            ..PruneReport::new(options, &marks, cutoff)
        });
    }
    failpoint::reach("prune-after-mark").await;
    let mut run = Run {
        repository,
        options,
        cutoff,
        report: PruneReport {
            unproven,
            ..PruneReport::new(options, &marks, cutoff)
        },
        marks,
    };
    let is_whole = run.sweep(cancel).await?;
    if is_whole && !options.dry_run {
        // The sweep may have taken long: a backup may have been expired, or brought, since the last look.
        run.marks.refresh(repository, cutoff, true).await?;
        run.report.leftovers = collect(repository, &run.marks, cutoff).await?;
    }
    if !is_whole && run.report.outcome != PruneOutcome::Frozen {
        run.report.outcome = PruneOutcome::Interrupted;
    }
    run.report.marked = run.marks.len() as u64;
    run.report.marked_bytes = run.marks.peak_bytes() as u64;
    Ok(run.report)
}

impl PruneReport {
    fn new(options: &PruneOptions, marks: &Marks, cutoff: Timestamp) -> Self {
        Self {
            outcome: PruneOutcome::Done,
            frozen: None,
            unproven: None,
            dry_run: options.dry_run,
            manifests: marks.manifests.len() as u64,
            tombstones: marks.in_force(cutoff).count() as u64,
            marked: 0,
            marked_bytes: 0,
            referenced: Counted::default(),
            young: Counted::default(),
            deleted: Counted::default(),
            retained: Counted::default(),
            leftovers: Leftovers::default(),
            hidden_seen: marks.hidden.are_seen(),
        }
    }
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a PruneOptions,
    /// What is younger stays.
    cutoff: Timestamp,
    marks: Marks,
    report: PruneReport,
}

impl Run<'_> {
    /// Whether it came to the end.
    async fn sweep(&mut self, cancel: &CancellationToken) -> Result<bool> {
        let mut after: Option<String> = None;
        loop {
            if cancel.is_cancelled() {
                return Ok(false);
            }
            let store = self.repository.store();
            let page = store.list(layout::CHUNKS, after.as_deref(), PAGE).await?;
            after = page.objects.last().map(|object| object.key.clone()).or(after);
            let candidates = self.candidates(page.objects);
            if !candidates.is_empty() {
                if !self.delete(candidates).await? {
                    return Ok(false);
                }
                failpoint::reach("prune-after-batch").await;
            }
            if !page.truncated {
                return Ok(true);
            }
        }
    }

    /// Old enough and not marked. What is no chunk by its name is nobody's, and stays.
    fn candidates(&mut self, objects: Vec<ObjectMeta>) -> Vec<(ChunkName, ObjectMeta)> {
        let mut candidates = Vec::new();
        for object in objects {
            let Some(name) = ChunkName::of_key(&object.key) else {
                continue;
            };
            if self.marks.contains(&name) {
                self.report.referenced.add(object.bytes);
            } else if object.modified > self.cutoff {
                self.report.young.add(object.bytes);
            } else {
                candidates.push((name, object));
            }
        }
        candidates
    }

    /// Whether deletion may go on.
    async fn delete(&mut self, candidates: Vec<(ChunkName, ObjectMeta)>) -> Result<bool> {
        let may_write = !self.options.dry_run;
        self.marks.refresh(self.repository, self.cutoff, may_write).await?;
        self.marks.stop_without_backups()?;
        if let Some(why) = self.marks.frozen(self.repository).await? {
            self.report.outcome = PruneOutcome::Frozen;
            self.report.frozen = Some(why);
            return Ok(false);
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(name, _)| self.marks.contains(name));
        self.report.referenced.add_all(wanted.iter().map(|(_, object)| object));
        let objects: Vec<ObjectMeta> = unwanted.into_iter().map(|(_, object)| object).collect();
        if self.options.dry_run {
            self.report.deleted.add_all(&objects);
            return Ok(true);
        }
        let keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
        let stay = match self.repository.store().delete_many(&keys).await {
            Ok(stay) => stay,
            Err(error) if error.kind == ErrorKind::Denied => {
                tracing::warn!(%error, "these chunks may not be deleted");
                self.report.retained.add_all(&objects);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        for error in &stay {
            tracing::debug!(key = error.key, %error, "a chunk stays");
        }
        let is_left = |object: &ObjectMeta| stay.iter().any(|error| error.key == object.key);
        let (left, gone): (Vec<_>, Vec<_>) = objects.iter().partition(|object| is_left(object));
        self.report.retained.add_all(left);
        self.report.deleted.add_all(gone);
        match stay.into_iter().find(|error| error.kind != ErrorKind::Denied) {
            Some(error) => Err(error.into()),
            None => Ok(true),
        }
    }
}
