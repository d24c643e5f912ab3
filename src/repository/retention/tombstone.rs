//! What is left of an expired backup: a copy of its root, and a mark that says since when its manifest is gone.
//!
//! The tombstone is written before the manifest is deleted, the mark after. A backup that was under way may refer to
//! chunks of the expired one, having read its manifest before it went: until the grace period after the mark is over, its
//! chunks stay. Whoever finds a tombstone without a manifest and without the mark writes the mark, so that an interrupted
//! expiry only takes longer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::repository::document;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::manifest::{FORMAT_VERSION, Manifest};
use crate::repository::reader::Repository;
use crate::storage::list_all;

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
    pub(in crate::repository) async fn put_tombstone(&self, manifest: Manifest, now: Timestamp) -> Result<()> {
        let key = Key::Tombstone(manifest.backup_id.clone()).to_string();
        let object = document::encode(&TombstoneDocument {
            format_version: FORMAT_VERSION,
            backup_id: manifest.backup_id.clone(),
            expired: now,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest,
        })?;
        self.store().put_new(&key, object).await?;
        Ok(())
    }

    /// Whether an expiry of it was begun, or is over.
    pub(in crate::repository) async fn is_buried(&self, backup_id: &BackupId) -> Result<bool> {
        let written = self.modified_by_name(&Key::Tombstone(backup_id.clone())).await?;
        Ok(written.is_some())
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

    /// What there is of it, whatever a listing says.
    pub(super) async fn tombstone_by_name(&self, backup_id: &BackupId) -> Result<Tombstone> {
        let key = Key::Tombstone(backup_id.clone());
        Ok(Tombstone {
            written: self.modified_by_name(&key).await?,
            gone_since: self.gone_by_name(backup_id).await?,
        })
    }

    /// Since when the mark is there, whatever a listing says.
    pub(super) async fn gone_by_name(&self, backup_id: &BackupId) -> Result<Option<Timestamp>> {
        self.modified_by_name(&Key::Gone(backup_id.clone())).await
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
