//! What was found damaged over there and has been removed since comes anew, for the backups over there that need it. The
//! others bring it themselves when they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::writes::copy_chunk;
use super::{CopyReport, Left, Stays};
use crate::repository::damage::KnownDamage;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::index::ChunkName;
use crate::repository::manifest::Chunk;
use crate::repository::reader::Repository;

/// A chunk that is gone over there, and the backups there that need it, oldest first; at least one.
struct Removed<'a> {
    key: String,
    backups: Vec<&'a BackupId>,
}

/// Brings it, one chunk after the other: there are few. `there`: the backups that are over there.
///
/// # Errors
/// The stores' own. A chunk that is damaged here as well leaves its backups as they are; each of them is told.
pub(super) async fn bring_what_was_removed(
    from: &Repository,
    to: &Repository,
    damage: &KnownDamage,
    there: &BTreeSet<BackupId>,
) -> Result<CopyReport> {
    let mut report = CopyReport::default();
    let mut needed: BTreeMap<&BackupId, Vec<Removed<'_>>> = BTreeMap::new();
    for (key, backups) in to.removed_of(damage).await? {
        let backups: Vec<&BackupId> = backups.intersection(there).collect();
        if let Some(newest) = backups.last() {
            needed.entry(newest).or_default().push(Removed { key, backups });
        }
    }
    let mut lost: BTreeMap<String, Lost<'_>> = BTreeMap::new();
    while let Some((backup_id, removed)) = needed.pop_last() {
        let Some(chunks) = chunks_of(from, to, backup_id).await? else {
            // The next older one knows it as well.
            for removed in removed {
                let older = removed.backups.iter().rev().find(|older| **older < backup_id);
                if let Some(older) = older {
                    needed.entry(older).or_default().push(removed);
                } else {
                    let reason = "no index that names it can be read".to_owned();
                    lost.insert(removed.key, (reason, removed.backups));
                }
            }
            continue;
        };
        for Removed { key, backups } in removed {
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
                    lost.insert(key, (reason, backups));
                }
                Err(Stays::Broken(error)) => return Err(error),
            }
        }
    }
    report.left = not_whole(to, lost, there).await?;
    Ok(report)
}

/// Why a chunk cannot be brought, and the backups that are known to need it.
type Lost<'a> = (String, Vec<&'a BackupId>);

/// The backups over there that lack any of these chunks, newest first: those that are known, and whoever else refers to one.
async fn not_whole(to: &Repository, lost: BTreeMap<String, Lost<'_>>, there: &BTreeSet<BackupId>) -> Result<Vec<Left>> {
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let names = lost.keys().filter_map(|key| ChunkName::of_key(key)).collect();
    let mut lacking: BTreeMap<BackupId, BTreeSet<String>> = BTreeMap::new();
    for (backup_id, names) in to.needed_of(&names, there.clone()).await? {
        let keys = lost
            .keys()
            .filter(|key| ChunkName::of_key(key).is_some_and(|name| names.contains(&name)));
        lacking.entry(backup_id).or_default().extend(keys.cloned());
    }
    for (key, (_, backups)) in &lost {
        for backup_id in backups {
            lacking.entry((*backup_id).clone()).or_default().insert(key.clone());
        }
    }
    let mut left = Vec::new();
    for (backup_id, keys) in lacking.into_iter().rev() {
        let Some((key, (reason, _))) = keys.first().and_then(|key| lost.get_key_value(key)) else {
            continue;
        };
        let mut reason = format!("'{key}' was removed there as damaged, and cannot be brought anew: {reason}");
        if keys.len() > 1 {
            reason.push_str(&format!(" (and {} more of its chunks)", keys.len() - 1));
        }
        tracing::warn!(%backup_id, reason, "this backup of the copy is not whole");
        left.push(Left { backup_id, reason });
    }
    Ok(left)
}

/// By key; none where its index can be read in neither place. Where the backup has gone here, its chunks may be those of
/// others.
async fn chunks_of(from: &Repository, to: &Repository, backup_id: &BackupId) -> Result<Option<HashMap<String, Chunk>>> {
    for place in [from, to] {
        match place.read_backup(backup_id).await {
            Ok(backup) => {
                let chunks = backup.manifest.index.into_iter().chain(backup.chunks);
                return Ok(Some(chunks.map(|chunk| (chunk.key.clone(), chunk)).collect()));
            }
            Err(Error::Storage(error)) => return Err(error.into()),
            Err(error) => tracing::debug!(%backup_id, %error, "its index cannot be read there"),
        }
    }
    Ok(None)
}
