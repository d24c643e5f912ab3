//! The backups of a repository in one line each, from roots and one listing of certificates alone.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::error::Result;
use crate::repository::drift::{DriftRecord, DriftState, frozen};
use crate::repository::id::BackupId;
use crate::repository::{self, CertificateState, Repository, StoredManifest, last_verdict};

const CONCURRENCY: usize = 16;

/// One backup in a listing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupLine {
    pub backup_id: BackupId,
    /// What the newest drill that judged said; none: no drill has judged it yet.
    pub verdict: Option<CertificateState>,
    /// Whether deletion is frozen for it until a person accepts what it lacks.
    pub freezes: bool,
    /// Why the root cannot be read; then the rest is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub summary: Option<BackupSummary>,
}

/// What a root says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupSummary {
    pub cluster: String,
    /// As of when the newest of its databases is.
    pub snapshot_time: jiff::Timestamp,
    pub databases: Vec<String>,
    pub tables: u64,
    pub rows: u64,
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    pub new_bytes: u64,
    pub chunks: u64,
    pub reused_chunks: u64,
    pub duration_seconds: f64,
}

/// Every backup, oldest first, of `cluster` when one is given. A damaged root is a line, not an error.
///
/// # Errors
/// The store's own.
pub async fn overview(repository: &Repository, cluster: Option<&str>) -> Result<Vec<BackupLine>> {
    let ids = repository.backup_ids().await?;
    let certificates = repository.certificates().await?;
    let accepted = repository.accepted_drifts().await?;
    let mut roots = stream::iter(&ids)
        .map(async |backup_id| (backup_id, repository.read_manifest(backup_id).await))
        .buffered(CONCURRENCY);
    let mut lines = Vec::with_capacity(ids.len());
    let mut drifts = Drifts::default();
    while let Some((backup_id, root)) = roots.next().await {
        drifts.add(backup_id, &root, accepted.contains(backup_id));
        let (damage, summary) = match root {
            Ok(stored) => (None, Some(summarize(stored))),
            // Expired since it was listed.
            Err(repository::Error::NoSuchBackup(_)) => continue,
            Err(error) if error.is_unreadable_object() => (Some(error.to_string()), None),
            Err(error) => return Err(error.into()),
        };
        let is_wanted = match (&summary, cluster) {
            (Some(summary), Some(cluster)) => summary.cluster == cluster,
            _ => true,
        };
        if is_wanted {
            lines.push(BackupLine {
                backup_id: backup_id.clone(),
                verdict: certificates
                    .get(backup_id)
                    .and_then(|of_backup| last_verdict(of_backup)),
                freezes: false,
                damage,
                summary,
            });
        }
    }
    let freezing = drifts.freezing();
    for line in &mut lines {
        line.freezes = freezing.contains(&line.backup_id);
    }
    // Ids tell the second alone.
    lines.sort_by_key(BackupLine::time);
    Ok(lines)
}

/// What the roots say of their drift, by cluster; a root that cannot be read may be any cluster's.
#[derive(Default)]
struct Drifts {
    by_cluster: BTreeMap<String, Vec<DriftRecord>>,
    unreadable: Vec<DriftRecord>,
}

impl Drifts {
    fn add(&mut self, backup_id: &BackupId, root: &repository::Result<StoredManifest>, is_accepted: bool) {
        let record = |finished, state| DriftRecord {
            backup_id: backup_id.clone(),
            finished,
            state,
            is_accepted,
        };
        match root {
            Ok(StoredManifest { manifest, .. }) => {
                let of_cluster = self.by_cluster.entry(manifest.source.cluster.clone()).or_default();
                of_cluster.push(record(manifest.finished, DriftState::of(manifest.drift.as_ref())));
            }
            Err(_) => self.unreadable.push(record(backup_id.time(), DriftState::NotCompared)),
        }
    }

    /// Every backup for which deletion is frozen.
    fn freezing(&self) -> BTreeSet<BackupId> {
        let of_cluster = |records: &Vec<DriftRecord>| frozen(&[records.as_slice(), &self.unreadable].concat());
        let frozen = self.by_cluster.values().filter_map(of_cluster);
        frozen
            .flat_map(|frozen| frozen.backups().cloned().collect::<Vec<_>>())
            .collect()
    }
}

impl BackupLine {
    fn time(&self) -> jiff::Timestamp {
        let summary = self.summary.as_ref();
        summary.map_or_else(|| self.backup_id.time(), |summary| summary.snapshot_time)
    }
}

fn summarize(stored: StoredManifest) -> BackupSummary {
    let manifest = stored.manifest;
    let stats = manifest.stats;
    let times = manifest.databases.iter().map(|database| database.snapshot_time);
    BackupSummary {
        snapshot_time: times.max().unwrap_or(manifest.started),
        cluster: manifest.source.cluster,
        databases: manifest.databases.into_iter().map(|database| database.name).collect(),
        tables: stats.tables,
        rows: stats.rows,
        raw_bytes: stats.raw_bytes,
        stored_bytes: stats.stored_bytes,
        new_bytes: stats.new_bytes,
        chunks: stats.chunks,
        reused_chunks: stats.reused_chunks,
        duration_seconds: stats.duration_seconds,
    }
}
