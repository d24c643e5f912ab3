//! What backups leave behind that are long gone: tombstones whose time is over, what people have said of them (holds,
//! accepted drift), certificates, damage records, outdated leases, probes, uploads that never ended.
//!
//! Each goes only when it is older than the grace period itself. A certificate or record that names a damaged object goes
//! only when that object is gone: as long as it lies there, its name must not be reused. And both stay as long as a backup
//! refers to what they name, a record also as long as a backup that it names: what is missing is damage too, and stands
//! until it has been brought anew.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::mark::Marks;
use crate::repository::error::Result;
use crate::repository::id::{BackupId, LeaseScope};
use crate::repository::index::ChunkName;
use crate::repository::layout::{self, CertificateState, Key};
use crate::repository::reader::Repository;
use crate::storage::{self, ErrorKind, ObjectMeta, list_all};

/// Objects removed, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    pub tombstones: u64,
    pub holds: u64,
    /// People's words that a drift was meant.
    pub acceptances: u64,
    /// What announced copies that have come, or never will.
    pub announcements: u64,
    pub certificates: u64,
    /// What drills in other places had said.
    pub words_from_elsewhere: u64,
    pub damage_records: u64,
    pub leases: u64,
    pub probes: u64,
    /// Bodies that killed writers left in a directory before they had a name.
    pub unfinished: u64,
    /// Those that the store keeps.
    pub retained: u64,
    /// None of these, and for long: marks of expired backups whose manifests the store still has behind a deletion, or may have.
    pub lasting_marks: u64,
}

/// Removes them. Chunks that the tombstones stood for must have been swept before.
pub(super) async fn collect(repository: &Repository, marks: &Marks, cutoff: Timestamp) -> Result<Leftovers> {
    let mut run = Run {
        repository,
        marks,
        cutoff,
        leftovers: Leftovers::default(),
    };
    let buried = run.collect_tombstones(marks).await?;
    let is_gone = |backup_id: &BackupId| {
        !marks.manifests.contains(backup_id) && !buried.contains(backup_id) && !marks.is_coming(backup_id)
    };
    let outdated = marks.outdated_announcements(cutoff);
    let outdated = outdated.map(|backup_id| Key::Incoming(backup_id.clone()).to_string());
    run.leftovers.announcements = run.delete_all(outdated.collect()).await?;
    run.collect_holds(is_gone).await?;
    run.collect_acceptances(is_gone).await?;
    run.collect_words_from_elsewhere(is_gone).await?;
    run.collect_certificates(is_gone).await?;
    run.collect_damage_records(&marks.manifests).await?;
    run.collect_leases().await?;
    run.collect_probes().await?;
    run.collect_unfinished().await?;
    Ok(run.leftovers)
}

struct Run<'a> {
    repository: &'a Repository,
    marks: &'a Marks,
    cutoff: Timestamp,
    leftovers: Leftovers,
}

