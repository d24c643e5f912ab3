//! What is left of an expired backup: a copy of its root, and a mark that says since when its manifest is gone.
//!
//! The tombstone is written before the manifest is deleted, the mark after. A backup that was under way may refer to
//! chunks of the expired one, having read its manifest before it went: until the grace period after the mark is over, its
//! chunks stay. Whoever finds a tombstone without a manifest and without the mark writes the mark, so that an interrupted
//! expiry only takes longer.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::repository::document;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::manifest::{FORMAT_VERSION, Manifest};
use crate::repository::reader::Repository;
use crate::storage::{Put, list_all};

/// How long after a tombstone was written an expiry may delete by it: it has looked at holds in between, and whoever places one
/// later must be able to tell when that look no longer counts.
pub(super) const DELETES_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// So much longer the deletion may be under way: its tries have an end.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(15);

/// A tombstone as a listing tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Since when the object itself is there; a mark may have outlived it.
    pub(super) written: Option<Timestamp>,
    /// When the manifest was known to be gone.
    pub(super) gone_since: Option<Timestamp>,
}

impl Tombstone {
    pub(super) fn is_there(&self) -> bool {
        self.written.is_some()
    }
}

/// `tombstones/<backup_id>.json`.
#[derive(Debug, Serialize, Deserialize)]
struct TombstoneDocument {
    format_version: u32,
    backup_id: BackupId,
    /// By the clock of whoever expired it.
    expired: Timestamp,
    tool_version: String,
    manifest: Manifest,
}

/// `tombstones/<backup_id>.gone.json`. Its time is the object's own.
#[derive(Debug, Serialize)]
struct GoneDocument<'a> {
    format_version: u32,
    backup_id: &'a BackupId,
    tool_version: &'a str,
}

impl Repository {
    pub(super) async fn tombstones(&self) -> Result<BTreeMap<BackupId, Tombstone>> {
        let mut tombstones: BTreeMap<BackupId, Tombstone> = BTreeMap::new();
        for object in list_all(self.store().as_ref(), layout::TOMBSTONES, None).await? {
            match object.key.parse() {
                Ok(Key::Tombstone(backup_id)) => {
                    tombstones.entry(backup_id).or_default().written = Some(object.modified);
                }
                Ok(Key::Gone(backup_id)) => {
                    tombstones.entry(backup_id).or_default().gone_since = Some(object.modified);
                }
                _ => {}
            }
        }
        Ok(tombstones)
    }

    /// One that is there already says the same: a manifest never changes.
    pub(in crate::repository) async fn put_tombstone(&self, manifest: Manifest, now: Timestamp) -> Result<Put> {
        let key = Key::Tombstone(manifest.backup_id.clone()).to_string();
        let object = document::encode(&TombstoneDocument {
            format_version: FORMAT_VERSION,
            backup_id: manifest.backup_id.clone(),
            expired: now,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest,
        })?;
        Ok(self.store().put_new(&key, object).await?)
    }

    /// Since when there is a tombstone, by the store's clock. Asks for it anew.
    pub(super) async fn buried_since(&self, backup_id: &BackupId) -> Result<Option<Timestamp>> {
        match self.store().head(&Key::Tombstone(backup_id.clone()).to_string()).await {
            Ok(tombstone) => Ok(Some(tombstone.modified)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Until when an expiry may still delete this backup that has not seen a hold which came at `held_since`; none where whoever
    /// expires sees that hold.
    ///
    /// An expiry writes the tombstone first and looks at holds after that, so that one which begins later sees it.
    pub(in crate::repository) async fn may_expire_unseen_until(
        &self,
        backup_id: &BackupId,
        held_since: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let buried = self.buried_since(backup_id).await?;
        // Of the same second, nobody knows which of the two came first.
        let until = buried
            .filter(|buried| *buried <= held_since)
            .map(|buried| buried + DELETES_WITHIN + UNDER_WAY);
        Ok(until.filter(|until| *until > self.store().now()))
    }

    /// The root of an expired backup; none where there is no tombstone.
    pub(in crate::repository) async fn read_tombstone(&self, backup_id: &BackupId) -> Result<Option<Manifest>> {
        let key = Key::Tombstone(backup_id.clone()).to_string();
        let object = match self.store().get_at_most(&key, MAX_RECORD_BYTES).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::of_get(error)),
        };
        let read: TombstoneDocument = document::decode(&key, &object)?;
        if read.backup_id == *backup_id && read.manifest.backup_id == *backup_id {
            Ok(Some(read.manifest))
        } else {
            Err(Error::damaged(key, "it is the tombstone of another backup"))
        }
    }

    /// Only once the manifest was seen to be gone.
    pub(super) async fn put_gone(&self, backup_id: &BackupId) -> Result<()> {
        let object = document::encode(&GoneDocument {
            format_version: FORMAT_VERSION,
            backup_id,
            tool_version: env!("CARGO_PKG_VERSION"),
        })?;
        let key = Key::Gone(backup_id.clone()).to_string();
        self.store().put_new(&key, object).await?;
        Ok(())
    }
}
