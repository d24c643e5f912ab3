//! What must stay: the names of all chunks that a manifest refers to which exists now or existed within the grace period.
//!
//! Memory: 36 bytes a distinct chunk, up to four times that (and never less than a few MiB) while names are being added,
//! and the indexes of [`INDEXES_AT_ONCE`] backups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::by_name::{self, ByName};
use super::hidden::{self, HiddenManifests};
use super::plan::Proof;
use super::survey::Verdicts;
use super::tombstone::Tombstone;
use crate::repository::drift::{DriftRecord, DriftState, frozen};
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::index::ChunkName;
use crate::repository::layout::{self, Key};
use crate::repository::manifest::Manifest;
use crate::repository::reader::Repository;
use crate::repository::references::INDEXES_AT_ONCE;
use crate::storage::{ErrorKind, list_all};

/// A copy of one backup that takes longer has been given up.
const MONTH: Duration = Duration::from_hours(30 * 24);

/// Names that are collected before they are sorted in.
const FRESH: usize = 64 * 1024;

/// The chunks that stay, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Marks {
    sorted: Vec<ChunkName>,
    fresh: Vec<ChunkName>,
    peak_bytes: usize,
    /// Backups and tombstones whose chunks are in it.
    read: BTreeSet<BackupId>,
    /// What roots say of what their backups lack, by cluster.
    drift: BTreeMap<String, Vec<DriftRecord>>,
    pub(super) manifests: BTreeSet<BackupId>,
    pub(super) tombstones: BTreeMap<BackupId, Tombstone>,
    /// Since when backups are held; looked at where tombstones have had their time.
    held: BTreeMap<BackupId, Timestamp>,
    /// Backups that copies are bringing here, and since when.
    incoming: BTreeMap<BackupId, Timestamp>,
    /// Backups whose manifests a store with versions still has, behind a deletion.
    pub(super) hidden: HiddenManifests,
    /// It has been asked, and need not be again where it cannot say so.
    has_asked_hidden: bool,
    /// What was asked for beside the listings.
    by_name: ByName,
    /// Nothing that exists of some cluster is proven: what was expired is all that may be.
    keeps_expired: bool,
}

impl Marks {
    pub(super) fn new(by_name: ByName) -> Self {
        Self {
            by_name,
            ..Self::default()
        }
    }

    /// Looks at what there is and marks what was not known. Nothing is ever taken back.
    ///
    /// # Errors
    /// `Unmarked` when a root or an index cannot be read, or a manifest was hidden by who did not expire it; `Damaged` when one
    /// is there that no listing shows; the store's own.
    pub(super) async fn refresh(&mut self, repository: &Repository, cutoff: Timestamp, may_write: bool) -> Result<()> {
        self.list(repository).await?;
        self.ask_by_name(repository, cutoff).await?;
        hidden::stop(self.hidden.unexplained(&self.manifests, &self.tombstones))?;
        let has_had_its_time = |tombstone: &Tombstone| tombstone.is_there() && is_gone_since(tombstone, cutoff);
        if self.tombstones.values().any(has_had_its_time) {
            self.held = repository.held_since().await?;
        }
        if may_write {
            self.complete_tombstones(repository).await?;
        }
        let unread: Vec<BackupId> = self
            .manifests
            .iter()
            .chain(self.in_force(cutoff))
            .chain(self.incoming.keys())
            .filter(|backup_id| !self.read.contains(*backup_id))
            .cloned()
            .collect();
        let given_up: BTreeSet<BackupId> = self.abandoned(cutoff).chain(self.overdue(cutoff)).cloned().collect();
        let given_up = &given_up;
        let mut roots = stream::iter(unread)
            .map(|backup_id| async move {
                let marked = match read(repository, &backup_id).await {
                    Ok(marked) => Some(marked),
                    // Its index has not even come, or has gone before the others were refuted: nothing of it has to stay.
                    Err(error) if given_up.contains(&backup_id) && is_away(&error) => None,
                    Err(error) => return Err(Error::unmarked(&backup_id, error)),
                };
                Ok::<_, Error>((backup_id, marked))
            })
            .buffer_unordered(INDEXES_AT_ONCE);
        while let Some((backup_id, marked)) = roots.try_next().await? {
            // What gave nothing is asked again at the next look: its index may come.
            if let Some(Marked { names, cluster, drift }) = marked {
                self.add(names);
                self.drift.entry(cluster).or_default().push(drift);
                self.read.insert(backup_id);
            }
        }
        self.settle();
        Ok(())
    }

