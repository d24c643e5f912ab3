//! What was found damaged over there and has been removed since comes anew, for the backups over there that need it. The
//! others bring it themselves when they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::writes::copy_chunk;
use super::{CopyReport, Left, Stays};
use crate::repository::damage::KnownDamage;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::manifest::Chunk;
use crate::repository::reader::Repository;

/// Brings it, one chunk after the other: there are few. `there`: the backups that are over there.
///
/// # Errors
/// The stores' own. A chunk that is damaged here as well leaves its backups as they are, and is told.
pub(super) async fn bring_what_was_removed(
    from: &Repository,
    to: &Repository,
    damage: &KnownDamage,
    there: &BTreeSet<BackupId>,
) -> Result<CopyReport> {
    let mut report = CopyReport::default();
    let mut needed: BTreeMap<&BackupId, Vec<String>> = BTreeMap::new();
    for (key, backups) in to.removed_of(damage).await? {
        if let Some(backup_id) = backups.iter().rev().find(|backup_id| there.contains(*backup_id)) {
            needed.entry(backup_id).or_default().push(key);
        }
    }
    for (backup_id, keys) in needed.into_iter().rev() {
        let chunks = chunks_of(from, to, backup_id).await?;
        for key in keys {
            // What is not of the backup, as its root, is brought in other ways.
            let Some(chunk) = chunks.get(&key) else { continue };
            match copy_chunk(from, to, chunk).await {
                Ok(()) => {
                    tracing::info!(key, "was found damaged over there and removed, and is there again");
                    report.mended_chunks += 1;
                    report.copied_chunks += 1;
                    report.copied_bytes += chunk.stored_bytes;
                }
                Err(Stays::Because(reason)) => {
                    let reason = format!("'{key}' was removed there as damaged, and cannot be brought anew: {reason}");
                    tracing::warn!(%backup_id, reason, "this backup of the copy is not whole");
                    let backup_id = backup_id.clone();
                    report.left.push(Left { backup_id, reason });
                }
                Err(Stays::Broken(error)) => return Err(error),
            }
        }
    }
    Ok(report)
}

/// By key. Where the backup has gone here, its chunks may be those of others.
async fn chunks_of(from: &Repository, to: &Repository, backup_id: &BackupId) -> Result<HashMap<String, Chunk>> {
    for place in [from, to] {
        match place.read_backup(backup_id).await {
            Ok(backup) => {
                let chunks = backup.manifest.index.into_iter().chain(backup.chunks);
                return Ok(chunks.map(|chunk| (chunk.key.clone(), chunk)).collect());
            }
            Err(Error::Storage(error)) => return Err(error.into()),
            Err(error) => tracing::debug!(%backup_id, %error, "its index cannot be read there"),
        }
    }
    Ok(HashMap::new())
}
