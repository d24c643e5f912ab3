//! What people have said of backups goes with them: holds, and that drift was what was wanted.

use std::collections::{BTreeMap, HashSet};

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

/// Generations of the holds of each backup, and whether they have ended.
type Generations = BTreeMap<BackupId, BTreeMap<u32, bool>>;

/// Brings the holds of one backup, or of all that are there already, and tells how many. The end of a hold is brought
/// only where the hold is the same: a person over there may hold what nobody holds here.
pub(super) async fn copy_holds_of(from: &Repository, to: &Repository, backup_id: Option<&BackupId>) -> Result<u64> {
    let prefix = backup_id.map_or_else(|| layout::HOLDS.to_owned(), |id| format!("{}{id}/", layout::HOLDS));
    let here = generations(&keys_below(from, &prefix).await?);
    let mut there = generations(&keys_below(to, &prefix).await?);
    let backups: HashSet<BackupId> = match backup_id {
        Some(backup_id) => [backup_id.clone()].into(),
        None => to.backup_ids().await?.into_iter().collect(),
    };
    let mut copied = 0;
    for (backup_id, holds) in here.into_iter().filter(|(backup_id, _)| backups.contains(backup_id)) {
        let known = there.entry(backup_id.clone()).or_default();
        for (generation, has_ended) in holds {
            copied += bring_hold(from, to, &backup_id, generation, has_ended, known).await?;
        }
    }
    Ok(copied)
}

fn generations(keys: &[String]) -> Generations {
    let mut found = Generations::new();
    for key in keys {
        match key.parse() {
            Ok(Key::Hold { backup_id, generation }) => {
                found.entry(backup_id).or_default().entry(generation).or_default();
            }
            Ok(Key::HoldRelease { backup_id, generation }) => {
                found.entry(backup_id).or_default().insert(generation, true);
            }
            _ => {}
        }
    }
    found
}

/// A hold and its end, as far as they are not there. Each place counts its own: where another hold has the number of this one,
/// this one gets the next that is free.
async fn bring_hold(
    from: &Repository,
    to: &Repository,
    backup_id: &BackupId,
    generation: u32,
    has_ended: bool,
    there: &mut BTreeMap<u32, bool>,
) -> Result<u64> {
    let hold = |generation: u32| {
        Key::Hold {
            backup_id: backup_id.clone(),
            generation,
        }
        .to_string()
    };
    let end = |generation: u32| {
        Key::HoldRelease {
            backup_id: backup_id.clone(),
            generation,
        }
        .to_string()
    };
    // It holds in neither place.
    if has_ended && !there.is_empty() && there.values().all(|ended| *ended) {
        return Ok(0);
    }
    // Gone since it was listed, or pruned but for its end: nobody knows whose end that is.
    let Some(record) = record_if_there(from, &hold(generation)).await? else {
        return Ok(0);
    };
    let mut twin = None;
    for known in there.keys() {
        if record_if_there(to, &hold(*known)).await?.as_ref() == Some(&record) {
            twin = Some(*known);
        }
    }
    let mut copied = 0;
    let twin = match twin {
        Some(twin) => twin,
        // Held there by somebody's own word; once that ends, this one is brought.
        None if there.values().next_back() == Some(&false) => return Ok(0),
        // Over here, and never begun there.
        None if has_ended && !there.is_empty() => return Ok(0),
        None => {
            let next = there
                .keys()
                .next_back()
                .map_or(generation, |last| generation.max(last.saturating_add(1)));
            to.store().put_new(&hold(next), record).await?;
            there.insert(next, false);
            copied += 1;
            next
        }
    };
    let ends = has_ended && there.get(&twin) != Some(&true);
    if ends && let Some(ending) = record_if_there(from, &end(generation)).await? {
        to.store().put_new(&end(twin), ending).await?;
        there.insert(twin, true);
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
