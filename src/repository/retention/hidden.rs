//! Manifests that a store with versions still has behind a deletion, and what says that they were expired.
//!
//! An expiry leaves a tombstone or, once that has been collected, its mark. Either may be left from an earlier life of a
//! backup that was brought back, or from an expiry that a hold has stopped, and says nothing of a deletion long after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::tombstone::Tombstone;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::{self, Key};
use crate::repository::reader::Repository;
use crate::storage::Hidden;

/// By how much what explains a deletion may be older than it. An expiry looks at its plan between the tombstones and the
/// deletions, which takes minutes; the clocks of a store's machines differ by less.
const BEFORE_DELETION: Duration = Duration::from_hours(1);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) enum HiddenManifests {
    /// The store keeps nothing of what is deleted.
    #[default]
    NotKept,
    /// There may be some: the store does not let us see them.
    Unseen,
    /// Since when they are hidden.
    Seen(BTreeMap<BackupId, Timestamp>),
}

impl HiddenManifests {
    pub(super) async fn look(repository: &Repository) -> Result<Self> {
        let backup_of = |key: &str| match key.parse() {
            Ok(Key::Manifest(backup_id)) => Some(backup_id),
            _ => None,
        };
        Ok(match repository.store().hidden(layout::MANIFESTS).await? {
            Hidden::NotKept => Self::NotKept,
            Hidden::Unseen => Self::Unseen,
            Hidden::Seen(keys) => {
                let hidden = keys
                    .into_iter()
                    .filter_map(|(key, since)| Some((backup_of(&key)?, since)));
                Self::Seen(hidden.collect())
            }
        })
    }

    pub(super) fn are_seen(&self) -> bool {
        matches!(self, Self::Seen(_))
    }

    /// Whether the mark of this backup may be asked for, now or by who sees more.
    pub(super) fn needs_mark(&self, backup_id: &BackupId) -> bool {
        match self {
            Self::NotKept => false,
            Self::Unseen => true,
            Self::Seen(hidden) => hidden.contains_key(backup_id),
        }
    }

    /// Those that no expiry has hidden, as far as anything says.
    pub(super) fn unexplained<'a>(
        &'a self,
        manifests: &'a BTreeSet<BackupId>,
        tombstones: &'a BTreeMap<BackupId, Tombstone>,
    ) -> impl Iterator<Item = &'a BackupId> {
        let hidden = match self {
            Self::Seen(hidden) => Some(hidden),
            _ => None,
        };
        let gone = hidden.into_iter().flatten().filter(|(id, _)| !manifests.contains(*id));
        gone.filter(|(id, since)| {
            !tombstones
                .get(*id)
                .is_some_and(|tombstone| explains(tombstone, **since))
        })
        .map(|(backup_id, _)| backup_id)
    }
}

fn explains(tombstone: &Tombstone, hidden_since: Timestamp) -> bool {
    let earliest = hidden_since.checked_sub(BEFORE_DELETION).unwrap_or(Timestamp::MIN);
    tombstone.written.max(tombstone.gone_since) >= Some(earliest)
}

/// Takes every hidden manifest for expired from now on, by giving it the tombstone and the mark that it lacks. Only a person
/// can tell.
///
/// # Errors
/// `Held` when one of them is held: nothing is accepted then. The store's own.
pub async fn accept_hidden(repository: &Repository) -> Result<Vec<BackupId>> {
    // In the order of prune's looks.
    let manifests = repository.backup_ids().await?.into_iter().collect();
    let hidden = HiddenManifests::look(repository).await?;
    let tombstones = repository.tombstones().await?;
    let unexplained: Vec<BackupId> = hidden.unexplained(&manifests, &tombstones).cloned().collect();
    let held = repository.held_since().await?;
    if let Some(backup_id) = unexplained.iter().find(|backup_id| held.contains_key(*backup_id)) {
        return Err(Error::Held(backup_id.clone()));
    }
    for backup_id in &unexplained {
        if tombstones
            .get(backup_id)
            .is_some_and(|tombstone| tombstone.gone_since.is_some())
        {
            let mark = Key::Gone(backup_id.clone()).to_string();
            repository.store().delete(&mark).await?;
        }
        if !tombstones.get(backup_id).is_some_and(Tombstone::is_there) {
            bury(repository, backup_id).await?;
        }
        repository.put_gone(backup_id).await?;
        tracing::warn!(%backup_id, "its manifest is hidden, and counts as expired from now on");
    }
    Ok(unexplained)
}

/// As an expiry would have: what a backup under way may have taken from this one stays for the grace period. Where a prune that
/// saw no versions has taken its index long ago, there is nothing to spare, and a tombstone without index would stop every prune.
async fn bury(repository: &Repository, backup_id: &BackupId) -> Result<()> {
    let readable = match repository.read_hidden_root(backup_id).await? {
        None => None,
        Some(manifest) => match repository.chunk_names_of(manifest.clone()).await {
            Ok(_) => Some(manifest),
            // Gone, or kept back with what was deleted: its manifest alone may be read behind a deletion.
            Err(error) if error.is_unreadable_object() || error.is_refused_object() => None,
            Err(error) => return Err(error),
        },
    };
    let Some(manifest) = readable else {
        tracing::warn!(%backup_id, "what it referred to is not known any more: its chunks have no grace period");
        return Ok(());
    };
    repository.put_tombstone(manifest, repository.store().now()).await
}

/// Why prune may not go on.
pub(super) fn stop<'a>(unexplained: impl Iterator<Item = &'a BackupId>) -> Result<()> {
    let unexplained: Vec<&BackupId> = unexplained.collect();
    let Some(first) = unexplained.first() else {
        return Ok(());
    };
    let others = match unexplained.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let key = Key::Manifest((*first).clone()).to_string();
    let reason = format!(
        "hidden by a deletion that was no expiry{others}: remove its delete marker, or all its versions, or say \
         'prune --accept-hidden' if it was meant"
    );
    Err(Error::unmarked(first, Error::damaged(key, reason)))
}
