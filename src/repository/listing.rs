//! What lies in the repository by listings alone, and what tells an object that was written anew from the one before it.

use std::collections::{BTreeMap, BTreeSet};

use super::certificates::CertificateRef;
use super::error::{Error, Result};
use super::id::BackupId;
use super::layout::{self, Key};
use super::reader::Repository;
use crate::storage::{ObjectMeta, list_all};

/// An object as a listing tells it. This program overwrites nothing; others can, and whoever keeps what was read must see
/// it. Stores tell the second: what is written anew within one, in the same size, looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    bytes: u64,
    modified: jiff::Timestamp,
}

impl ObjectVersion {
    fn of(object: &ObjectMeta) -> Self {
        Self {
            bytes: object.bytes,
            modified: object.modified,
        }
    }

    /// When it was stored, by the store's clock.
    pub(super) fn modified(&self) -> jiff::Timestamp {
        self.modified
    }
}

/// The drills' objects of one backup, in order of time.
pub type ListedCertificates = Vec<(CertificateRef, ObjectVersion)>;

impl Repository {
    /// Every backup, oldest first.
    ///
    /// # Errors
    /// The store's own.
    pub async fn list_backups(&self) -> Result<Vec<(BackupId, ObjectVersion)>> {
        let objects = list_all(self.store().as_ref(), layout::MANIFESTS, None).await?;
        let mut backups: Vec<(BackupId, ObjectVersion)> = objects
            .iter()
            .filter_map(|object| match object.key.parse() {
                Ok(Key::Manifest(backup_id)) => Some((backup_id, ObjectVersion::of(object))),
                _ => None,
            })
            .collect();
        backups.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(backups)
    }

    /// Every backup, for whoever deletes what none of them needs.
    ///
    /// # Errors
    /// `Damaged` for what lies among the manifests and is none by its name: somebody has renamed one, or a later version names
    /// them otherwise, and nobody knows what it needs. The store's own.
    pub(super) async fn backups_without_strangers(&self) -> Result<BTreeSet<BackupId>> {
        let objects = list_all(self.store().as_ref(), layout::MANIFESTS, None).await?;
        // Folders, as consoles and file servers make them, and what lies in them never were manifests.
        let is_direct = |object: &ObjectMeta| !object.key[layout::MANIFESTS.len()..].contains('/');
        let named = objects
            .into_iter()
            .filter(|object| object.key != layout::MANIFESTS && is_direct(object));
        let backup_of = |object: ObjectMeta| match object.key.parse() {
            Ok(Key::Manifest(backup_id)) => Ok(backup_id),
            _ => Err(Error::damaged(
                object.key,
                "no manifest by its name, and nobody knows what it needs: give it its name again, or move it elsewhere",
            )),
        };
        named.map(backup_of).collect()
    }

    /// Every drill's objects by backup. One listing.
    ///
    /// # Errors
    /// The store's own.
    pub async fn list_certificates(&self) -> Result<BTreeMap<BackupId, ListedCertificates>> {
        self.list_certificates_under(layout::CERTIFICATES).await
    }

    pub(super) async fn list_certificates_under(&self, prefix: &str) -> Result<BTreeMap<BackupId, ListedCertificates>> {
        let mut certificates: BTreeMap<BackupId, ListedCertificates> = BTreeMap::new();
        for object in list_all(self.store().as_ref(), prefix, None).await? {
            if let Ok(Key::Certificate {
                backup_id,
                drill_id,
                state,
            }) = object.key.parse()
            {
                let of_backup = certificates.entry(backup_id).or_default();
                of_backup.push((CertificateRef { drill_id, state }, ObjectVersion::of(&object)));
            }
        }
        for of_backup in certificates.values_mut() {
            of_backup.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(certificates)
    }
}
