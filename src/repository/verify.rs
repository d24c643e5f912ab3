//! Verification: every object of a backup read again and held against its manifest, byte by byte.
//!
//! Sizes, SHA-256 of the stored bytes, each frame's decoding, BLAKE3 of the raw bytes, and that the index fits together.
//! Damage is a finding, not an error. What is found damaged is recorded, so that the next backup stores it anew. Holds
//! in memory at most `concurrency` stored chunks.

mod check;
mod record;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use super::id::{BackupId, Blake3Digest, Sha256Digest, VerifyId};
use super::index;
use super::layout::Key;
use super::manifest::{Backup, Chunk, Manifest};
use super::reader::{Repository, StoredManifest};
use crate::telemetry::progress::Progress;

pub use report::{DamageRecord, Defect, Touched, TouchedContent, VerifyOutcome, VerifyReport};

/// What to verify and how.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Names the verification, and the record of what it finds damaged.
    pub verify_id: VerifyId,
    /// The backups to look at; none means all of them.
    pub backups: Vec<BackupId>,
    /// Chunks read at once.
    pub concurrency: usize,
    /// Write down what is damaged, so that the next backup knows.
    pub record: bool,
}

/// Reads every object of the chosen backups again, an object that several share once. The progress counts stored bytes.
///
/// # Errors
/// `NoSuchBackup` for a chosen one that is not there, `UnknownFormat`, or the store's own.
pub async fn verify(
    repository: &Repository,
    options: &VerifyOptions,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<VerifyReport> {
    let backups = match options.backups.as_slice() {
        [] => repository.backup_ids().await?,
        chosen => chosen.to_vec(),
    };
    let mut run = Run::new(repository, options, progress, cancel);
    progress.begin("verify", run.total_bytes(&backups).await?);
    let verified = run.verify_backups(&backups).await;
    progress.end();
    verified?;
    run.into_report().await
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a VerifyOptions,
    progress: &'a dyn Progress,
    cancel: &'a CancellationToken,
    backups: Vec<BackupId>,
    /// Digests of the chunk entries that were checked.
    checked: HashSet<Blake3Digest>,
    roots: HashMap<BackupId, Sha256Digest>,
    defects: BTreeMap<String, Defect>,
    objects: u64,
    bytes: u64,
}

impl<'a> Run<'a> {
    fn new(
        repository: &'a Repository,
        options: &'a VerifyOptions,
        progress: &'a dyn Progress,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self {
            repository,
            options,
            progress,
            cancel,
            backups: Vec::new(),
            checked: HashSet::new(),
            roots: HashMap::new(),
            defects: BTreeMap::new(),
            objects: 0,
            bytes: 0,
        }
    }

    /// Known beforehand for one backup only: several share chunks.
    async fn total_bytes(&self, backups: &[BackupId]) -> Result<Option<u64>> {
        let [backup_id] = backups else { return Ok(None) };
        match self.repository.read_manifest(backup_id).await {
            Ok(stored) => Ok(Some(stored.manifest.stats.stored_bytes)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn verify_backups(&mut self, backups: &[BackupId]) -> Result<()> {
        for backup_id in backups {
            if self.cancel.is_cancelled() {
                return Ok(());
            }
            self.verify_backup(backup_id).await?;
        }
        Ok(())
    }

    async fn verify_backup(&mut self, backup_id: &BackupId) -> Result<()> {
        let (stored, root) = match self.repository.read_root(backup_id).await {
            Ok(root) => root,
            Err(Error::Damaged { key, reason }) => {
                self.backups.push(backup_id.clone());
                self.objects += 1;
                self.add_defect(backup_id, Defect::new(key, reason));
                return Ok(());
            }
            // All were asked for, and this one has expired since.
            Err(Error::NoSuchBackup(_)) if self.options.backups.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.backups.push(backup_id.clone());
        self.objects += 1;
        self.bytes += root.len() as u64;
        self.compare_with_predecessor(&stored);
        let index = stored.manifest.index.clone();
        self.check_chunks(&index).await?;
        let mut readable = true;
        for chunk in &index {
            if let Some(defect) = self.defects.get_mut(&chunk.key) {
                defect.needed_by(backup_id);
                readable = false;
            }
        }
        if !readable || self.cancel.is_cancelled() {
            return Ok(());
        }
        match self.repository.read_index(stored).await {
            Ok(backup) => self.verify_contents(&backup).await,
            Err(Error::Damaged { key, reason }) => {
                self.add_defect(backup_id, Defect::new(key, reason));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn verify_contents(&mut self, backup: &Backup) -> Result<()> {
        let backup_id = &backup.manifest.backup_id;
        if let Some(reason) = index::find_unused_frame(backup) {
            self.add_defect(backup_id, Defect::new(root_key(&backup.manifest), reason));
        }
        self.check_chunks(&backup.chunks).await?;
        let damaged = (0u32..)
            .zip(&backup.chunks)
            .filter(|(_, chunk)| self.defects.contains_key(&chunk.key));
        let damaged: HashMap<u32, &String> = damaged.map(|(number, chunk)| (number, &chunk.key)).collect();
        let mut touched = report::touched_by(backup, damaged.keys().copied());
        for (number, key) in damaged {
            if let Some(defect) = self.defects.get_mut(key) {
                defect.needed_by(backup_id);
                defect.touch(touched.remove(&number).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// A root that was replaced by another one, well formed, is told by the digest in the backup after it.
    fn compare_with_predecessor(&mut self, stored: &StoredManifest) {
        let manifest = &stored.manifest;
        self.roots.insert(manifest.backup_id.clone(), stored.sha256);
        let Some(predecessor) = &manifest.predecessor else {
            return;
        };
        match self.roots.get(&predecessor.backup_id) {
            Some(sha256) if *sha256 != predecessor.manifest_sha256 => {
                let key = Key::Manifest(predecessor.backup_id.clone()).to_string();
                let problem = format!(
                    "its SHA-256 is {sha256}, and was {} when {} was written",
                    predecessor.manifest_sha256, manifest.backup_id
                );
                self.add_defect(&predecessor.backup_id, Defect::new(key, problem));
            }
            _ => {}
        }
    }

    /// Reads those of `chunks` that were not checked before.
    async fn check_chunks(&mut self, chunks: &[Chunk]) -> Result<()> {
        let mut unchecked = Vec::new();
        for chunk in chunks {
            let entry = serde_json::to_vec(chunk).map_err(Error::Json)?;
            if self.checked.insert(Blake3Digest::of(&entry)) {
                unchecked.push(chunk.clone());
            }
        }
        let (repository, cancel) = (self.repository, self.cancel);
        let mut checks = stream::iter(unchecked)
            .take_while(|_| std::future::ready(!cancel.is_cancelled()))
            .map(|chunk| check::check_chunk(repository, chunk))
            .buffer_unordered(self.options.concurrency.max(1));
        while let Some(checked) = checks.next().await {
            let (chunk, problem) = checked?;
            self.objects += 1;
            self.bytes += chunk.stored_bytes;
            self.progress.advance(chunk.stored_bytes);
            if let Some(problem) = problem {
                let defect = Defect::new(&chunk.key, problem);
                self.defects.entry(defect.key.clone()).or_insert(defect);
            }
        }
        Ok(())
    }

    fn add_defect(&mut self, backup_id: &BackupId, defect: Defect) {
        let defect = self.defects.entry(defect.key.clone()).or_insert(defect);
        defect.needed_by(backup_id);
    }

    async fn into_report(self) -> Result<VerifyReport> {
        let damage_record = if self.options.record {
            record::record_damage(self.repository, &self.options.verify_id, &self.defects).await?
        } else {
            DamageRecord::NotNeeded
        };
        let outcome = match (self.defects.is_empty(), self.cancel.is_cancelled()) {
            (false, _) => VerifyOutcome::Damaged,
            (true, true) => VerifyOutcome::Interrupted,
            (true, false) => VerifyOutcome::Sound,
        };
        Ok(VerifyReport {
            verify_id: self.options.verify_id.clone(),
            outcome,
            backups: self.backups,
            objects: self.objects,
            bytes: self.bytes,
            defects: self.defects.into_values().collect(),
            damage_record,
        })
    }
}

fn root_key(manifest: &Manifest) -> String {
    Key::Manifest(manifest.backup_id.clone()).to_string()
}
