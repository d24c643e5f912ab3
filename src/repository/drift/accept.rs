//! A person's word that a backup's drift is what was wanted: an object of its own, created once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::repository::document;
use crate::repository::error::{Error, Result};
use crate::repository::id::{BackupId, Sha256Digest};
use crate::repository::layout::{self, Key};
use crate::repository::limits::MAX_RECORD_BYTES;
use crate::repository::manifest::FORMAT_VERSION;
use crate::repository::reader::{Repository, StoredManifest, twice_if_damaged};
use crate::storage::{Put, list_all};

/// `drift/<backup_id>.json`. That it exists is what counts; the rest is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftAcceptance {
    pub format_version: u32,
    pub backup_id: BackupId,
    /// Of the root whose findings were accepted.
    pub manifest_sha256: Sha256Digest,
    pub accepted: jiff::Timestamp,
    /// Who, as the program was told or found out.
    pub by: String,
    pub reason: String,
}

impl DriftAcceptance {
    #[must_use]
    pub fn new(stored: &StoredManifest, accepted: jiff::Timestamp, by: String, reason: String) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            backup_id: stored.manifest.backup_id.clone(),
            manifest_sha256: stored.sha256,
            accepted,
            by,
            reason,
        }
    }
}

impl Repository {
    /// The backups whose drift was accepted. One listing.
    ///
    /// # Errors
    /// The store's own.
    pub async fn accepted_drifts(&self) -> Result<BTreeSet<BackupId>> {
        let objects = list_all(self.store().as_ref(), layout::DRIFT, None).await?;
        let accepted = objects.iter().filter_map(|object| match object.key.parse() {
            Ok(Key::DriftAcceptance(backup_id)) => Some(backup_id),
            _ => None,
        });
        Ok(accepted.collect())
    }

    /// Writes it down. False: somebody had done so before, and theirs stands.
    ///
    /// # Errors
    /// The store's own.
    pub async fn accept_drift(&self, acceptance: &DriftAcceptance) -> Result<bool> {
        let key = Key::DriftAcceptance(acceptance.backup_id.clone()).to_string();
        let put = self.store().put_new(&key, document::encode(acceptance)?).await?;
        Ok(put == Put::Created)
    }

    /// What was accepted by whom; none when nobody did.
    ///
    /// # Errors
    /// `Damaged`, `UnknownFormat`, or the store's own.
    pub async fn drift_acceptance(&self, backup_id: &BackupId) -> Result<Option<DriftAcceptance>> {
        let key = Key::DriftAcceptance(backup_id.clone()).to_string();
        let read = async || match self.store().get_at_most(&key, MAX_RECORD_BYTES).await {
            Ok(object) => document::decode(&key, &object).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::of_get(error)),
        };
        twice_if_damaged(read).await
    }
}
