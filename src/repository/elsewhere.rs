//! What drills in another place have said of the same backup: brought by a copy, and kept apart from this place's own
//! certificates, since they speak of the contents and not of the bytes that lie here.
//!
//! Which backup may go is decided by proof. A copy that nobody drills would have none, and let nothing go for ever; so
//! where no drill of this place has judged a backup, what one elsewhere said of it counts, unless a verification here has
//! found its bytes damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::certificates::{CertificateRef, last_verdict};
use super::error::Result;
use super::id::BackupId;
use super::layout::{self, CertificateState, Key};
use super::limits::MAX_REPORT_BYTES;
use super::reader::Repository;
use crate::storage::list_all;

/// What a damage record says of backups.
#[derive(Deserialize)]
struct NamesBackups {
    defects: Vec<NamesBackup>,
}

#[derive(Deserialize)]
struct NamesBackup {
    backups: Vec<BackupId>,
}

/// Where the word of a drill of another place lies.
pub(super) fn key_of(backup_id: &BackupId, word: &CertificateRef) -> Key {
    Key::Elsewhere {
        backup_id: backup_id.clone(),
        drill_id: word.drill_id.clone(),
        state: word.state,
    }
}

impl Repository {
    /// What drills in other places said, by backup, each list in order of time. One listing.
    pub(super) async fn words_from_elsewhere(&self) -> Result<BTreeMap<BackupId, Vec<CertificateRef>>> {
        let mut words: BTreeMap<BackupId, Vec<CertificateRef>> = BTreeMap::new();
        for object in list_all(self.store().as_ref(), layout::ELSEWHERE, None).await? {
            if let Ok(Key::Elsewhere {
                backup_id,
                drill_id,
                state,
            }) = object.key.parse()
            {
                let of_backup = words.entry(backup_id).or_default();
                of_backup.push(CertificateRef { drill_id, state });
            }
        }
        for of_backup in words.values_mut() {
            of_backup.sort_unstable();
        }
        Ok(words)
    }

    /// The verdicts that count here although they were found in other places. Those of backups that a verification here
    /// has found damaged are left out.
    pub(super) async fn verdicts_from_elsewhere(&self) -> Result<BTreeMap<BackupId, CertificateState>> {
        let words = self.words_from_elsewhere().await?;
        if words.is_empty() {
            return Ok(BTreeMap::new());
        }
        let damaged = self.damaged_backups().await?;
        let sound = words.into_iter().filter(|(backup_id, _)| !damaged.contains(backup_id));
        Ok(sound
            .filter_map(|(backup_id, words)| Some((backup_id, last_verdict(&words)?)))
            .collect())
    }

    /// Backups that verifications of this place have found damaged.
    async fn damaged_backups(&self) -> Result<BTreeSet<BackupId>> {
        let mut damaged = BTreeSet::new();
        for record in list_all(self.store().as_ref(), layout::DAMAGE, None).await? {
            let body = match self.store().get_at_most(&record.key, MAX_REPORT_BYTES).await {
                Ok(body) => body,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            match serde_json::from_slice::<NamesBackups>(&body) {
                Ok(names) => damaged.extend(names.defects.into_iter().flat_map(|defect| defect.backups)),
                // It may name any of them.
                Err(error) => {
                    tracing::warn!(key = record.key, %error, "does not say which backups are damaged: no word from elsewhere counts");
                    damaged.extend(self.backup_ids().await?);
                }
            }
        }
        Ok(damaged)
    }
}
