//! What people have said of backups goes with them: holds, and that drift was what was wanted.

use std::collections::HashSet;

use bytes::Bytes;

use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::reader::Repository;
use crate::storage::list_all;

/// People's word on drift, so that what thawed here is not frozen there.
pub(super) async fn copy_acceptances(from: &Repository, to: &Repository) -> Result<()> {
    let there = keys_below(to, layout::DRIFT).await?;
    for key in keys_below(from, layout::DRIFT).await? {
        if !there.contains(&key) {
            to.store().put_new(&key, record(from, &key).await?).await?;
        }
    }
    Ok(())
}

/// Brings the holds of one backup, or of all that are there already, and tells how many. The end of a hold is brought
/// only where the hold is the same: a person over there may hold what nobody holds here.
pub(super) async fn copy_holds_of(from: &Repository, to: &Repository, backup_id: Option<&BackupId>) -> Result<u64> {
    let prefix = backup_id.map_or_else(|| layout::HOLDS.to_owned(), |id| format!("{}{id}/", layout::HOLDS));
    let there = keys_below(to, &prefix).await?;
    let backups: HashSet<BackupId> = match backup_id {
        Some(backup_id) => [backup_id.clone()].into(),
        None => to.backup_ids().await?.into_iter().collect(),
    };
    let mut copied = 0;
    for key in keys_below(from, &prefix).await? {
        let begun = match key.parse() {
            Ok(Key::Hold { backup_id, .. }) if backups.contains(&backup_id) => None,
            Ok(Key::HoldRelease { backup_id, generation }) if backups.contains(&backup_id) => {
                Some(Key::Hold { backup_id, generation }.to_string())
            }
            _ => continue,
        };
        if there.contains(&key) {
            continue;
        }
        if let Some(begun) = begun {
            let (here, over_there) = (record_if_there(from, &begun).await?, record_if_there(to, &begun).await?);
            // Without its beginning, as where a prune was interrupted, nobody knows whose end it is.
            if here.is_none() || here != over_there {
                continue;
            }
        }
        // Pruned since it was listed.
        let Some(record) = record_if_there(from, &key).await? else {
            continue;
        };
        to.store().put_new(&key, record).await?;
        copied += 1;
    }
    Ok(copied)
}

async fn record_if_there(repository: &Repository, key: &str) -> Result<Option<Bytes>> {
    match repository.store().get_at_most(key, MAX_RECORD_BYTES).await {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Error::of_get(error)),
    }
}

async fn record(repository: &Repository, key: &str) -> Result<Bytes> {
    let object = repository.store().get_at_most(key, MAX_RECORD_BYTES).await;
    object.map_err(Error::of_get)
}

/// In their order: a hold before its end.
async fn keys_below(repository: &Repository, prefix: &str) -> Result<Vec<String>> {
    let objects = list_all(repository.store().as_ref(), prefix, None).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}
