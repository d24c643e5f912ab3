//! The backups' roots: read once, read again when a listing shows another object in their place, and put into few words.
//!
//! A root that cannot be read is known as such, with the reason. One that the store refuses is that root's trouble as long as
//! others can be read; when it refuses all, the trouble is ours.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, stream};

use super::drift_view::{RootDrift, frozen_in_any};
use super::error::Result;
use crate::http::status::{BackupContents, DriftStatus, PhaseStatus};
use crate::repository::drift::Frozen;
use crate::repository::id::BackupId;
use crate::repository::{self, ObjectVersion, Repository, StoredManifest};

/// Roots read at the same time; each is at most 64 KiB.
const CONCURRENCY: usize = 16;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Roots(HashMap<BackupId, Root>);

#[derive(Debug)]
struct Root {
    version: ObjectVersion,
    /// Or why it cannot be read.
    contents: std::result::Result<BackupContents, String>,
    drift: RootDrift,
}

impl Roots {
    /// Reads what is not known yet, has changed, or could not be read; forgets what is gone.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn refresh(&mut self, repository: &Repository) -> Result<()> {
        let listed: HashMap<BackupId, ObjectVersion> = repository.list_backups().await?.into_iter().collect();
        let is_as_it_was = |backup_id: &BackupId, root: &Root| listed.get(backup_id) == Some(&root.version);
        self.0
            .retain(|backup_id, root| root.contents.is_ok() && is_as_it_was(backup_id, root));
        let unknown = listed.into_iter().filter(|(id, _)| !self.0.contains_key(id));
        // Owned ids: a future that borrows them could not be sent to another thread.
        let unknown: Vec<(BackupId, ObjectVersion)> = unknown.collect();
        let mut read = stream::iter(unknown)
            .map(async |(backup_id, version)| (repository.read_manifest(&backup_id).await, backup_id, version))
            .buffer_unordered(CONCURRENCY);
        let mut refusal = None;
        while let Some((root, backup_id, version)) = read.next().await {
            let mut drift = RootDrift::unknown(&backup_id);
            let contents = match root {
                Ok(stored) => {
                    drift = RootDrift::of(&stored.manifest);
                    Ok(summarize(stored))
                }
                // Expired since it was listed.
                Err(repository::Error::NoSuchBackup(_)) => continue,
                Err(error) if error.is_unreadable_object() => Err(error.to_string()),
                Err(error) if error.is_refused_object() => {
                    let reason = error.to_string();
                    refusal = Some(error);
                    Err(reason)
                }
                Err(error) => return Err(error.into()),
            };
            let root = Root {
                version,
                contents,
                drift,
            };
            self.0.insert(backup_id, root);
        }
        let is_any_known = self.0.values().any(|root| root.contents.is_ok());
        match refusal {
            Some(error) if !is_any_known => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What keeps deletion frozen, of `cluster` or of each there is. A root that cannot be read may be any cluster's.
    pub(super) fn frozen(&self, cluster: Option<&str>, accepted: &BTreeSet<BackupId>) -> Option<Frozen> {
        let readable = self.0.values().filter_map(|root| root.contents.as_ref().ok());
        let mut clusters: BTreeSet<&str> = readable.map(|contents| contents.cluster.as_str()).collect();
        if let Some(cluster) = cluster {
            clusters = BTreeSet::from([cluster]);
        } else if clusters.is_empty() {
            // Whichever cluster it is whose roots cannot be read.
            clusters.insert("");
        }
        let records = |name: &str| {
            let of_cluster = self.0.iter().filter(|(_, root)| {
                let contents = root.contents.as_ref();
                contents.map_or(true, |contents| contents.cluster == name)
            });
            of_cluster
                .map(|(backup_id, root)| root.drift.record(backup_id, accepted))
                .collect()
        };
        frozen_in_any(clusters.into_iter().map(records))
    }

    /// What there is to show of a backup's drift.
    pub(super) fn drift(&self, backup_id: &BackupId, freezes: bool) -> Option<DriftStatus> {
        self.0.get(backup_id)?.drift.status(freezes)
    }

    /// By the newest snapshot; ids tell the second alone, and that of the oldest one. They must do for a root that cannot
    /// be read.
    pub(super) fn in_order(&self) -> Vec<(&BackupId, std::result::Result<&BackupContents, &str>)> {
        let roots = self.0.iter();
        let mut ordered: Vec<_> = roots
            .map(|(backup_id, root)| (backup_id, root.contents.as_ref().map_err(String::as_str)))
            .collect();
        ordered.sort_by_key(|(backup_id, contents)| {
            let time = contents.map_or_else(|_| backup_id.time(), |contents| contents.newest_snapshot);
            (time, (*backup_id).clone())
        });
        ordered
    }
}

fn summarize(stored: StoredManifest) -> BackupContents {
    let manifest = stored.manifest;
    let stats = manifest.stats;
    let times = || manifest.databases.iter().map(|database| database.snapshot_time);
    BackupContents {
        oldest_snapshot: times().min().unwrap_or(manifest.started),
        newest_snapshot: times().max().unwrap_or(manifest.started),
        started: manifest.started,
        usable_since: manifest.finished,
        databases: manifest
            .databases
            .iter()
            .map(|database| database.name.clone())
            .collect(),
        databases_not_included: manifest.databases_not_included,
        cluster: manifest.source.cluster,
        tables: stats.tables,
        rows: stats.rows,
        raw_bytes: stats.raw_bytes,
        stored_bytes: stats.stored_bytes,
        new_bytes: stats.new_bytes,
        chunks: stats.chunks,
        reused_chunks: stats.reused_chunks,
        healed_chunks: stats.healed_chunks,
        duration_seconds: stats.duration_seconds,
        paced_seconds: stats.paced_seconds,
        phases: manifest
            .phases
            .into_iter()
            .map(|phase| PhaseStatus {
                name: phase.name,
                seconds: phase.seconds,
            })
            .collect(),
    }
}
