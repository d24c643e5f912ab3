//! The backups of the same cluster that could be used before and after another one: what a recovery point is counted
//! from and to.

use super::certificates::last_verdict;
use super::error::{Error, Result};
use super::id::BackupId;
use super::layout::CertificateState;
use super::manifest::Manifest;
use super::reader::Repository;

/// Usable is a backup whose root can be read and which no drill has refuted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// The newest usable one before it.
    pub before: Option<Manifest>,
    /// The oldest usable one after it.
    pub after: Option<Manifest>,
}

impl Repository {
    /// Looks to both sides of `manifest`. A few requests, unless many backups in a row cannot be used.
    ///
    /// # Errors
    /// The store's own.
    pub async fn neighbours(&self, manifest: &Manifest) -> Result<Neighbours> {
        let ids = self.backup_ids().await?;
        let (before, after): (Vec<&BackupId>, Vec<&BackupId>) = ids
            .iter()
            .filter(|backup_id| **backup_id != manifest.backup_id)
            .partition(|backup_id| **backup_id < manifest.backup_id);
        let cluster = &manifest.source.cluster;
        Ok(Neighbours {
            before: self.first_usable(cluster, before.into_iter().rev()).await?,
            after: self.first_usable(cluster, after.into_iter()).await?,
        })
    }

    async fn first_usable(&self, cluster: &str, ids: impl Iterator<Item = &BackupId>) -> Result<Option<Manifest>> {
        for backup_id in ids {
            let manifest = match self.read_manifest(backup_id).await {
                Ok(stored) => stored.manifest,
                Err(Error::Storage(error)) => return Err(error.into()),
                Err(_) => continue,
            };
            if manifest.source.cluster != cluster {
                continue;
            }
            let verdict = last_verdict(&self.certificates_of(backup_id).await?);
            if verdict != Some(CertificateState::Failed) {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }
}
