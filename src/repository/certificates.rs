//! Certificates as objects: put, listed and read. What stands in them is the drill's affair, except for the keys that a
//! failed one names as damaged.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::{Error, Result};
use super::id::{BackupId, DrillId};
use super::layout::{self, CertificateState, Key};
use super::limits::MAX_REPORT_BYTES;
use super::listing::ListedCertificates;
use super::reader::{Repository, twice_if_damaged};
use crate::storage::Put;

/// One object of a drill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateRef {
    pub drill_id: DrillId,
    pub state: CertificateState,
}

impl CertificateRef {
    /// Its key beside `backup_id`.
    #[must_use]
    pub fn key(&self, backup_id: &BackupId) -> String {
        let key = Key::Certificate {
            backup_id: backup_id.clone(),
            drill_id: self.drill_id.clone(),
            state: self.state,
        };
        key.to_string()
    }
}

/// The verdict that counts: the newest that is `Certified` or `Failed`. An interrupted drill or one that could not judge
/// takes nothing back.
#[must_use]
pub fn last_verdict(certificates: &[CertificateRef]) -> Option<CertificateState> {
    certificates
        .iter()
        .filter(|certificate| {
            matches!(
                certificate.state,
                CertificateState::Certified | CertificateState::Failed
            )
        })
        .max()
        .map(|certificate| certificate.state)
}

impl Repository {
    /// Every drill's objects by backup, each list in order of time. One listing.
    ///
    /// # Errors
    /// The store's own.
    pub async fn certificates(&self) -> Result<BTreeMap<BackupId, Vec<CertificateRef>>> {
        let listed = self.list_certificates().await?;
        Ok(listed
            .into_iter()
            .map(|(id, of_backup)| (id, without_versions(of_backup)))
            .collect())
    }

    /// The drills' objects of one backup, in order of time.
    ///
    /// # Errors
    /// The store's own.
    pub async fn certificates_of(&self, backup_id: &BackupId) -> Result<Vec<CertificateRef>> {
        let mut listed = self
            .list_certificates_under(&layout::certificates_of(backup_id))
            .await?;
        Ok(without_versions(listed.remove(backup_id).unwrap_or_default()))
    }

    /// Stores what a drill has to say; the same once more is no error.
    ///
    /// # Errors
    /// `Conflict` when other contents are there already, or the store's own.
    pub async fn put_certificate(
        &self,
        backup_id: &BackupId,
        drill_id: &DrillId,
        state: CertificateState,
        body: Bytes,
    ) -> Result<()> {
        let drill_id = drill_id.clone();
        let key = CertificateRef { drill_id, state }.key(backup_id);
        if body.len() as u64 > MAX_REPORT_BYTES {
            let bytes = body.len();
            return Err(Error::invalid(format!(
                "a certificate of {bytes} bytes, at most {MAX_REPORT_BYTES} can be read"
            )));
        }
        match self.store().put_new(&key, body.clone()).await? {
            Put::Created => Ok(()),
            Put::Exists if self.store().get_at_most(&key, MAX_REPORT_BYTES).await? == body => Ok(()),
            Put::Exists => Err(Error::Conflict { key }),
        }
    }

    /// What a drill had to say, as `understand` makes it out of its key and its bytes.
    ///
    /// # Errors
    /// `Damaged` when it is gone, or the store's own; those of `understand`.
    pub async fn read_certificate<T>(
        &self,
        backup_id: &BackupId,
        certificate: &CertificateRef,
        understand: impl Fn(&str, &[u8]) -> Result<T>,
    ) -> Result<T> {
        let key = certificate.key(backup_id);
        let read = async || {
            let body = self.store().get_at_most(&key, MAX_REPORT_BYTES).await;
            understand(&key, &body.map_err(Error::of_get)?)
        };
        twice_if_damaged(read).await
    }
}

fn without_versions(listed: ListedCertificates) -> Vec<CertificateRef> {
    listed.into_iter().map(|(certificate, _)| certificate).collect()
}
