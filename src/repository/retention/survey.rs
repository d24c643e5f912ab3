//! What there is to decide about: every backup with its cluster, its time, its proof and its hold.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::plan::{Candidate, Proof};
use crate::repository::certificates::{CertificateRef, last_verdict};
use crate::repository::drift::{DriftRecord, DriftState, Frozen, frozen};
use crate::repository::error::{Error, Result};
use crate::repository::holds::Hold;
use crate::repository::id::BackupId;
use crate::repository::layout::CertificateState;
use crate::repository::manifest::Manifest;
use crate::repository::presence::CONCURRENCY;
use crate::repository::reader::Repository;

/// Backups by cluster. One whose manifest cannot be read belongs to none that is known.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) unreadable: Vec<Candidate>,
    /// Held, and not there, each with its hold.
    pub(super) held_away: BTreeMap<BackupId, Hold>,
}

/// One cluster's backups, and what they say of what they lack.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) backups: Vec<Candidate>,
    drift: Vec<DriftRecord>,
}

impl Cluster {
    /// Why none of them may go.
    pub(super) fn frozen(&self) -> Option<String> {
        frozen(&self.drift).map(|frozen| frozen.to_string())
    }

    /// The backups that are older than every one that freezes deletion; all of them where none does.
    pub(super) fn before_drift(&self) -> Vec<Candidate> {
        let frozen = frozen(&self.drift);
        let first = frozen
            .iter()
            .flat_map(Frozen::backups)
            .min_by_key(|backup_id| backup_id.time());
        let is_before = |backup: &&Candidate| first.is_none_or(|first| backup.backup_id.time() < first.time());
        self.backups.iter().filter(is_before).cloned().collect()
    }
}

impl Survey {
    /// Takes what came late for what came in time: a copy comes when it comes, and that says nothing about clocks. What was
    /// stored before it was made stays misdated.
    pub(super) fn was_brought_in_time(&mut self) {
        for backup in self.clusters.values_mut().flat_map(|cluster| &mut cluster.backups) {
            backup.stored = backup.stored.min(backup.finished);
        }
    }

    /// Takes in what another place has and this one has not.
    pub(super) fn join(&mut self, other: Self) {
        for (name, other) in other.clusters {
            let cluster = self.clusters.entry(name).or_default();
            let is_known = |backup_id: &BackupId| cluster.backups.iter().any(|known| known.backup_id == *backup_id);
            let (backups, drift): (Vec<Candidate>, Vec<DriftRecord>) = other
                .backups
                .into_iter()
                .zip(other.drift)
                .filter(|(backup, _)| !is_known(&backup.backup_id))
                .unzip();
            cluster.backups.extend(backups);
            cluster.drift.extend(drift);
        }
        self.unreadable.extend(other.unreadable);
    }
}

/// A backup and when its manifest was stored, by the store's clock.
type Stored = (BackupId, jiff::Timestamp);

/// What a root told.
#[derive(Clone, Debug)]
enum Root {
    Read {
        cluster: String,
        snapshot_time: jiff::Timestamp,
        started: jiff::Timestamp,
        finished: jiff::Timestamp,
        took: jiff::SignedDuration,
        drift: DriftState,
    },
    Unreadable,
    /// Expired since the listing.
    Away,
}

/// Looks as often as it is asked to. Roots never change, so each is read once.
#[derive(Debug, Default)]
pub(super) struct Surveyor {
    roots: BTreeMap<BackupId, Root>,
}

