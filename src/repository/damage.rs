//! What verifications and failed drills of this place have found damaged: which object, of which backups, and when that was
//! said. An object of the same name that came later is another one: somebody removed the damaged one, and a copy brought it anew.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Deserialize;

use super::error::Result;
use super::id::BackupId;
use super::layout::{self, CertificateState, Key};
use super::limits::MAX_REPORT_BYTES;
use super::presence::{CONCURRENCY, stored_objects};
use super::reader::Repository;
use crate::storage::{ObjectMeta, list_all};

/// What a damage record says.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    damaged_objects: Vec<String>,
    defects: Option<Vec<RecordedDefect>>,
}

#[derive(Deserialize)]
struct RecordedDefect {
    key: String,
    backups: Vec<BackupId>,
}

/// What one record or certificate says.
struct Word {
    said: Timestamp,
    objects: Vec<(String, Vec<BackupId>)>,
    /// It does not say which backups are damaged.
    may_name_any: bool,
}

/// All that was said.
#[derive(Debug, Default)]
pub(super) struct KnownDamage {
    objects: HashMap<String, Said>,
    /// Something was said that cannot be read.
    pub(super) may_name_any: bool,
}

#[derive(Debug)]
struct Said {
    last: Timestamp,
    backups: BTreeSet<BackupId>,
}

impl KnownDamage {
    /// Whether `object` is one that was found damaged.
    pub(super) fn names(&self, object: &ObjectMeta) -> bool {
        let said = self.objects.get(&object.key);
        said.is_some_and(|said| object.modified <= said.last)
    }

    /// Whether it is known that the object `key` is damaged and each of `backups` with it.
    pub(super) fn knows(&self, key: &str, backups: &[BackupId]) -> bool {
        let said = self.objects.get(key);
        said.is_some_and(|said| backups.iter().all(|backup_id| said.backups.contains(backup_id)))
    }

    pub(super) fn backups(&self) -> impl Iterator<Item = &BackupId> {
        self.objects.values().flat_map(|said| &said.backups)
    }

    fn take_in(&mut self, word: Word) {
        self.may_name_any |= word.may_name_any;
        for (key, backups) in word.objects {
            let said = self.objects.entry(key).or_insert_with(|| Said {
                last: word.said,
                backups: BTreeSet::new(),
            });
            said.last = said.last.max(word.said);
            said.backups.extend(backups);
        }
    }
}

impl Repository {
    /// All that was ever said here of damage, as far as it is still there. Two listings.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn known_damage(&self) -> Result<KnownDamage> {
        let mut objects = list_all(self.store().as_ref(), layout::DAMAGE, None).await?;
        objects.extend(list_all(self.store().as_ref(), layout::CERTIFICATES, None).await?);
        let words: Vec<Option<Word>> = stream::iter(objects)
            .map(|object| self.word_of(object))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut known = KnownDamage::default();
        for word in words.into_iter().flatten() {
            known.take_in(word);
        }
        Ok(known)
    }

    /// The same without what has been mended since.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn standing_damage(&self) -> Result<KnownDamage> {
        let mut known = self.known_damage().await?;
        let keys = known.objects.keys().cloned().collect();
        let there = stored_objects(self.store().as_ref(), keys).await?;
        let is_mended = |key: &str, said: &Said| there.get(key).is_some_and(|object| object.modified > said.last);
        known.objects.retain(|key, said| !is_mended(key, said));
        Ok(known)
    }

    /// What of `damage` is not there any more: chunks, with the backups that need them.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn removed_of<'a>(
        &self,
        damage: &'a KnownDamage,
    ) -> Result<Vec<(String, &'a BTreeSet<BackupId>)>> {
        let is_chunk = |key: &&String| matches!(key.parse(), Ok(Key::Chunk { .. }));
        let keys: Vec<String> = damage.objects.keys().filter(is_chunk).cloned().collect();
        let there = stored_objects(self.store().as_ref(), keys).await?;
        let objects = damage.objects.iter().filter(|(key, _)| is_chunk(key));
        let removed = objects.filter(|(key, _)| !there.contains_key(*key));
        let mut removed: Vec<_> = removed.map(|(key, said)| (key.clone(), &said.backups)).collect();
        removed.sort();
        Ok(removed)
    }

    async fn word_of(&self, object: ObjectMeta) -> Result<Option<Word>> {
        match object.key.parse() {
            Ok(Key::Damage(_)) => self.record(object).await,
            Ok(Key::Certificate {
                backup_id,
                state: CertificateState::Failed,
                ..
            }) => {
                let damaged = self.damage_named_in(&object.key).await?.unwrap_or_default();
                Ok(Some(Word {
                    said: object.modified,
                    objects: damaged.into_iter().map(|key| (key, vec![backup_id.clone()])).collect(),
                    // Its own verdict on its own backup goes before any other word.
                    may_name_any: false,
                }))
            }
            _ => Ok(None),
        }
    }

    async fn record(&self, object: ObjectMeta) -> Result<Option<Word>> {
        let body = match self.store().get_at_most(&object.key, MAX_REPORT_BYTES).await {
            Ok(body) => body,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = serde_json::from_slice(&body).unwrap_or_else(|error| {
            tracing::warn!(key = object.key, %error, "does not say what is damaged, and may name anything");
            Record {
                damaged_objects: Vec::new(),
                defects: None,
            }
        });
        let may_name_any = record.defects.is_none();
        let defects = record.defects.into_iter().flatten();
        let mut objects: Vec<(String, Vec<BackupId>)> = defects.map(|defect| (defect.key, defect.backups)).collect();
        objects.extend(record.damaged_objects.into_iter().map(|key| (key, Vec::new())));
        Ok(Some(Word {
            said: object.modified,
            objects,
            may_name_any,
        }))
    }
}
