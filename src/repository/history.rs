//! What the repository as a whole knows: earlier backups, the clusters it has seen, the objects known as damaged.

use std::collections::{BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::certificates::{CertificateRef, last_verdict};
use super::error::{Error, Result};
use super::id::BackupId;
use super::layout::{self, CertificateState};
use super::limits::MAX_REPORT_BYTES;
use super::presence::CONCURRENCY;
use super::reader::{Repository, StoredManifest};
use crate::storage::{ErrorKind, list_all};

/// What certificates and damage records share.
#[derive(Deserialize)]
struct NamesDamage {
    #[serde(default)]
    damaged_objects: Vec<String>,
}

impl Repository {
    /// The system identifiers of every cluster that has a backup here.
    ///
    /// # Errors
    /// Any root that cannot be read: a guard must not take an unknown cluster for none.
    pub async fn system_identifiers(&self) -> Result<BTreeSet<String>> {
        let ids = self.backup_ids().await?;
        let identifiers: Vec<Option<String>> = stream::iter(ids)
            .map(|backup_id| async move {
                match self.read_manifest(&backup_id).await {
                    Ok(stored) => Ok(Some(stored.manifest.source.system_identifier)),
                    // Expired since the listing.
                    Err(Error::NoSuchBackup(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(identifiers.into_iter().flatten().collect())
    }

    /// The newest backup of `cluster` that no drill has refuted: the one whose chunks a new backup may reuse. Roots that
    /// cannot be read are passed over, since a new backup is their remedy; and so are those that the store keeps back, as
    /// long as it gives another one.
    ///
    /// # Errors
    /// The store's own.
    pub async fn previous_backup(&self, cluster: &str) -> Result<Option<StoredManifest>> {
        let mut ids = self.backup_ids().await?;
        let mut newest: Option<StoredManifest> = None;
        let (mut refusal, mut is_any_read) = (None, false);
        while let Some(backup_id) = ids.pop() {
            // Ids tell the second; within one, the roots tell which came last.
            let is_older = |found: &StoredManifest| backup_id.time() < found.manifest.backup_id.time();
            if newest.as_ref().is_some_and(is_older) {
                break;
            }
            let stored = match self.read_manifest(&backup_id).await {
                Ok(stored) => stored,
                Err(error) => {
                    let is_refused = error.is_refused_object();
                    if matches!(error, Error::Storage(_)) && !is_refused {
                        return Err(error);
                    }
                    let cause: &dyn std::error::Error = &error;
                    tracing::warn!(%backup_id, error = cause, "backup passed over");
                    if is_refused {
                        refusal = Some(error);
                    }
                    continue;
                }
            };
            is_any_read = true;
            let is_newer = |found: &StoredManifest| stored.manifest.finished > found.manifest.finished;
            if stored.manifest.source.cluster == cluster
                && newest.as_ref().is_none_or(is_newer)
                && !self.is_refuted(&backup_id).await?
            {
                newest = Some(stored);
            }
        }
        match refusal {
            Some(error) if !is_any_read => Err(error),
            _ => Ok(newest),
        }
    }

    async fn is_refuted(&self, backup_id: &BackupId) -> Result<bool> {
        let certificates = self.certificates_of(backup_id).await?;
        Ok(last_verdict(&certificates) == Some(CertificateState::Failed))
    }

    /// Keys that failed certificates or verifications name. They are never reused.
    ///
    /// # Errors
    /// The store's own.
    pub async fn damaged_keys(&self) -> Result<HashSet<String>> {
        let records = list_all(self.store().as_ref(), layout::DAMAGE, None).await?;
        let records = records.into_iter().map(|object| object.key);
        let failed = self.certificates().await?;
        let failed = failed.iter().flat_map(|(backup_id, certificates)| {
            let failed = certificates.iter().filter(|certificate| is_failed(certificate));
            failed.map(move |certificate| certificate.key(backup_id))
        });
        let keys: Vec<String> = records.chain(failed).collect();
        let lists: Vec<Option<Vec<String>>> = stream::iter(keys)
            .map(|key| async move { self.damage_named_in(&key).await })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(lists.into_iter().flatten().flatten().collect())
    }

    /// The keys that one certificate or damage record names; none where it cannot be read and may name anything.
    pub(super) async fn damage_named_in(&self, key: &str) -> Result<Option<Vec<String>>> {
        let object = match self.store().get_at_most(key, MAX_REPORT_BYTES).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(Some(Vec::new())),
            Err(error) if error.kind == ErrorKind::TooLarge => {
                tracing::warn!(key, "too large to say which objects are damaged");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match serde_json::from_slice::<NamesDamage>(&object) {
            Ok(names) => Ok(Some(names.damaged_objects)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(key, error, "does not say which objects are damaged");
                Ok(None)
            }
        }
    }
}

fn is_failed(certificate: &CertificateRef) -> bool {
    certificate.state == CertificateState::Failed
}
