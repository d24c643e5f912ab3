//! What drills in another place have said of the same backup: brought by a copy, and kept apart from this place's own
//! certificates, since they speak of the contents and not of the bytes that lie here.
//!
//! Which backup may go is decided by proof. A copy that nobody drills would have none, and let nothing go for ever; so
//! where no drill of this place has judged a backup, what one elsewhere said of it counts, unless a verification here has
//! found its bytes damaged.

use std::collections::{BTreeMap, BTreeSet};

use super::certificates::{CertificateRef, last_verdict};
use super::error::Result;
use super::id::BackupId;
use super::layout::{self, CertificateState, Key};
use super::reader::Repository;
use crate::storage::list_all;

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

    /// The verdicts that count here although they were found in other places. Those of backups that are known to be `damaged`
    /// here are left out.
    pub(super) async fn verdicts_from_elsewhere(
        &self,
        damaged: &BTreeSet<BackupId>,
    ) -> Result<BTreeMap<BackupId, CertificateState>> {
        let words = self.words_from_elsewhere().await?.into_iter();
        let sound = words.filter(|(backup_id, _)| !damaged.contains(backup_id));
        Ok(sound
            .filter_map(|(backup_id, words)| Some((backup_id, last_verdict(&words)?)))
            .collect())
    }
}
