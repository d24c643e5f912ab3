//! What verifications and failed drills of this place have found damaged: which object, of which backups, and when that was
//! said. An object of the same name that came later is another one: somebody removed the damaged one, and a copy brought it anew.
//! And a drill that began later and certified a backup has read all of it: what was said before counts no more of that backup.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Deserialize;

use super::certificates::{CertificateRef, last_verdict};
use super::error::Result;
use super::id::{BackupId, DrillId};
use super::index::ChunkName;
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
    /// When something was said last that cannot be read.
    may_name_any: Option<Timestamp>,
    /// When the drill began that has certified a backup last, unless it failed since.
    proven: BTreeMap<BackupId, Timestamp>,
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

    fn backups(&self) -> impl Iterator<Item = &BackupId> {
        self.objects.values().flat_map(|said| &said.backups)
    }

    /// By the store's clock on both sides; within the same second nobody knows which came first.
    fn is_proven_since(&self, backup_id: &BackupId, said: Timestamp) -> bool {
        self.proven.get(backup_id).is_some_and(|begun| *begun > said)
    }

    fn take_in(&mut self, word: Word) {
        if word.may_name_any {
            self.may_name_any = self.may_name_any.max(Some(word.said));
        }
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
        let certificates = list_all(self.store().as_ref(), layout::CERTIFICATES, None).await?;
        let proven = proven(&certificates);
        objects.extend(certificates);
        let words: Vec<Option<Word>> = stream::iter(objects)
            .map(|object| self.word_of(object))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut known = KnownDamage {
            proven,
            ..KnownDamage::default()
        };
        for word in words.into_iter().flatten() {
            known.take_in(word);
        }
        Ok(known)
    }

    /// The same without what has been mended since, and without the backups that drills have certified since.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn standing_damage(&self) -> Result<KnownDamage> {
        let mut known = self.known_damage().await?;
        let keys = known.objects.keys().cloned().collect();
        let there = stored_objects(self.store().as_ref(), keys).await?;
        let is_mended = |key: &str, said: &Said| there.get(key).is_some_and(|object| object.modified > said.last);
        known.objects.retain(|key, said| !is_mended(key, said));
        let mut objects = std::mem::take(&mut known.objects);
        for said in objects.values_mut() {
            said.backups
                .retain(|backup_id| !known.is_proven_since(backup_id, said.last));
        }
        known.objects = objects;
        Ok(known)
    }

    /// Backups that this place has found damaged, by damage that stands.
    ///
    /// # Errors
    /// The store's own.
    pub async fn damaged_backups(&self) -> Result<BTreeSet<BackupId>> {
        let damage = self.standing_damage().await?;
        let mut damaged: BTreeSet<BackupId> = damage.backups().cloned().collect();
        if let Some(said) = damage.may_name_any {
            let all = self.backup_ids().await?.into_iter();
            damaged.extend(all.filter(|backup_id| !damage.is_proven_since(backup_id, said)));
        }
        damaged.extend(self.sharing(&damage, &damaged).await?);
        Ok(damaged)
    }

    /// Backups beside those `named` that need what is damaged. A drill names the backup that it drilled, a verification
    /// those that it looked at; who else refers to the same object is damaged with them. Reads indexes, but only while
    /// there is damage.
    async fn sharing(&self, damage: &KnownDamage, named: &BTreeSet<BackupId>) -> Result<BTreeSet<BackupId>> {
        let said: BTreeMap<ChunkName, Timestamp> = damage
            .objects
            .iter()
            .filter_map(|(key, said)| Some((ChunkName::of_key(key)?, said.last)))
            .collect();
        let Some(last) = said.values().copied().max() else {
            return Ok(BTreeSet::new());
        };
        let mut others: BTreeSet<BackupId> = self.backup_ids().await?.into_iter().collect();
        others.retain(|backup_id| !named.contains(backup_id) && !damage.is_proven_since(backup_id, last));
        let needed = self.needed_of(&said.keys().copied().collect(), others).await?;
        let is_damaged = |(backup_id, names): &(BackupId, Vec<ChunkName>)| {
            let mut times = names.iter().filter_map(|name| said.get(name));
            times.any(|said| !damage.is_proven_since(backup_id, *said))
        };
        Ok(needed
            .into_iter()
            .filter(is_damaged)
            .map(|(backup_id, _)| backup_id)
            .collect())
    }

    /// Whether a damage record speaks of a backup that there is: one that does not say of which speaks of any.
    ///
    /// # Errors
    /// The store's own.
    pub(super) async fn is_of_some_backup(&self, record: &ObjectMeta, backups: &BTreeSet<BackupId>) -> Result<bool> {
        let Some(word) = self.record(record.clone()).await? else {
            return Ok(false);
        };
        let is_there = |backup_id: &BackupId| backups.contains(backup_id);
        let names_one = |(_, named): &(String, Vec<BackupId>)| named.iter().any(is_there);
        Ok(word.objects.iter().any(names_one) || (word.may_name_any && !backups.is_empty()))
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

/// When the drills began that stand as the last word on their backups, and certified them.
fn proven(certificates: &[ObjectMeta]) -> BTreeMap<BackupId, Timestamp> {
    let mut begun: HashMap<(BackupId, DrillId), Timestamp> = HashMap::new();
    let mut drills: BTreeMap<BackupId, Vec<CertificateRef>> = BTreeMap::new();
    for object in certificates {
        let Ok(Key::Certificate {
            backup_id,
            drill_id,
            state,
        }) = object.key.parse()
        else {
            continue;
        };
        if state == CertificateState::Started {
            begun.insert((backup_id.clone(), drill_id.clone()), object.modified);
        }
        drills
            .entry(backup_id)
            .or_default()
            .push(CertificateRef { drill_id, state });
    }
    let last = drills.into_iter().filter_map(|(backup_id, drills)| {
        if last_verdict(&drills) != Some(CertificateState::Certified) {
            return None;
        }
        let certified = drills
            .into_iter()
            .filter(|drill| drill.state == CertificateState::Certified);
        let begun = begun.get(&(backup_id.clone(), certified.max()?.drill_id)).copied()?;
        Some((backup_id, begun))
    });
    last.collect()
}
