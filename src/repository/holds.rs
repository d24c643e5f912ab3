//! Holds: a person's word that a backup stays, whatever retention says, until the same person or another takes it back.
//!
//! By generation, as leases are, so that neither placing nor ending one needs the right to delete: the greatest generation
//! counts, and it is over when its release lies beside it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document;
use super::error::{Error, Result};
use super::id::{BackupId, Sha256Digest};
use super::layout::{self, Key};
use super::limits::MAX_RECORD_BYTES;
use super::manifest::FORMAT_VERSION;
use super::presence::CONCURRENCY;
use super::reader::{Repository, twice_if_damaged};
use crate::storage::{ErrorKind, Put, list_all};

/// Shown where the reason cannot be read: the hold is one all the same.
const UNKNOWN: &str = "for a reason that cannot be read";

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub reason: String,
    /// By the store's clock.
    pub since: Timestamp,
}

/// A hold in force, and the root that it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldRoot {
    /// By the store's clock.
    pub(super) since: Timestamp,
    /// None where it does not say so.
    pub(super) root: Option<Sha256Digest>,
}

/// What came of placing or ending one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldChange {
    Changed,
    /// It was so before.
    Unchanged,
}

/// `holds/<backup_id>/<generation>.json`, and the same once more where it is released.
#[derive(Debug, Serialize, Deserialize)]
struct HoldDocument {
    format_version: u32,
    backup_id: BackupId,
    generation: u32,
    tool_version: String,
    /// By the clock of whoever wrote it.
    written: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// SHA-256 of the root that is held, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_sha256: Option<Sha256Digest>,
}

/// The object of a hold, or of its end.
pub(super) fn hold_document(
    backup_id: &BackupId,
    generation: u32,
    reason: Option<String>,
    manifest_sha256: Option<Sha256Digest>,
    now: Timestamp,
) -> Result<Bytes> {
    document::encode(&HoldDocument {
        format_version: FORMAT_VERSION,
        backup_id: backup_id.clone(),
        generation,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        written: now,
        reason,
        manifest_sha256,
    })
}

/// The newest generation, as a listing tells it.
#[derive(Clone, Copy, Debug)]
struct Newest {
    generation: u32,
    since: Timestamp,
    is_released: bool,
}

impl Repository {
    /// Every hold in force. One listing, and one GET a hold.
    ///
    /// # Errors
    /// The store's own. A hold that cannot be read holds.
    pub async fn holds(&self) -> Result<BTreeMap<BackupId, Hold>> {
        let newest = self.newest_holds(layout::HOLDS).await?.into_iter();
        self.in_force(newest.map(|(backup_id, newest)| (backup_id, Some(newest))).collect())
            .await
    }

    /// Which of these are held, also by a hold that the listing does not show yet: the next generation of each is asked for by
    /// its name. One listing, and one HEAD a backup.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn holds_by_name(&self, backups: &[BackupId]) -> Result<BTreeMap<BackupId, Hold>> {
        let listed = self.newest_holds(layout::HOLDS).await?;
        let asked: Vec<(BackupId, Option<Newest>)> = backups
            .iter()
            .map(|backup_id| (backup_id.clone(), listed.get(backup_id).copied()))
            .collect();
        let held: Vec<(BackupId, Option<Newest>)> = stream::iter(asked)
            .map(|(backup_id, listed)| async move {
                let newest = self.newest_by_name(&backup_id, listed).await?;
                Ok::<_, Error>((backup_id, newest))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        self.in_force(held).await
    }

    async fn in_force(&self, newest: Vec<(BackupId, Option<Newest>)>) -> Result<BTreeMap<BackupId, Hold>> {
        let mut holds = BTreeMap::new();
        for (backup_id, newest) in newest {
            if let Some(newest) = newest.filter(|newest| !newest.is_released) {
                let reason = self.hold_reason(&backup_id, newest.generation).await?;
                let since = newest.since;
                holds.insert(backup_id, Hold { reason, since });
            }
        }
        Ok(holds)
    }

    /// Since when each backup is held, by the store's clock. One listing.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn held_since(&self) -> Result<BTreeMap<BackupId, Timestamp>> {
        let newest = self.newest_holds(layout::HOLDS).await?.into_iter();
        let in_force = newest.filter(|(_, newest)| !newest.is_released);
        Ok(in_force.map(|(backup_id, newest)| (backup_id, newest.since)).collect())
    }

    /// The hold on one backup, if there is one.
    ///
    /// # Errors
    /// The store's own.
    pub async fn hold_of(&self, backup_id: &BackupId) -> Result<Option<Hold>> {
        match self.newest_hold(backup_id).await? {
            Some(newest) if !newest.is_released => Ok(Some(Hold {
                reason: self.hold_reason(backup_id, newest.generation).await?,
                since: newest.since,
            })),
            _ => Ok(None),
        }
    }