    /// What comes is listed before manifests, and these and the hidden ones before tombstones: whatever goes from one to the
    /// next in between is seen in the latter.
    async fn list(&mut self, repository: &Repository) -> Result<()> {
        self.incoming = incoming(repository).await?;
        self.manifests = repository.backups_without_strangers().await?;
        if self.hidden.are_seen() || !self.has_asked_hidden {
            self.hidden = HiddenManifests::look(repository).await?;
            self.has_asked_hidden = true;
        }
        self.tombstones = repository.tombstones().await?;
        Ok(())
    }

    /// Asks for what the listings may not show, and lists once more where they were old.
    async fn ask_by_name(&mut self, repository: &Repository, cutoff: Timestamp) -> Result<()> {
        let over = self.tombstones.iter();
        let over = over.filter(|(_, tombstone)| tombstone.is_there() && is_gone_since(tombstone, cutoff));
        let buried = over.map(|(backup_id, _)| backup_id.clone()).collect();
        let unlisted = self.by_name.unlisted(repository, &self.manifests, buried).await?;
        if !unlisted.is_empty() {
            self.list(repository).await?;
            by_name::stop(&unlisted, &self.manifests)?;
        }
        self.by_name.mend(&mut self.tombstones);
        Ok(())
    }

    /// Why nothing at all may be deleted: a backup that exists lacks what nobody has let go. Chunks belong to no cluster.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn frozen(&self, repository: &Repository) -> Result<Option<String>> {
        let accepted = repository.accepted_drifts().await?;
        let frozen = self.drift.values().find_map(|records| {
            let existing = records
                .iter()
                .filter(|record| self.manifests.contains(&record.backup_id));
            let records: Vec<DriftRecord> = existing
                .map(|record| DriftRecord {
                    is_accepted: accepted.contains(&record.backup_id),
                    ..record.clone()
                })
                .collect();
            frozen(&records)
        });
        Ok(frozen.map(|frozen| frozen.to_string()))
    }

    pub(super) fn contains(&self, name: &ChunkName) -> bool {
        self.sorted.binary_search(name).is_ok()
    }

    /// Distinct chunks.
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether the manifest has been gone for long enough, and nobody has held the backup in time.
    pub(super) fn is_over(&self, backup_id: &BackupId, tombstone: &Tombstone, cutoff: Timestamp) -> bool {
        !self.keeps_expired && is_gone_since(tombstone, cutoff) && !self.is_held(backup_id, tombstone)
    }

    /// Those that a person held while an expiry was letting them go, and that nobody has put back yet.
    pub(super) fn held_away(&self) -> impl Iterator<Item = &BackupId> {
        let away = self.tombstones.iter().filter(|(id, _)| !self.manifests.contains(*id));
        let held = away.filter(|(backup_id, tombstone)| self.is_held(backup_id, tombstone));
        held.map(|(backup_id, _)| backup_id)
    }

    fn is_held(&self, backup_id: &BackupId, tombstone: &Tombstone) -> bool {
        let since = self.held.get(backup_id);
        since.is_some_and(|since| tombstone.is_held_in_time(*since))
    }

    /// Lets no expired backup go while a cluster has backups here and none of them is proven, and says which cluster that is. A
    /// verification may have refuted what was certified when the expired ones went.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn keep_what_may_be_needed(
        &mut self,
        repository: &Repository,
        cutoff: Timestamp,
    ) -> Result<Option<String>> {
        let mut tombstones = self.tombstones.iter();
        if !tombstones.any(|(id, tombstone)| tombstone.is_there() && self.is_over(id, tombstone, cutoff)) {
            return Ok(None);
        }
        let verdicts = Verdicts::read(repository).await?;
        let lacks_proof = |records: &Vec<DriftRecord>| {
            let mut existing = records
                .iter()
                .map(|record| &record.backup_id)
                .filter(|backup_id| self.manifests.contains(*backup_id))
                .peekable();
            existing.peek().is_some() && !existing.any(|backup_id| verdicts.of(backup_id).0 == Proof::Certified)
        };
        let cluster = self.drift.iter().find(|(_, records)| lacks_proof(records));
        let cluster = cluster.map(|(cluster, _)| cluster.clone());
        self.keeps_expired = cluster.is_some();
        Ok(cluster)
    }

    /// Whether a copy is bringing this backup.
    pub(super) fn is_coming(&self, backup_id: &BackupId) -> bool {
        self.incoming.contains_key(backup_id)
    }

    /// Stops where a backup has vanished without an expiry that was certified before anything was looked at, and was the newest of
    /// these: what no expiry lets go. So much shows where a store keeps no versions.
    ///
    /// # Errors
    /// `Damaged`.
    pub(super) fn stop_where_proof_vanished(&self) -> Result<()> {
        match self.by_name.newest_certified() {
            Some(backup_id) if !self.manifests.contains(backup_id) && !self.tombstones.contains_key(backup_id) => {
                let reason = format!(
                    "gone, by no expiry, and it is the newest that is certified: put it back, or remove '{}' if it is to go",
                    layout::certificates_of(backup_id)
                );
                Err(Error::damaged(Key::Manifest(backup_id.clone()).to_string(), reason))
            }
            _ => Ok(()),
        }
    }

    /// Stops where there is no backup at all, and what one may have needed is about to go.
    ///
    /// # Errors
    /// `Damaged`.
    pub(super) fn stop_without_backups(&self) -> Result<()> {
        if self.manifests.is_empty() {
            let reason = "empty, while chunks lie there: put the manifests back, or remove the chunks yourself if no backup was ever made of them";
            return Err(Error::damaged(layout::MANIFESTS, reason));
        }
        Ok(())
    }

    /// Tombstones whose chunks stay for now: the manifest is gone, and not for long enough.
    pub(super) fn in_force(&self, cutoff: Timestamp) -> impl Iterator<Item = &BackupId> {
        let is_in_force =
            move |id: &BackupId, tombstone: &Tombstone| tombstone.is_there() && !self.is_over(id, tombstone, cutoff);
        let in_force = self
            .tombstones
            .iter()
            .filter(move |(backup_id, tombstone)| is_in_force(backup_id, tombstone));
        in_force
            .map(|(backup_id, _)| backup_id)
            .filter(|backup_id| !self.manifests.contains(*backup_id))
    }

    /// Those that stay although their time is over, and nobody brings again: a prune may have begun to take their chunks.
    fn overdue(&self, cutoff: Timestamp) -> impl Iterator<Item = &BackupId> {
        let gone = self.tombstones.iter().filter(|_| self.keeps_expired);
        gone.filter(move |(id, tombstone)| is_gone_since(tombstone, cutoff) && !self.is_held(id, tombstone))
            .map(|(backup_id, _)| backup_id)
            .filter(|backup_id| !self.manifests.contains(*backup_id) && !self.incoming.contains_key(*backup_id))
    }

    /// Those that a copy began to bring longer ago than the grace period, and has not brought.
    fn abandoned(&self, cutoff: Timestamp) -> impl Iterator<Item = &BackupId> {
        // A tombstone that is over, or its mark alone, protects nothing any more.
        let in_force: BTreeSet<&BackupId> = self.in_force(cutoff).collect();
        let gone = move |backup_id: &BackupId| !self.manifests.contains(backup_id) && !in_force.contains(backup_id);
        let old = self.incoming.iter().filter(move |(_, since)| **since <= cutoff);
        old.map(|(backup_id, _)| backup_id)
            .filter(move |backup_id| gone(backup_id))
    }

    /// Announcements that mean nothing more: the backup is here, or nobody has gone on bringing it for a month.
    pub(super) fn outdated_announcements(&self, cutoff: Timestamp) -> impl Iterator<Item = &BackupId> {
        let month_ago = cutoff - MONTH;
        let old = self.incoming.iter().filter(move |(_, since)| **since <= cutoff);
        let over = old.filter(move |(backup_id, since)| self.manifests.contains(*backup_id) || **since <= month_ago);
        over.map(|(backup_id, _)| backup_id)
    }

    /// Writes the marks that an interrupted expiry has not.
    async fn complete_tombstones(&mut self, repository: &Repository) -> Result<()> {
        for (backup_id, tombstone) in &self.tombstones {
            let is_open = tombstone.is_there() && tombstone.gone_since.is_none();
            if !is_open || self.manifests.contains(backup_id) || repository.has_backup(backup_id).await? {
                continue;
            }
            match repository.put_gone(backup_id).await {
                Ok(()) => {}
                // It stays in force until somebody may.
                Err(Error::Storage(error)) if error.kind == ErrorKind::Denied => {
                    tracing::debug!(%backup_id, %error, "a tombstone stays without its mark");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn add(&mut self, names: Vec<ChunkName>) {
        self.fresh.extend(names);
        if self.fresh.len() >= FRESH.max(self.sorted.len()) {
            self.settle();
        }
    }

    /// The most that the names have taken in memory.
    pub(super) fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    fn settle(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        self.sorted.reserve_exact(self.fresh.len());
        let names = self.sorted.capacity() + self.fresh.capacity();
        self.peak_bytes = self.peak_bytes.max(names * size_of::<ChunkName>());
        self.sorted.append(&mut self.fresh);
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
        self.fresh = Vec::new();
    }
}

/// Gone, or kept back with what was deleted, where versions may be listed and not read.
fn is_away(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. }) || error.is_refused_object()
}

fn is_gone_since(tombstone: &Tombstone, cutoff: Timestamp) -> bool {
    tombstone.gone_since.is_some_and(|since| since <= cutoff)
}

/// What a backup needs, and what it says of itself.
struct Marked {
    /// Every chunk that it refers to, its index included.
    names: Vec<ChunkName>,
    cluster: String,
    drift: DriftRecord,
}

async fn read(repository: &Repository, backup_id: &BackupId) -> Result<Marked> {
    let manifest = read_root(repository, backup_id).await?;
    let cluster = manifest.source.cluster.clone();
    let drift = DriftRecord {
        backup_id: backup_id.clone(),
        finished: manifest.finished,
        state: DriftState::of(manifest.drift.as_ref()),
        is_accepted: false,
    };
    let names = repository.chunk_names_of(manifest).await?;
    Ok(Marked { names, cluster, drift })
}

/// What copies are bringing here.
async fn incoming(repository: &Repository) -> Result<BTreeMap<BackupId, Timestamp>> {
    let objects = list_all(repository.store().as_ref(), layout::INCOMING, None).await?;
    let announced = objects.into_iter().filter_map(|object| match object.key.parse() {
        Ok(Key::Incoming(backup_id)) => Some((backup_id, object.modified)),
        _ => None,
    });
    Ok(announced.collect())
}

/// The manifest, what announces it, or the tombstone of one that is gone.
async fn read_root(repository: &Repository, backup_id: &BackupId) -> Result<Manifest> {
    match repository.read_manifest(backup_id).await {
        Ok(stored) => Ok(stored.manifest),
        Err(Error::NoSuchBackup(_)) => {
            if let Some(announced) = repository.read_incoming(backup_id).await? {
                return Ok(announced);
            }
            let buried = repository.read_tombstone(backup_id).await?;
            // Whoever deletes a manifest without a tombstone leaves nobody to say what was needed.
            buried.ok_or_else(|| Error::NoSuchBackup(backup_id.clone()))
        }
        Err(error) => Err(error),
    }
}
