//! Which backup a new one is compared with, and the comparison of stored records.
//!
//! The newest one that is trusted: certified, here or in the place that it was copied from, or with a drift that a person has accepted. While there is none, the newest
//! that no drill has refuted; and while all are refuted, the newest of them: whatever became of its bytes, what the source
//! held was counted at the source. One with a drift that nobody has accepted is never the baseline, certified or not:
//! measured by it, the loss would look like the usual state with the very next backup.

use std::collections::BTreeSet;

use super::compare::{Comparison, Found};
use super::text::shortened;
use super::{Amount, Baseline, Drift, DriftFinding, DriftKind, DriftOutcome, DriftRules};
use crate::repository::certificates::last_verdict;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::CertificateState;
use crate::repository::manifest::Database;
use crate::repository::reader::{Repository, StoredManifest};
use crate::telemetry::causes::chain;

/// Backups that a root names as passed over.
const MAX_PASSED_OVER: usize = 8;

/// What is about to become a backup.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    pub cluster: &'a str,
    /// Of the server, as PostgreSQL gives it when a cluster is made.
    pub system_identifier: &'a str,
    pub databases: &'a [Database],
    /// Databases of the server that are not among them.
    pub not_included: &'a [String],
}

/// How good a witness a backup is of what there was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Refuted,
    Unproven,
    Trusted,
}

/// A backup that may be the baseline.
struct Candidate {
    stored: StoredManifest,
    is_certified: bool,
    standing: Standing,
}

/// What was found on the way to the baseline.
#[derive(Default)]
struct Search {
    best: Option<Candidate>,
    passed_over: Vec<BackupId>,
    /// Why there may be no baseline although there are earlier backups.
    trouble: Option<String>,
}

impl Repository {
    /// Compares databases that are about to become a backup of `cluster` with what was before them. Never an error: a
    /// backup must not fail for it, and says itself that it was not compared.
    pub async fn drift(&self, current: Current<'_>, rules: DriftRules<'_>) -> Drift {
        match self.try_drift(current, rules).await {
            Ok(drift) => drift,
            Err(error) => Drift::not_compared(shortened(&chain(&error))),
        }
    }

    async fn try_drift(&self, current: Current<'_>, rules: DriftRules<'_>) -> Result<Drift> {
        let mut unreadable: Vec<BackupId> = Vec::new();
        let mut trouble = None;
        loop {
            let search = self.baseline(current.cluster, &unreadable).await?;
            let Some(candidate) = search.best else {
                return Ok(match trouble.or(search.trouble) {
                    Some(reason) => Drift::not_compared(shortened(&reason)),
                    None => Drift::without_baseline(),
                });
            };
            let baseline = Baseline {
                backup_id: candidate.stored.manifest.backup_id.clone(),
                manifest_sha256: candidate.stored.sha256,
                certified: candidate.is_certified,
            };
            match self.compare(&candidate.stored, current, rules).await {
                Ok(mut found) => {
                    found.add(another_server(&candidate.stored, current));
                    let Found { total, findings } = found;
                    let mut passed_over = [unreadable, search.passed_over].concat();
                    passed_over.sort();
                    passed_over.reverse();
                    passed_over.truncate(MAX_PASSED_OVER);
                    return Ok(Drift {
                        outcome: DriftOutcome::Compared,
                        baseline: Some(baseline),
                        passed_over,
                        reason: None,
                        total,
                        findings,
                    });
                }
                // An older one is as good a witness.
                Err(error) if error.is_unreadable_object() => {
                    warn(&baseline.backup_id, &error);
                    trouble.get_or_insert(chain(&error));
                    unreadable.push(baseline.backup_id);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn baseline(&self, cluster: &str, unreadable: &[BackupId]) -> Result<Search> {
        let accepted = self.accepted_drifts().await?;
        let certificates = self.certificates().await?;
        // This place may have been a copy before.
        let elsewhere = self.verdicts_from_elsewhere(&BTreeSet::new()).await?;
        let mut ids = self.backup_ids().await?;
        let mut search = Search::default();
        while let Some(backup_id) = ids.pop() {
            let own = certificates.get(&backup_id).and_then(|drills| last_verdict(drills));
            let verdict = own.or_else(|| elsewhere.get(&backup_id).copied());
            let is_certified = verdict == Some(CertificateState::Certified);
            let is_accepted = accepted.contains(&backup_id);
            let standing = match verdict {
                Some(CertificateState::Failed) => Standing::Refuted,
                _ if is_certified || is_accepted => Standing::Trusted,
                _ => Standing::Unproven,
            };
            if unreadable.contains(&backup_id) || search.is_settled_before(&backup_id, standing) {
                continue;
            }
            match self.read_manifest(&backup_id).await {
                Ok(stored) if stored.manifest.source.cluster != cluster => {}
                Ok(stored) => {
                    let is_sound = is_accepted || !stored.manifest.drift.as_ref().is_some_and(Drift::is_alarm);
                    if is_sound {
                        search.consider(Candidate {
                            stored,
                            is_certified,
                            standing,
                        });
                    } else {
                        let reason = || format!("nobody has accepted the drift of backup {backup_id}");
                        search.trouble.get_or_insert_with(reason);
                    }
                }
                Err(Error::NoSuchBackup(_)) => {}
                Err(error) if error.is_unreadable_object() => {
                    warn(&backup_id, &error);
                    search.trouble.get_or_insert(chain(&error));
                    if standing == Standing::Trusted {
                        search.passed_over.push(backup_id);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(search)
    }

    async fn compare(&self, baseline: &StoredManifest, current: Current<'_>, rules: DriftRules<'_>) -> Result<Found> {
        let mut comparison = Comparison::new(current.databases, current.not_included, rules);
        let mut pieces = self.records(baseline);
        while let Some(records) = pieces.next().await? {
            for record in records {
                comparison.take(record);
            }
        }
        Ok(comparison.finish())
    }
}

/// A name may come to stand for another server: a clone of production that was deployed with production's settings, or one that
/// was rebuilt from an old dump. What it holds is no later state of what the baseline held, however much alike they are.
fn another_server(baseline: &StoredManifest, current: Current<'_>) -> Option<DriftFinding> {
    let before = &baseline.manifest.source.system_identifier;
    (before != current.system_identifier).then(|| DriftFinding {
        kind: DriftKind::ServerChanged,
        database: String::new(),
        name: Some(before.clone()),
        before: Amount::default(),
        after: Amount::default(),
        now: Some(current.system_identifier.to_owned()),
        examples: Vec::new(),
    })
}

impl Search {
    /// Whether a backup of that age and standing could not be the baseline any more, whatever its root says.
    fn is_settled_before(&self, backup_id: &BackupId, standing: Standing) -> bool {
        self.best.as_ref().is_some_and(|best| {
            let is_older = backup_id.time() < best.stored.manifest.backup_id.time();
            // Ids tell the second; within one, the roots tell which came last.
            standing < best.standing || is_older && standing == best.standing
        })
    }

    fn consider(&mut self, candidate: Candidate) {
        let rank = |candidate: &Candidate| {
            let manifest = &candidate.stored.manifest;
            (candidate.standing, manifest.backup_id.time(), manifest.finished)
        };
        if self.best.as_ref().is_none_or(|best| rank(&candidate) > rank(best)) {
            self.best = Some(candidate);
        }
    }
}

fn warn(backup_id: &BackupId, error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(%backup_id, error, "backup passed over as what the new one is compared with");
}