    /// Keeps a backup from expiring. One that is held already stays held for its first reason.
    ///
    /// # Errors
    /// `NoSuchBackup` when it is not there; `HeldAway` when an expiry that had begun has let it go meanwhile, and it could not be
    /// put back; the store's own.
    pub async fn hold(&self, backup_id: &BackupId, reason: &str, now: Timestamp) -> Result<HoldChange> {
        let root = match self.read_manifest(backup_id).await {
            Ok(stored) => Some(stored.sha256),
            // It may have been held, and let go all the same.
            Err(away @ Error::NoSuchBackup(_)) => return self.unchanged_if_put_back(backup_id, away).await,
            Err(error) if error.is_unreadable_object() || error.is_refused_object() => None,
            Err(error) => return Err(error),
        };
        let change = loop {
            let generation = match self.newest_hold(backup_id).await? {
                Some(newest) if !newest.is_released => break HoldChange::Unchanged,
                newest => newest.map_or(Some(1), |newest| newest.generation.checked_add(1)),
            };
            let Some(generation) = generation else {
                let reason = "one of the greatest number there is has ended: remove what lies there";
                return Err(Error::damaged(layout::holds_of(backup_id), reason));
            };
            let key = Key::Hold {
                backup_id: backup_id.clone(),
                generation,
            };
            let body = hold_document(backup_id, generation, Some(reason.to_owned()), root, now)?;
            // Somebody else's of this number may have ended already.
            if self.store().put_new(&key.to_string(), body).await? == Put::Created {
                break HoldChange::Changed;
            }
        };
        // An expiry looks at holds after each deletion and puts back what is held: a backup that is there now stays.
        match self.check_exists(backup_id).await {
            Ok(()) => Ok(change),
            Err(away @ Error::NoSuchBackup(_)) => self.unchanged_if_put_back(backup_id, away).await.map(|_| change),
            Err(error) => Err(error),
        }
    }

    async fn unchanged_if_put_back(&self, backup_id: &BackupId, away: Error) -> Result<HoldChange> {
        if self.put_back(backup_id, false).await? {
            Ok(HoldChange::Unchanged)
        } else {
            Err(away)
        }
    }

    /// The hold in force on one backup, as an expiry needs it.
    pub(super) async fn hold_by_name(&self, backup_id: &BackupId) -> Result<Option<HeldRoot>> {
        let Some(newest) = self.newest_hold(backup_id).await?.filter(|newest| !newest.is_released) else {
            return Ok(None);
        };
        let document = self.read_hold(backup_id, newest.generation).await?;
        Ok(Some(HeldRoot {
            since: newest.since,
            root: document.and_then(|document| document.manifest_sha256),
        }))
    }

    /// Lets a backup expire again. Needs no right to delete.
    ///
    /// # Errors
    /// The store's own.
    pub async fn unhold(&self, backup_id: &BackupId, now: Timestamp) -> Result<HoldChange> {
        match self.newest_hold(backup_id).await? {
            Some(newest) if !newest.is_released => {
                let key = Key::HoldRelease {
                    backup_id: backup_id.clone(),
                    generation: newest.generation,
                };
                let body = hold_document(backup_id, newest.generation, None, None, now)?;
                Ok(match self.store().put_new(&key.to_string(), body).await? {
                    Put::Created => HoldChange::Changed,
                    Put::Exists => HoldChange::Unchanged,
                })
            }
            _ => Ok(HoldChange::Unchanged),
        }
    }

    async fn check_exists(&self, backup_id: &BackupId) -> Result<()> {
        match self.store().head(&Key::Manifest(backup_id.clone()).to_string()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(Error::NoSuchBackup(backup_id.clone())),
            Err(error) => Err(error.into()),
        }
    }

    async fn hold_reason(&self, backup_id: &BackupId, generation: u32) -> Result<String> {
        let document = self.read_hold(backup_id, generation).await?;
        Ok(document
            .and_then(|document| document.reason)
            .unwrap_or_else(|| UNKNOWN.to_owned()))
    }

    /// None where it cannot be read, which is a hold all the same.
    async fn read_hold(&self, backup_id: &BackupId, generation: u32) -> Result<Option<HoldDocument>> {
        let key = Key::Hold {
            backup_id: backup_id.clone(),
            generation,
        };
        let key = key.to_string();
        let read = async || match self.store().get_at_most(&key, MAX_RECORD_BYTES).await {
            Ok(object) => document::decode(&key, &object).map(Some),
            Err(error) if error.is_not_found() || error.is_refused() || error.kind == ErrorKind::TooLarge => Ok(None),
            Err(error) => Err(error.into()),
        };
        match twice_if_damaged(read).await {
            Err(error) if error.is_unreadable_object() => Ok(None),
            read => read,
        }
    }

    async fn newest_hold(&self, backup_id: &BackupId) -> Result<Option<Newest>> {
        let listed = self.newest_holds(&layout::holds_of(backup_id)).await?;
        self.newest_by_name(backup_id, listed.get(backup_id).copied()).await
    }

