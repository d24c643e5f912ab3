//! The backups of a repository in one line each, from roots and one listing of certificates alone.

use serde::Serialize;

use super::error::Result;
use super::roots::Roots;
use crate::http::status::BackupContents;
use crate::repository::id::BackupId;
use crate::repository::{CertificateState, Hold, Repository, last_verdict};

/// One backup in a listing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupLine {
    pub backup_id: BackupId,
    /// What the newest drill that judged said; none: no drill has judged it yet.
    pub verdict: Option<CertificateState>,
    /// Why and since when a person keeps it from expiring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
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

/// Every backup, oldest first, of `cluster` when one is given. A root that cannot be read is a line, not an error.
///
/// # Errors
/// The store's own.
pub async fn overview(repository: &Repository, cluster: Option<&str>) -> Result<Vec<BackupLine>> {
    let mut roots = Roots::default();
    roots.refresh(repository).await?;
    let certificates = repository.certificates().await?;
    let holds = repository.holds().await?;
    let frozen = roots
        .frozen(cluster, &repository.accepted_drifts().await?)
        .unwrap_or_default();
    let line = |(backup_id, root): (&BackupId, std::result::Result<&BackupContents, &str>)| BackupLine {
        backup_id: backup_id.clone(),
        verdict: certificates
            .get(backup_id)
            .and_then(|of_backup| last_verdict(of_backup)),
        hold: holds.get(backup_id).cloned(),
        freezes: frozen.backups().any(|freezing| freezing == backup_id),
        damage: root.err().map(str::to_owned),
        summary: root.ok().map(BackupSummary::of),
    };
    let is_wanted = |line: &BackupLine| match (&line.summary, cluster) {
        (Some(summary), Some(cluster)) => summary.cluster == cluster,
        _ => true,
    };
    Ok(roots.in_order().into_iter().map(line).filter(is_wanted).collect())
}

impl BackupSummary {
    fn of(contents: &BackupContents) -> Self {
        Self {
            cluster: contents.cluster.clone(),
            snapshot_time: contents.newest_snapshot,
            databases: contents.databases.clone(),
            tables: contents.tables,
            rows: contents.rows,
            raw_bytes: contents.raw_bytes,
            stored_bytes: contents.stored_bytes,
            new_bytes: contents.new_bytes,
            chunks: contents.chunks,
            reused_chunks: contents.reused_chunks,
            duration_seconds: contents.duration_seconds,
        }
    }
}
