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
use crate::repository::manifest::{Chunk, FORMAT_VERSION, Manifest};
use crate::repository::presence::stored_objects;
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
        let backup_id = manifest.backup_id.clone();
        let object = document::encode(&TombstoneDocument {
            format_version: FORMAT_VERSION,
            backup_id: backup_id.clone(),
            expired: now,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest,
        })?;
        self.store()
            .put_new(&Key::Tombstone(backup_id).to_string(), object)
            .await?;
        Ok(())
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

    /// Makes an expired backup that is held exist again, byte for byte. False: it is not, or was held too late. Who has just
    /// deleted the root says so: however old a mark is, the backup was there until then.
    ///
    /// # Errors
    /// `HeldAway` when it is to be put back and cannot be; the store's own.
    pub(in crate::repository) async fn put_back(&self, backup_id: &BackupId, is_just_deleted: bool) -> Result<bool> {
        let Some(hold) = self.hold_by_name(backup_id).await? else {
            return Ok(false);
        };
        let tombstone = self.tombstone_by_name(backup_id).await?;
        if !is_just_deleted && !tombstone.is_held_in_time(hold.since) {
            return Ok(false);
        }
        let put = async {
            self.put_root_of_tombstone(backup_id, hold.root).await?;
            if tombstone.gone_since.is_some() {
                // It is of an earlier life now. Who expires this backup again removes it first, where we may not.
                let _ = self.store().delete(&Key::Gone(backup_id.clone()).to_string()).await;
            }
            Ok(())
        };
        match put.await {
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

    /// Only the root whose digest the hold names, and only while everything is there that it needs: who may write tombstones
    /// must not be able to write roots by way of us.
    async fn put_root_of_tombstone(&self, backup_id: &BackupId, held: Option<Sha256Digest>) -> Result<()> {
        let key = Key::Tombstone(backup_id.clone()).to_string();
        let Some(manifest) = self.read_tombstone(backup_id).await? else {
            return Err(Error::damaged(key, "missing"));
        };
        let root = document::encode(&manifest)?;
        let sha256 = Sha256Digest::of(&root);
        if held != Some(sha256) {
            return Err(Error::damaged(key, "it is not of the manifest that the hold names"));
        }
        let backup = self.read_index(StoredManifest { manifest, sha256 }).await?;
        let chunks: Vec<&Chunk> = backup.manifest.index.iter().chain(&backup.chunks).collect();
        let keys = chunks.iter().map(|chunk| chunk.key.clone()).collect();
        let there = stored_objects(self.store().as_ref(), keys).await?;
        if let Some(missing) = chunks.iter().find(|chunk| !there.contains_key(&chunk.key)) {
            return Err(Error::damaged(&missing.key, "missing"));
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