impl Surveyor {
    /// Each with when it was stored.
    async fn roots(&mut self, repository: &Repository, backups: Vec<Stored>) -> Result<Vec<(Stored, Root)>> {
        let ids = backups.iter().map(|(backup_id, _)| backup_id);
        let unread: Vec<BackupId> = ids.filter(|id| !self.roots.contains_key(*id)).cloned().collect();
        let read: Vec<(BackupId, Result<Root>)> = stream::iter(unread)
            .map(|backup_id| async move {
                match read(repository, &backup_id).await {
                    Err(error) if !error.is_refused_object() => Err(error),
                    root => Ok((backup_id, root)),
                }
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut refusals = Vec::new();
        for (backup_id, root) in read {
            match root {
                Ok(root) => drop(self.roots.insert(backup_id, root)),
                Err(error) => refusals.push((backup_id, error)),
            }
        }
        // A store that keeps back one root and gives others speaks of that one; one that gives none speaks of us.
        if !refusals.is_empty() && !self.roots.values().any(|root| matches!(root, Root::Read { .. })) {
            return Err(refusals.swap_remove(0).1);
        }
        for (backup_id, error) in refusals {
            tracing::warn!(%backup_id, %error, "kept, since its manifest cannot be read");
            self.roots.insert(backup_id, Root::Unreadable);
        }
        let known = backups.into_iter().filter_map(|backup| {
            let root = self.roots.get(&backup.0)?.clone();
            Some((backup, root))
        });
        Ok(known.collect())
    }

    pub(super) async fn survey(&mut self, repository: &Repository) -> Result<Survey> {
        self.survey_if(repository, |_| true).await
    }

    /// The same of these backups alone.
    pub(super) async fn survey_of(&mut self, repository: &Repository, ids: &BTreeSet<BackupId>) -> Result<Survey> {
        self.survey_if(repository, |backup_id| ids.contains(backup_id)).await
    }

    async fn survey_if(&mut self, repository: &Repository, is_of: impl Fn(&BackupId) -> bool) -> Result<Survey> {
        let listed = repository.list_backups().await?;
        let existing: BTreeSet<BackupId> = listed.iter().map(|(backup_id, _)| backup_id.clone()).collect();
        let backups = listed
            .into_iter()
            .map(|(backup_id, version)| (backup_id, version.modified()));
        let backups = backups.filter(|(backup_id, _)| is_of(backup_id)).collect();
        let roots = self.roots(repository, backups).await?;
        let verdicts = Verdicts::read(repository).await?;
        let holds = repository.holds().await?;
        let accepted = repository.accepted_drifts().await?;
        let away = |(backup_id, _): &(&BackupId, &Hold)| !existing.contains(*backup_id);
        let held_away = holds.iter().filter(away);
        let mut survey = Survey {
            held_away: held_away.map(|(id, hold)| (id.clone(), hold.clone())).collect(),
            ..Survey::default()
        };
        for ((backup_id, stored), root) in roots {
            let hold = holds.get(&backup_id).map(|hold| hold.reason.clone());
            match root {
                Root::Away => {}
                Root::Unreadable => survey.unreadable.push(Candidate {
                    snapshot_time: backup_id.time(),
                    started: backup_id.time(),
                    finished: backup_id.time(),
                    took: jiff::SignedDuration::ZERO,
                    stored,
                    proof: Proof::Unreadable,
                    is_proof_from_elsewhere: false,
                    hold,
                    backup_id,
                }),
                Root::Read {
                    cluster,
                    snapshot_time,
                    started,
                    finished,
                    took,
                    drift,
                } => {
                    let (proof, is_proof_from_elsewhere) = verdicts.of(&backup_id);
                    let candidate = Candidate {
                        backup_id,
                        snapshot_time,
                        started,
                        finished,
                        took,
                        stored,
                        proof,
                        is_proof_from_elsewhere,
                        hold,
                    };
                    let record = DriftRecord {
                        is_accepted: accepted.contains(&candidate.backup_id),
                        backup_id: candidate.backup_id.clone(),
                        finished,
                        state: drift,
                    };
                    let cluster = survey.clusters.entry(cluster).or_default();
                    cluster.backups.push(candidate);
                    cluster.drift.push(record);
                }
            }
        }
        // It may be of any cluster, and may say anything.
        for unreadable in &survey.unreadable {
            for cluster in survey.clusters.values_mut() {
                cluster.drift.push(DriftRecord {
                    is_accepted: accepted.contains(&unreadable.backup_id),
                    backup_id: unreadable.backup_id.clone(),
                    finished: unreadable.backup_id.time(),
                    state: DriftState::NotCompared,
                });
            }
        }
        Ok(survey)
    }
}

/// What drills have said, here and elsewhere, and what was found damaged since.
pub(super) struct Verdicts {
    own: BTreeMap<BackupId, Vec<CertificateRef>>,
    elsewhere: BTreeMap<BackupId, CertificateState>,
    damaged: BTreeSet<BackupId>,
}

impl Verdicts {
    pub(super) async fn read(repository: &Repository) -> Result<Self> {
        let own = repository.certificates().await?;
        let damaged = repository.damaged_backups().await?;
        let elsewhere = repository.verdicts_from_elsewhere(&damaged).await?;
        Ok(Self {
            own,
            elsewhere,
            damaged,
        })
    }

    /// Every backup of which a drill has said anything, here or elsewhere.
    pub(super) fn judged(&self) -> impl Iterator<Item = &BackupId> {
        self.own.keys().chain(self.elsewhere.keys())
    }

    /// How far the backup is proven, and whether that was said elsewhere. A word of here counts before any from elsewhere, and
    /// what was found damaged since is proven no more.
    pub(super) fn of(&self, backup_id: &BackupId) -> (Proof, bool) {
        let own = self.own.get(backup_id).and_then(|drills| last_verdict(drills));
        let borrowed = own.is_none().then(|| self.elsewhere.get(backup_id).copied()).flatten();
        let is_refuted = own == Some(CertificateState::Certified) && self.damaged.contains(backup_id);
        (proof(own.or(borrowed).filter(|_| !is_refuted)), borrowed.is_some())
    }
}

impl Repository {
    /// The backups that are proven, as retention counts them, and whether that was said elsewhere.
    ///
    /// # Errors
    /// The store's own.
    pub async fn certified_backups(&self) -> Result<BTreeMap<BackupId, bool>> {
        let verdicts = Verdicts::read(self).await?;
        let certified = verdicts.judged().filter_map(|backup_id| match verdicts.of(backup_id) {
            (Proof::Certified, is_from_elsewhere) => Some((backup_id.clone(), is_from_elsewhere)),
            _ => None,
        });
        Ok(certified.collect())
    }
}

async fn read(repository: &Repository, backup_id: &BackupId) -> Result<Root> {
    match repository.read_manifest(backup_id).await {
        Ok(stored) => Ok(Root::Read {
            snapshot_time: newest_snapshot(&stored.manifest),
            started: stored.manifest.started,
            finished: stored.manifest.finished,
            took: jiff::SignedDuration::try_from_secs_f64(stored.manifest.stats.duration_seconds).unwrap_or_default(),
            drift: DriftState::of(stored.manifest.drift.as_ref()),
            cluster: stored.manifest.source.cluster,
        }),
        Err(Error::NoSuchBackup(_)) => Ok(Root::Away),
        Err(error) if error.is_unreadable_object() => {
            tracing::warn!(%backup_id, %error, "kept, since its manifest cannot be read");
            Ok(Root::Unreadable)
        }
        Err(error) => Err(error),
    }
}

/// Several databases have their own snapshots; the newest says as of when the backup can be complete.
fn newest_snapshot(manifest: &Manifest) -> jiff::Timestamp {
    let times = manifest.databases.iter().map(|database| database.snapshot_time);
    times.max().unwrap_or(manifest.started)
}

fn proof(verdict: Option<CertificateState>) -> Proof {
    match verdict {
        Some(CertificateState::Certified) => Proof::Certified,
        Some(CertificateState::Failed) => Proof::Failed,
        _ => Proof::Unproven,
    }
}
