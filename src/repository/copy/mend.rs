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

/// A chunk that is gone over there.
struct Removed {
    key: String,
    /// The backups there that need it and have not been asked for it yet.
    unasked: BTreeSet<BackupId>,
    /// All that need it.
    backups: BTreeSet<BackupId>,
    /// An index that may name it cannot be read.
    is_untold: bool,
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
    let mut needed: BTreeMap<BackupId, Vec<Removed>> = BTreeMap::new();
    for removed in removed_from(to, damage, there).await? {
        ask_next(&mut needed, removed);
    }
    let mut lost: Vec<(Removed, String)> = Vec::new();
    while let Some((backup_id, group)) = needed.pop_last() {
        let chunks = chunks_of(from, to, &backup_id).await?;
        for mut removed in group {
            removed.is_untold |= chunks.is_none();
            let Some(chunk) = chunks.as_ref().and_then(|chunks| chunks.get(&removed.key)) else {
                // The next older one may tell.
                if let Some(removed) = ask_next(&mut needed, removed).filter(|removed| removed.is_untold) {
                    lost.push((removed, "no index that names it can be read".to_owned()));
                }
                continue;
            };
            match copy_chunk(from, to, chunk).await {
                Ok(()) => {
                    let key = removed.key;
                    tracing::info!(key, "was found damaged over there and removed, and is there again");
                    report.mended_chunks += 1;
                    report.copied_chunks += 1;
                    report.copied_bytes += chunk.stored_bytes;
                }
                Err(Stays::Because(reason) | Stays::Waiting(reason)) => lost.push((removed, reason)),
                Err(Stays::Broken(error)) => return Err(error),
            }
        }
    }
    report.left = not_whole(lost);
    Ok(report)
}

/// Chunks that were said to be damaged and are gone, and that backups over there need: those that were named, and whoever
/// else refers to one.
async fn removed_from(to: &Repository, damage: &KnownDamage, there: &BTreeSet<BackupId>) -> Result<Vec<Removed>> {
    let gone = to.removed_of(damage).await?;
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let names = gone.iter().filter_map(|(key, _)| ChunkName::of_key(key)).collect();
    let needed = to.needed_of(&names, there.clone()).await?;
    let removed = gone.into_iter().map(|(key, named)| {
        let name = ChunkName::of_key(&key);
        let refer = needed
            .iter()
            .filter(|(_, names)| name.is_some_and(|name| names.contains(&name)));
        let mut backups: BTreeSet<BackupId> = refer.map(|(backup_id, _)| backup_id.clone()).collect();
        backups.extend(named.intersection(there).cloned());
        Removed {
            key,
            unasked: backups.clone(),
            backups,
            is_untold: false,
        }
    });
    Ok(removed.collect())
}

/// Its newest backup that has not been asked is; back it comes when there is none.
fn ask_next(needed: &mut BTreeMap<BackupId, Vec<Removed>>, mut removed: Removed) -> Option<Removed> {
    let Some(next) = removed.unasked.pop_last() else {
        return Some(removed);
    };
    needed.entry(next).or_default().push(removed);
    None
}

/// The backups over there that lack any of these chunks, newest first, each with why.
fn not_whole(lost: Vec<(Removed, String)>) -> Vec<Left> {
    let mut lacking: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    for (removed, reason) in lost {
        let key = &removed.key;
        let reason = format!("'{key}' was removed there as damaged, and cannot be brought anew: {reason}");
        for backup_id in removed.backups {
            lacking.entry(backup_id).or_default().push(reason.clone());
        }
    }
    let left = lacking.into_iter().rev().map(|(backup_id, mut reasons)| {
        let others = reasons.len() - 1;
        let mut reason = reasons.swap_remove(0);
        if others > 0 {
            reason.push_str(&format!(" (and {others} more of its chunks)"));
        }
        tracing::warn!(%backup_id, reason, "this backup of the copy is not whole");
        Left { backup_id, reason }
    });
    left.collect()
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
            Err(error @ Error::Storage(_)) if !error.is_refused_object() => return Err(error),
            Err(error) => tracing::debug!(%backup_id, %error, "its index cannot be read there"),
        }
    }
    Ok(None)
}
