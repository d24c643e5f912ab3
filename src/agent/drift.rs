//! `accept-drift`: a person says that what backups no longer hold was meant to go.

use super::error::{Error, Result};
use crate::repository::drift::{DriftAcceptance, frozen};
use crate::repository::id::BackupId;
use crate::repository::{Repository, StoredManifest};

/// One acceptance that was written.
#[derive(Clone, Debug)]
pub struct AcceptedDrift {
    pub stored: StoredManifest,
    pub acceptance: DriftAcceptance,
}

/// Accepts the drift of `backup` and of those before it, or without one of every backup that keeps deletion frozen now.
/// Whoever has judged a state of the database has judged the way there.
///
/// # Errors
/// `NoDrift` when nothing of it is to be accepted; `Damaged` or `UnknownFormat` for a root that cannot be read, since
/// nobody can know what would be accepted; the store's own.
pub async fn accept_drift(
    repository: &Repository,
    cluster: &str,
    backup: Option<&BackupId>,
    by: &str,
    reason: &str,
) -> Result<Vec<AcceptedDrift>> {
    let records = repository.drift_records(cluster).await?;
    let open = frozen(&records).unwrap_or_default();
    let place = |backup_id: &BackupId| {
        let found = records.iter().find(|record| record.backup_id == *backup_id);
        found.map(|record| (record.backup_id.time(), record.finished))
    };
    let until = match backup {
        Some(backup_id) => Some(place(backup_id).ok_or_else(|| no_drift(Some(backup_id)))?),
        None => None,
    };
    let wanted = open
        .backups()
        .filter(|backup_id| until.is_none_or(|until| place(backup_id).is_some_and(|place| place <= until)));
    let mut accepted = Vec::new();
    for backup_id in wanted {
        let stored = repository.read_manifest(backup_id).await?;
        let now = crate::telemetry::clock::now();
        let acceptance = DriftAcceptance::new(&stored, now, by.to_owned(), reason.to_owned());
        repository.accept_drift(&acceptance).await?;
        tracing::info!(%backup_id, by, reason, "drift accepted");
        accepted.push(AcceptedDrift { stored, acceptance });
    }
    if accepted.is_empty() {
        return Err(no_drift(backup));
    }
    Ok(accepted)
}

fn no_drift(backup: Option<&BackupId>) -> Error {
    Error::NoDrift(backup.cloned())
}
