//! Whether deletion is frozen, by what the roots say and what people have accepted.
//!
//! Nothing else counts: no certificate thaws anything, because a drill proves that a backup can be restored and not that
//! production held what it should have held.

use std::fmt;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Drift, DriftOutcome};
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::presence::CONCURRENCY;
use crate::repository::reader::{Repository, StoredManifest};

/// What one backup says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftState {
    /// There was nothing to compare with, or the version that made it did not compare.
    Unjudged,
    /// So many findings.
    Compared(u64),
    /// It should have been compared and was not, or its root cannot be read.
    NotCompared,
}

/// One backup of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftRecord {
    pub backup_id: BackupId,
    /// When its root was written; ids tell the second alone.
    pub finished: jiff::Timestamp,
    pub state: DriftState,
    pub is_accepted: bool,
}

/// Why nothing may be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Backups with findings that nobody has accepted, oldest first.
    pub drifted: Vec<BackupId>,
    /// Backups that were not compared, with none after them that was, oldest first.
    pub not_compared: Vec<BackupId>,
}

/// Decides. The order of `records` does not matter.
#[must_use]
pub fn frozen(records: &[DriftRecord]) -> Option<Frozen> {
    // A snapshot is never later than the end of its run: where the server's clock says so, that clock was ahead. Taken at
    // its word such a backup would stand for the comparisons that were missed until its time has come.
    let time = |record: &DriftRecord| (record.backup_id.time().min(record.finished), record.finished);
    let compared = records
        .iter()
        .filter(|record| matches!(record.state, DriftState::Compared(_)));
    // What came to light later has shown what the missing comparison would have: the baseline was an older one still.
    let last_compared = compared.map(time).max();
    let mut open: Vec<&DriftRecord> = records.iter().filter(|record| !record.is_accepted).collect();
    open.sort_by_key(|record| (time(record), record.backup_id.clone()));
    let mut frozen = Frozen::default();
    for record in open {
        match record.state {
            DriftState::Compared(findings) if findings > 0 => frozen.drifted.push(record.backup_id.clone()),
            DriftState::NotCompared if Some(time(record)) >= last_compared => {
                frozen.not_compared.push(record.backup_id.clone());
            }
            _ => {}
        }
    }
    (frozen != Frozen::default()).then_some(frozen)
}

impl Frozen {
    /// Every backup that it is about.
    pub fn backups(&self) -> impl Iterator<Item = &BackupId> {
        self.drifted.iter().chain(&self.not_compared)
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("holds less than before", &self.drifted),
            ("was not compared with what was before", &self.not_compared),
        ];
        let mut separator = "";
        for (what, backups) in parts {
            let Some(newest) = backups.last() else { continue };
            let others = match backups.len() - 1 {
                0 => String::new(),
                others => format!(" (and {others} before it)"),
            };
            write!(formatter, "{separator}backup {newest}{others} {what}")?;
            separator = "; ";
        }
        Ok(())
    }
}

impl DriftState {
    /// By a root's `drift`.
    #[must_use]
    pub fn of(drift: Option<&Drift>) -> Self {
        match drift.map(|drift| (drift.outcome, drift.total)) {
            None | Some((DriftOutcome::NoBaseline, 0)) => Self::Unjudged,
            Some((DriftOutcome::NotCompared | DriftOutcome::Unknown, 0)) => Self::NotCompared,
            Some((_, total)) => Self::Compared(total),
        }
    }
}

impl Repository {
    /// Whether deletion of the backups of `cluster` is frozen, and by which of them.
    ///
    /// # Errors
    /// The store's own: then nobody knows, and nothing may be deleted either.
    pub async fn frozen(&self, cluster: &str) -> Result<Option<Frozen>> {
        Ok(frozen(&self.drift_records(cluster).await?))
    }

    /// What every backup of `cluster` says of itself. A root that cannot be read may be of any cluster, and may say
    /// anything: it counts as not compared.
    ///
    /// # Errors
    /// The store's own.
    pub async fn drift_records(&self, cluster: &str) -> Result<Vec<DriftRecord>> {
        let accepted = self.accepted_drifts().await?;
        let accepted = &accepted;
        let records: Vec<Option<DriftRecord>> = stream::iter(self.backup_ids().await?)
            .map(|backup_id| async move {
                let record = |finished, state| DriftRecord {
                    is_accepted: accepted.contains(&backup_id),
                    backup_id: backup_id.clone(),
                    finished,
                    state,
                };
                match self.read_manifest(&backup_id).await {
                    Ok(stored) if stored.manifest.source.cluster != cluster => Ok(None),
                    Ok(StoredManifest { manifest, .. }) => {
                        Ok(Some(record(manifest.finished, DriftState::of(manifest.drift.as_ref()))))
                    }
                    // Expired since the listing.
                    Err(Error::NoSuchBackup(_)) => Ok(None),
                    Err(error) if error.is_unreadable_object() => {
                        Ok(Some(record(backup_id.time(), DriftState::NotCompared)))
                    }
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(records.into_iter().flatten().collect())
    }
}
