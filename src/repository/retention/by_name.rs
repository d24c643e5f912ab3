//! What a prune asks for by name, since a listing may be older than what it lists: backups that drills have judged, and those
//! whose tombstones are over, where no listing shows their manifests. Each is asked for once in a run.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::plan::Proof;
use super::survey::Verdicts;
use super::tombstone::Tombstone;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::Key;
use crate::repository::presence::CONCURRENCY;
use crate::repository::reader::Repository;

/// What is known by name.
#[derive(Debug, Default)]
pub(super) struct ByName {
    judged: BTreeSet<BackupId>,
    /// The newest backup that is proven, as an expiry counts it.
    newest_certified: Option<BackupId>,
    /// Those that are gone, each with what is left of it.
    gone: BTreeMap<BackupId, Tombstone>,
}

impl ByName {
    /// By the certificates that there are.
    pub(super) async fn look(repository: &Repository) -> Result<Self> {
        let verdicts = Verdicts::read(repository).await?;
        let judged: BTreeSet<BackupId> = verdicts.judged().cloned().collect();
        let is_certified = |backup_id: &&BackupId| verdicts.of(backup_id).0 == Proof::Certified;
        Ok(Self {
            newest_certified: judged.iter().rev().find(is_certified).cloned(),
            judged,
            gone: BTreeMap::new(),
        })
    }

    pub(super) fn newest_certified(&self) -> Option<&BackupId> {
        self.newest_certified.as_ref()
    }

    /// The backups that are there and not among `manifests`. `buried`: those that have been let go long enough ago. Of
    /// those that are gone it is known from here on.
    pub(super) async fn unlisted(
        &mut self,
        repository: &Repository,
        manifests: &BTreeSet<BackupId>,
        buried: BTreeSet<BackupId>,
    ) -> Result<Vec<BackupId>> {
        self.gone.retain(|backup_id, _| !manifests.contains(backup_id));
        let named: BTreeSet<&BackupId> = self.judged.iter().chain(&buried).collect();
        let is_unasked = |backup_id: &&BackupId| !manifests.contains(*backup_id) && !self.gone.contains_key(*backup_id);
        let unasked: Vec<BackupId> = named.into_iter().filter(is_unasked).cloned().collect();
        let asked: Vec<(BackupId, Option<Tombstone>)> = stream::iter(unasked)
            .map(|backup_id| async move {
                let left = if repository.has_backup(&backup_id).await? {
                    None
                } else {
                    Some(repository.tombstone_by_name(&backup_id).await?)
                };
                Ok::<_, Error>((backup_id, left))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut unlisted = Vec::new();
        for (backup_id, left) in asked {
            match left {
                // One whose mark is still to come is asked for again, since its time is not known yet.
                Some(left) if left.is_there() && left.gone_since.is_none() => {}
                Some(left) => drop(self.gone.insert(backup_id, left)),
                None => unlisted.push(backup_id),
            }
        }
        Ok(unlisted)
    }

    /// Puts right what a listing of tombstones has told. Of two times of a mark the later one counts, and where either says
    /// that there is none, there is none.
    pub(super) fn mend(&self, tombstones: &mut BTreeMap<BackupId, Tombstone>) {
        for (backup_id, left) in &self.gone {
            if *left == Tombstone::default() {
                tombstones.remove(backup_id);
                continue;
            }
            let listed = tombstones.entry(backup_id.clone()).or_insert(*left);
            listed.written = listed.written.or(left.written);
            let later = |one: Timestamp| left.gone_since.map(|other| one.max(other));
            listed.gone_since = listed.gone_since.and_then(later);
        }
    }
}

/// Stops where a backup is there that no listing shows.
pub(super) fn stop(unlisted: &[BackupId], manifests: &BTreeSet<BackupId>) -> Result<()> {
    match unlisted.iter().find(|backup_id| !manifests.contains(*backup_id)) {
        Some(backup_id) => {
            let key = Key::Manifest(backup_id.clone()).to_string();
            let reason =
                "there, and not listed: the store's listings show what was before, and nothing is deleted by them";
            Err(Error::damaged(key, reason))
        }
        None => Ok(()),
    }
}
