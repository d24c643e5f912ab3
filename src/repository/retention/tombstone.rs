//! What is left of an expired backup: a copy of its root, and a mark that says since when its manifest is gone.
//!
//! The tombstone is written before the manifest is deleted, the mark after. A backup that was under way may refer to
//! chunks of the expired one, having read its manifest before it went: until the grace period after the mark is over, its
//! chunks stay. Whoever finds a tombstone without a manifest and without the mark writes the mark, so that an interrupted
//! expiry only takes longer.
//!
//! A hold may come between an expiry's last look and its deletion. So holds are looked at once more after it, and the root of
//! what is held is put back, by this expiry or by a later one. Until then its chunks stay.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::repository::document;
use crate::repository::error::{Error, Result};
use crate::repository::id::{BackupId, Sha256Digest};
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::manifest::{FORMAT_VERSION, Manifest};
use crate::repository::reader::{Repository, StoredManifest};
use crate::storage::list_all;

/// So long after its mark a backup's chunks are all there: much shorter than any grace period.
const SURELY_WHOLE: SignedDuration = SignedDuration::from_hours(1);

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

    /// Whether a hold of that time means this backup: it came while all of it was there. What is held later was let go for good.
    pub(super) fn is_held_in_time(&self, held_since: Timestamp) -> bool {
        let is_early = |gone_since: Timestamp| held_since <= gone_since + SURELY_WHOLE;
        self.is_there() && self.gone_since.is_none_or(is_early)
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
    /// Of the root's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_sha256: Option<Sha256Digest>,
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
    pub(in crate::repository) async fn put_tombstone(&self, stored: StoredManifest, now: Timestamp) -> Result<()> {
        let backup_id = stored.manifest.backup_id.clone();
        let object = document::encode(&TombstoneDocument {
            format_version: FORMAT_VERSION,
            backup_id: backup_id.clone(),
            expired: now,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest_sha256: Some(stored.sha256),
            manifest: stored.manifest,
        })?;
        self.store()
            .put_new(&Key::Tombstone(backup_id).to_string(), object)
            .await?;
        Ok(())
    }

    /// The root of an expired backup; none where there is no tombstone.
    pub(in crate::repository) async fn read_tombstone(&self, backup_id: &BackupId) -> Result<Option<Manifest>> {
        Ok(self
            .read_tombstone_document(backup_id)
            .await?
            .map(|document| document.manifest))
    }

    async fn read_tombstone_document(&self, backup_id: &BackupId) -> Result<Option<TombstoneDocument>> {
        let key = Key::Tombstone(backup_id.clone()).to_string();
        let object = match self.store().get_at_most(&key, MAX_RECORD_BYTES).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::of_get(error)),
        };
        let read: TombstoneDocument = document::decode(&key, &object)?;
        if read.backup_id == *backup_id && read.manifest.backup_id == *backup_id {
            Ok(Some(read))
        } else {
            Err(Error::damaged(key, "it is the tombstone of another backup"))
        }
    }

    /// Makes an expired backup exist again, byte for byte. False: it has no tombstone, or not one of a time in which all of it
    /// was surely there.
    ///
    /// # Errors
    /// `HeldAway` when it is to be put back and cannot be; the store's own.
    pub(in crate::repository) async fn put_back(&self, backup_id: &BackupId, held_since: Timestamp) -> Result<bool> {
        if !self.tombstone_by_name(backup_id).await?.is_held_in_time(held_since) {
            return Ok(false);
        }
        match self.put_root_of_tombstone(backup_id).await {
            Ok(()) => {
                tracing::info!(%backup_id, "it was held while it was being let go, and is there again");
                Ok(true)
            }
            Err(error) => Err(Error::HeldAway {
                backup_id: backup_id.clone(),
                source: Box::new(error),
            }),
        }
    }

    async fn put_root_of_tombstone(&self, backup_id: &BackupId) -> Result<()> {
        let key = Key::Tombstone(backup_id.clone()).to_string();
        let Some(document) = self.read_tombstone_document(backup_id).await? else {
            return Err(Error::damaged(key, "missing"));
        };
        let root = document::encode(&document.manifest)?;
        let digest = Sha256Digest::of(&root);
        if document.manifest_sha256.is_some_and(|expected| expected != digest) {
            return Err(Error::damaged(
                key,
                "its root cannot be written as it was: update this program",
            ));
        }
        let manifest = Key::Manifest(backup_id.clone()).to_string();
        self.store().put_new(&manifest, root).await?;
        Ok(())
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
