//! What people have said of backups goes with them: holds, and that drift was what was wanted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use crate::repository::error::{Error, Result};
use crate::repository::holds::hold_document;
use crate::repository::id::BackupId;
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::reader::Repository;
use crate::storage::{Put, list_all};

/// People's word on the drift of `backups`, which are there, so that what thawed here is not frozen there; and every backup of
/// which there is such a word. Of one that is not there it would mean nothing, and a prune over there would take it again.
pub(super) async fn copy_acceptances(
    from: &Repository,
    to: &Repository,
    backups: &BTreeSet<BackupId>,
) -> Result<BTreeSet<BackupId>> {
    let there = to.accepted_drifts().await?;
    let here = from.accepted_drifts().await?;
    for backup_id in here.intersection(backups).filter(|id| !there.contains(*id)) {
        copy_acceptance_of(from, to, backup_id).await?;
    }
    Ok(here)
}

/// The word on one drift.
pub(super) async fn copy_acceptance_of(from: &Repository, to: &Repository, backup_id: &BackupId) -> Result<()> {
    let key = Key::DriftAcceptance(backup_id.clone()).to_string();
    match record_if_there(from, &key).await {
        Ok(Some(record)) => drop(to.store().put_new(&key, record).await?),
        Ok(None) => {}
        // It thaws nothing over there, and keeps no backup from there either.
        Err(error) if error.is_unreadable_object() || error.is_refused_object() => {
            tracing::warn!(%error, "a person's word on drift was not copied");
        }
        Err(error) => return Err(error),
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
    let there = generations(&keys_below(to, &prefix).await?);
    let backups: HashSet<BackupId> = match backup_id {
        Some(backup_id) => [backup_id.clone()].into(),
        None => to.backup_ids().await?.into_iter().collect(),
    };
    let (mut copied, none) = (0, BTreeMap::new());
    for (backup_id, holds) in here.iter().filter(|(backup_id, _)| backups.contains(*backup_id)) {
        let known = there.get(backup_id).unwrap_or(&none);
        copied += match bring_holds(from, to, backup_id, holds, known).await {
            Ok(copied) => copied,
            Err(error) if error.is_unreadable_object() || error.is_refused_object() => {
                tracing::warn!(%backup_id, %error, "what people have said of holding this backup was not copied");
                0
            }
            Err(error) => return Err(error),
        };
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

/// What of the holds on one backup is not there: the one that is in force, and the ends of others, in this order, so that a
/// backup that is held here is never without a hold there. Each place counts its own: where another hold has the number of this
/// one, this one gets the next that is free.
async fn bring_holds(
    from: &Repository,
    to: &Repository,
    backup_id: &BackupId,
    here: &BTreeMap<u32, bool>,
    there: &BTreeMap<u32, bool>,
) -> Result<u64> {
    let hold = |generation: u32| {
        let backup_id = backup_id.clone();
        Key::Hold { backup_id, generation }.to_string()
    };
    let end = |generation: u32| {
        let backup_id = backup_id.clone();
        Key::HoldRelease { backup_id, generation }.to_string()
    };
    // What is in force there, and has ended here.
    let mut ends: Vec<(u32, Bytes)> = Vec::new();
    let in_force: Vec<u32> = numbers(there, false).collect();
    for generation in numbers(here, true).take_while(|_| !in_force.is_empty()) {
        // Without its beginning, as where a prune was interrupted, nobody knows whose end it is.
        let Some(record) = record_if_there(from, &hold(generation)).await? else {
            continue;
        };
        let Some(twin) = find(to, &in_force, &hold, &record).await? else {
            continue;
        };
        // Pruned since it was listed.
        if let Some(ending) = record_if_there(from, &end(generation)).await? {
            ends.push((twin, ending));
        }
    }
    let mut copied = 0;
    if let Some((newest, false)) = here.iter().next_back() {
        // By somebody's own word, or by this one already; once that ends, the next copy looks again.
        let stays_held = match there.iter().next_back() {
            Some((last, false)) => ends.iter().all(|(twin, _)| twin != last),
            _ => false,
        };
        if !stays_held && let Some(record) = hold_if_there(from, backup_id, *newest, &hold(*newest)).await? {
            let known: Vec<u32> = there.keys().copied().collect();
            if find(to, &known, &hold, &record).await?.is_none() {
                let last = there.keys().next_back().copied();
                let next = last.map_or(1, |last| last.saturating_add(1));
                // Who was there first holds it too.
                copied += u64::from(to.store().put_new(&hold(next), record).await? == Put::Created);
            }
        }
    }
    for (twin, ending) in ends {
        to.store().put_new(&end(twin), ending).await?;
        copied += 1;
    }
    Ok(copied)
}

/// A hold that cannot be read holds all the same: another is written in its place, which only a person over there can end.
async fn hold_if_there(from: &Repository, backup_id: &BackupId, generation: u32, key: &str) -> Result<Option<Bytes>> {
    match record_if_there(from, key).await {
        Err(error) if error.is_unreadable_object() || error.is_refused_object() => {
            tracing::warn!(%backup_id, %error, "held over there for a reason that cannot be read here: only a person ends that");
            // The same each time, so that one that a person has ended is known.
            Ok(Some(hold_document(
                backup_id,
                generation,
                None,
                None,
                backup_id.time(),
            )?))
        }
        read => read,
    }
}

/// Those that have ended, or have not.
fn numbers(holds: &BTreeMap<u32, bool>, wanted: bool) -> impl Iterator<Item = u32> {
    let wanted = holds.iter().filter(move |(_, has_ended)| **has_ended == wanted);
    wanted.map(|(generation, _)| *generation)
}

/// Which of the holds over there is the same, byte for byte.
async fn find(
    to: &Repository,
    generations: &[u32],
    hold: &(impl Fn(u32) -> String + Sync),
    record: &Bytes,
) -> Result<Option<u32>> {
    for generation in generations {
        match record_if_there(to, &hold(*generation)).await {
            Ok(found) if found.as_ref() == Some(record) => return Ok(Some(*generation)),
            Ok(_) => {}
            // Another one, as far as anybody can tell.
            Err(error) if error.is_unreadable_object() || error.is_refused_object() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn record_if_there(repository: &Repository, key: &str) -> Result<Option<Bytes>> {
    match repository.store().get_at_most(key, MAX_RECORD_BYTES).await {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Error::of_get(error)),
    }
}

/// In their order: a hold before its end.
async fn keys_below(repository: &Repository, prefix: &str) -> Result<Vec<String>> {
    let objects = list_all(repository.store().as_ref(), prefix, None).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}