impl Run<'_> {
    /// A tombstone before its mark: the other way round the next run would take it for fresh and look for an index that
    /// is no more. The mark stays for as long as a store with versions has the manifest, or may have it: it says that it was
    /// expired, and not hidden by somebody. Returns the backups whose tombstones stay.
    async fn collect_tombstones(&mut self, marks: &Marks) -> Result<BTreeSet<BackupId>> {
        let (mut over, mut marked, mut stay) = (Vec::new(), Vec::new(), BTreeSet::new());
        let gone = marks.tombstones.iter().filter(|(id, _)| !marks.manifests.contains(*id));
        for (backup_id, tombstone) in gone {
            if !marks.is_over(backup_id, tombstone, self.cutoff) {
                stay.insert(backup_id.clone());
                continue;
            }
            marked.push(backup_id.clone());
            if tombstone.is_there() {
                over.push(Key::Tombstone(backup_id.clone()).to_string());
            }
        }
        let left = self.delete(&over).await?;
        self.leftovers.tombstones = (over.len() - left.len()) as u64;
        let is_left = |backup_id: &BackupId| left.contains(&Key::Tombstone(backup_id.clone()).to_string());
        let (left, marked): (Vec<BackupId>, Vec<BackupId>) = marked.into_iter().partition(is_left);
        stay.extend(left);
        let (needed, over): (Vec<BackupId>, Vec<BackupId>) = marked
            .into_iter()
            .partition(|backup_id| marks.hidden.needs_mark(backup_id));
        self.leftovers.lasting_marks = needed.len() as u64;
        let keys: Vec<String> = over.into_iter().map(|id| Key::Gone(id).to_string()).collect();
        self.delete(&keys).await?;
        Ok(stay)
    }

    async fn collect_holds(&mut self, is_gone: impl Fn(&BackupId) -> bool) -> Result<()> {
        self.leftovers.holds = self.collect_words(layout::HOLDS, is_gone).await?;
        Ok(())
    }

    /// A drift counts for as long as its backup exists, and so does the word on it.
    async fn collect_acceptances(&mut self, is_gone: impl Fn(&BackupId) -> bool) -> Result<()> {
        self.leftovers.acceptances = self.collect_words(layout::DRIFT, is_gone).await?;
        Ok(())
    }

    /// What a person has said goes only when the backup is gone whatever the listings say. How many went.
    async fn collect_words(&mut self, prefix: &str, is_gone: impl Fn(&BackupId) -> bool) -> Result<u64> {
        let mut by_backup: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
        for key in self.old(prefix).await? {
            if let Ok(
                Key::Hold { backup_id, .. } | Key::HoldRelease { backup_id, .. } | Key::DriftAcceptance(backup_id),
            ) = key.parse()
                && is_gone(&backup_id)
            {
                by_backup.entry(backup_id).or_default().push(key);
            }
        }
        let mut keys = Vec::new();
        for (backup_id, of_backup) in by_backup {
            if !self.repository.has_backup(&backup_id).await? {
                keys.extend(of_backup);
            }
        }
        self.delete_all(keys).await
    }

    async fn collect_certificates(&mut self, is_gone: impl Fn(&BackupId) -> bool) -> Result<()> {
        let mut keys = Vec::new();
        for key in self.old(layout::CERTIFICATES).await? {
            let Ok(Key::Certificate { backup_id, state, .. }) = key.parse() else {
                continue;
            };
            if is_gone(&backup_id) && (state != CertificateState::Failed || self.names_nothing(&key).await?) {
                keys.push(key);
            }
        }
        self.leftovers.certificates = self.delete_all(keys).await?;
        Ok(())
    }

    async fn collect_words_from_elsewhere(&mut self, is_gone: impl Fn(&BackupId) -> bool) -> Result<()> {
        let is_over = |key: &String| match key.parse() {
            Ok(Key::Elsewhere { backup_id, .. }) => is_gone(&backup_id),
            _ => false,
        };
        let keys = self.old(layout::ELSEWHERE).await?.into_iter().filter(is_over);
        self.leftovers.words_from_elsewhere = self.delete_all(keys.collect()).await?;
        Ok(())
    }

    async fn collect_damage_records(&mut self, manifests: &BTreeSet<BackupId>) -> Result<()> {
        let mut keys = Vec::new();
        let objects = list_all(self.repository.store().as_ref(), layout::DAMAGE, None).await?;
        for object in objects.into_iter().filter(|object| self.is_old(object)) {
            if matches!(object.key.parse(), Ok(Key::Damage(_)))
                && !self.repository.is_of_some_backup(&object, manifests).await?
                && self.names_nothing(&object.key).await?
            {
                keys.push(object.key);
            }
        }
        self.leftovers.damage_records = self.delete_all(keys).await?;
        Ok(())
    }

    /// All generations of a cluster's lease but the greatest.
    async fn collect_leases(&mut self) -> Result<()> {
        let objects = list_all(self.repository.store().as_ref(), layout::LEASES, None).await?;
        let of = |object: &ObjectMeta| match object.key.parse() {
            Ok(Key::Lease { scope, generation } | Key::LeaseRelease { scope, generation }) => Some((scope, generation)),
            _ => None,
        };
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        let name = |scope: &LeaseScope| scope.to_string();
        for (scope, generation) in objects.iter().filter_map(of) {
            let greatest = newest.entry(name(&scope)).or_default();
            *greatest = generation.max(*greatest);
        }
        let is_outdated = |object: &&ObjectMeta| {
            let lease = of(object);
            lease.is_some_and(|(scope, generation)| newest.get(&name(&scope)).is_some_and(|top| generation < *top))
        };
        let keys = objects.iter().filter(is_outdated).filter(|object| self.is_old(object));
        let keys = keys.map(|object| object.key.clone()).collect();
        self.leftovers.leases = self.delete_all(keys).await?;
        Ok(())
    }

    async fn collect_probes(&mut self) -> Result<()> {
        let mut keys = self.old(layout::PROBES).await?;
        keys.extend(self.old(layout::CERTIFICATE_PROBES).await?);
        self.leftovers.probes = self.delete_all(keys).await?;
        Ok(())
    }

    async fn collect_unfinished(&mut self) -> Result<()> {
        match self.repository.store().remove_unfinished(self.cutoff).await {
            Ok(removed) => self.leftovers.unfinished = removed,
            // Who may not even look has left none.
            Err(error) if error.kind == ErrorKind::Denied => tracing::debug!(%error, "unfinished uploads stay"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn is_old(&self, object: &ObjectMeta) -> bool {
        object.modified <= self.cutoff
    }

    async fn old(&self, prefix: &str) -> Result<Vec<String>> {
        let objects = list_all(self.repository.store().as_ref(), prefix, None).await?;
        let old = objects.into_iter().filter(|object| self.is_old(object));
        Ok(old.map(|object| object.key).collect())
    }

    /// Whether none of the damaged objects that it names is still there, or needed by a backup that is: what is missing is
    /// damage to whoever refers to it, named or not.
    async fn names_nothing(&self, key: &str) -> Result<bool> {
        let Some(damaged) = self.repository.damage_named_in(key).await? else {
            return Ok(false);
        };
        for named in damaged {
            if ChunkName::of_key(&named).is_some_and(|name| self.marks.contains(&name)) {
                return Ok(false);
            }
            match self.repository.store().head(&named).await {
                Ok(_) => return Ok(false),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// How many went.
    async fn delete_all(&mut self, keys: Vec<String>) -> Result<u64> {
        let left = self.delete(&keys).await?;
        Ok((keys.len() - left.len()) as u64)
    }

    /// The keys that stay.
    async fn delete(&mut self, keys: &[String]) -> Result<BTreeSet<String>> {
        let left: BTreeSet<String> = match self.repository.store().delete_many(keys).await {
            Ok(stay) => {
                let key_of = |error: storage::Error| match error.kind {
                    ErrorKind::Denied => Ok(error.key),
                    _ => Err(error),
                };
                stay.into_iter().map(key_of).collect::<storage::Result<_>>()?
            }
            Err(error) if error.kind == ErrorKind::Denied => keys.iter().cloned().collect(),
            Err(error) => return Err(error.into()),
        };
        self.leftovers.retained += left.len() as u64;
        Ok(left)
    }
}