    /// `newest`, which a listing has shown, as it is, or what follows it, as far as anything does.
    async fn newest_by_name(&self, backup_id: &BackupId, mut newest: Option<Newest>) -> Result<Option<Newest>> {
        if let Some(listed) = newest.as_mut().filter(|listed| !listed.is_released) {
            listed.is_released = self.is_released(backup_id, listed.generation).await?;
        }
        while newest.is_none_or(|newest| newest.is_released) {
            let Some(generation) = newest.map_or(0, |newest| newest.generation).checked_add(1) else {
                break;
            };
            let hold = Key::Hold {
                backup_id: backup_id.clone(),
                generation,
            };
            let Some(since) = self.modified_by_name(&hold).await? else {
                break;
            };
            newest = Some(Newest {
                generation,
                since,
                is_released: self.is_released(backup_id, generation).await?,
            });
        }
        Ok(newest)
    }

    async fn is_released(&self, backup_id: &BackupId, generation: u32) -> Result<bool> {
        let release = Key::HoldRelease {
            backup_id: backup_id.clone(),
            generation,
        };
        Ok(self.modified_by_name(&release).await?.is_some())
    }

    async fn newest_holds(&self, prefix: &str) -> Result<BTreeMap<BackupId, Newest>> {
        let mut holds: BTreeMap<BackupId, Newest> = BTreeMap::new();
        // A release sorts after the hold that it ends, and generations sort by number.
        for object in list_all(self.store().as_ref(), prefix, None).await? {
            match object.key.parse() {
                Ok(Key::Hold { backup_id, generation }) => {
                    let newest = Newest {
                        generation,
                        since: object.modified,
                        is_released: false,
                    };
                    holds.insert(backup_id, newest);
                }
                Ok(Key::HoldRelease { backup_id, generation }) => {
                    if let Some(newest) = holds
                        .get_mut(&backup_id)
                        .filter(|newest| newest.generation == generation)
                    {
                        newest.is_released = true;
                    }
                }
                _ => {}
            }
        }
        Ok(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::testing::{Ground, backup_id, time, two_tables};
    use crate::storage::ObjectStore as _;

    #[tokio::test]
    async fn a_hold_lasts_until_it_is_released_and_may_come_back_without_a_deletion() {
        let ground = Ground::new().await;
        ground.backup(0, &two_tables()).await;
        let (repository, held) = (&ground.repository, backup_id(0));
        assert_eq!(repository.hold_of(&held).await.unwrap(), None);
        for (reason, change) in [("audit", HoldChange::Changed), ("another", HoldChange::Unchanged)] {
            assert_eq!(repository.hold(&held, reason, time(1)).await.unwrap(), change);
            assert_eq!(repository.hold_of(&held).await.unwrap().unwrap().reason, "audit");
        }
        assert_eq!(repository.holds().await.unwrap().len(), 1);
        for change in [HoldChange::Changed, HoldChange::Unchanged] {
            assert_eq!(repository.unhold(&held, time(2)).await.unwrap(), change);
            assert!(repository.holds().await.unwrap().is_empty());
        }
        repository.hold(&held, "again", time(3)).await.unwrap();
        assert_eq!(repository.holds().await.unwrap()[&held].reason, "again");
        assert_eq!(ground.store.stats().deletes, 0);
    }

    /// As whoever may write there could have put it.
    #[tokio::test]
    async fn a_hold_after_the_greatest_number_is_an_error_and_neither_success_nor_endless() {
        let ground = Ground::new().await;
        ground.backup(0, &two_tables()).await;
        let (backup_id, generation) = (backup_id(0), u32::MAX);
        let hold = Key::Hold {
            backup_id: backup_id.clone(),
            generation,
        };
        let end = Key::HoldRelease {
            backup_id: backup_id.clone(),
            generation,
        };
        for key in [hold, end] {
            ground.store.put_new(&key.to_string(), "{}".into()).await.unwrap();
        }
        let refused = ground.repository.hold(&backup_id, "audit", time(1)).await;
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_hold_that_cannot_be_read_holds_and_one_on_nothing_is_refused() {
        let ground = Ground::new().await;
        ground.backup(0, &two_tables()).await;
        ground.repository.hold(&backup_id(0), "audit", time(1)).await.unwrap();
        let key = Key::Hold {
            backup_id: backup_id(0),
            generation: 1,
        };
        ground.store.replace(&key.to_string(), b"rubbish".as_slice().into());
        assert_eq!(ground.repository.holds().await.unwrap()[&backup_id(0)].reason, UNKNOWN);
        let refused = ground.repository.hold(&backup_id(9), "audit", time(1)).await;
        assert!(matches!(refused, Err(Error::NoSuchBackup(_))), "{refused:?}");
        assert!(ground.repository.hold_of(&backup_id(9)).await.unwrap().is_none());
    }
}
