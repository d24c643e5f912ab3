//! Expiring: the plan is obeyed, a tombstone before each deletion and a mark after it. Interrupted anywhere, the next run
//! goes on, since it decides anew from what is there.
//!
//! What a person holds meanwhile is put back: whoever places a hold and finds the backup there after that relies on it, since
//! the deletion that is still to come is followed by a look at holds.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::plan::{Plan, PlanLine, plan};
use super::policy::Policy;
use super::reason::Reason;
use super::survey::Surveyor;
use crate::repository::error::{Error, Result};
use crate::repository::holds::Hold;
use crate::repository::id::BackupId;
use crate::repository::layout::Key;
use crate::repository::presence::CONCURRENCY;
use crate::repository::reader::Repository;
use crate::storage::{self, ErrorKind};
use crate::telemetry::failpoint;

/// Backups that are expired together: what is interrupted leaves at most so many half done.
const BATCH: usize = 100;

/// What to expire by.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpireOptions {
    pub policy: Policy,
    /// This cluster's backups alone.
    pub cluster: Option<String>,
    /// Decide, and change nothing.
    pub dry_run: bool,
}

/// What was decided for one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterPlan {
    /// None for backups whose manifests cannot be read.
    pub cluster: Option<String>,
    #[serde(flatten)]
    pub plan: Plan,
}

/// A backup that should have gone and is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retained {
    pub backup_id: BackupId,
    pub reason: String,
}

/// What was decided and done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExpireReport {
    pub dry_run: bool,
    pub clusters: Vec<ClusterPlan>,
    pub expired: Vec<BackupId>,
    /// The store, or a person meanwhile, kept them. No error: the next run tries again.
    pub retained: Vec<Retained>,
    pub interrupted: bool,
}

/// Expires what the policy lets go.
///
/// # Errors
/// The store's own, except that it refuses to delete.
pub async fn expire(
    repository: &Repository,
    options: &ExpireOptions,
    cancel: &CancellationToken,
) -> Result<ExpireReport> {
    let mut surveyor = Surveyor::default();
    let Decision { clusters, held_away } = decide(repository, options, &mut surveyor).await?;
    let mut report = ExpireReport {
        dry_run: options.dry_run,
        clusters,
        ..ExpireReport::default()
    };
    if !options.dry_run {
        // An earlier expiry was stopped before it could.
        let mut put_back = Ok(());
        for (backup_id, hold) in held_away {
            match repository.put_back(&backup_id, false).await {
                Ok(true) => report.retain(backup_id, Reason::Held(hold.reason).to_string()),
                Ok(false) => {}
                // It keeps no other backup from being let go.
                Err(error) => put_back = Err(error),
            }
        }
        carry_out(repository, options, &mut surveyor, &mut report, cancel).await?;
        put_back?;
    }
    Ok(report)
}

/// What there is to do, by what there is now.
struct Decision {
    clusters: Vec<ClusterPlan>,
    /// Held, and not there.
    held_away: BTreeMap<BackupId, Hold>,
}

async fn decide(repository: &Repository, options: &ExpireOptions, surveyor: &mut Surveyor) -> Result<Decision> {
    let survey = surveyor.survey(repository).await?;
    let now = repository.store().now();
    let mut plans = Vec::new();
    let is_wanted = |cluster: &String| options.cluster.as_ref().is_none_or(|wanted| wanted == cluster);
    for (name, cluster) in survey.clusters.into_iter().filter(|(name, _)| is_wanted(name)) {
        let frozen = cluster.frozen();
        plans.push(ClusterPlan {
            plan: plan(&cluster.backups, &options.policy, frozen.as_deref(), now),
            cluster: Some(name),
        });
    }
    if !survey.unreadable.is_empty() {
        plans.push(ClusterPlan {
            plan: plan(&survey.unreadable, &options.policy, None, now),
            cluster: None,
        });
    }
    Ok(Decision {
        clusters: plans,
        held_away: survey.held_away,
    })
}

impl ExpireReport {
    /// Every line of every plan.
    pub fn lines(&self) -> impl Iterator<Item = &PlanLine> {
        self.clusters.iter().flat_map(|cluster| &cluster.plan.lines)
    }

    fn retain(&mut self, backup_id: BackupId, reason: impl Into<String>) {
        let reason = reason.into();
        self.retained.push(Retained { backup_id, reason });
    }
}

async fn carry_out(
    repository: &Repository,
    options: &ExpireOptions,
    surveyor: &mut Surveyor,
    report: &mut ExpireReport,
    cancel: &CancellationToken,
) -> Result<()> {
    let drops: Vec<BackupId> = report
        .clusters
        .iter()
        .flat_map(|cluster| cluster.plan.drops().cloned())
        .collect();
    if drops.is_empty() {
        return Ok(());
    }
    for batch in drops.chunks(BATCH) {
        if cancel.is_cancelled() {
            report.interrupted = true;
            return Ok(());
        }
        let ready = bury_batch(repository, batch, report).await?;
        failpoint::reach("expire-after-tombstones").await;
        if ready.is_empty() {
            continue;
        }
        // A hold, a failed drill or a backup that lacks something may have come since the plan was made.
        let decision = decide(repository, options, surveyor).await?;
        let ready = still_dropped(&decision.clusters, ready, report);
        let ready = not_held(repository, ready, report).await?;
        failpoint::reach("expire-before-deletion").await;
        delete_batch(repository, ready, report).await?;
    }
    Ok(())
}

/// Those that have their tombstones.
async fn bury_batch(repository: &Repository, batch: &[BackupId], report: &mut ExpireReport) -> Result<Vec<BackupId>> {
    let mut ready = Vec::new();
    let now = repository.store().now();
    let buried: Vec<(BackupId, Buried)> = stream::iter(batch.to_vec())
        .map(|backup_id| async move {
            let buried = bury(repository, &backup_id, now).await?;
            Ok::<_, Error>((backup_id, buried))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    for (backup_id, buried) in buried {
        match buried {
            Buried::Ready => ready.push(backup_id),
            Buried::Retained(reason) => report.retain(backup_id, reason),
            Buried::Away => {}
        }
    }
    Ok(ready)
}

/// Those that the new plans drop as well; the others are told with why they stay.
fn still_dropped(plans: &[ClusterPlan], ready: Vec<BackupId>, report: &mut ExpireReport) -> Vec<BackupId> {
    let lines: BTreeMap<&BackupId, &PlanLine> = plans
        .iter()
        .flat_map(|cluster| &cluster.plan.lines)
        .map(|line| (&line.backup_id, line))
        .collect();
    let mut dropped = Vec::new();
    for backup_id in ready {
        match lines.get(&backup_id) {
            Some(line) if line.is_kept() => {
                let reasons: Vec<String> = line.reasons.iter().map(ToString::to_string).collect();
                report.retain(backup_id, reasons.join(", "));
            }
            // Gone meanwhile, or to go.
            _ => dropped.push(backup_id),
        }
    }
    dropped
}

/// Those that nobody holds by a word that no listing shows yet.
async fn not_held(
    repository: &Repository,
    mut ready: Vec<BackupId>,
    report: &mut ExpireReport,
) -> Result<Vec<BackupId>> {
    for (backup_id, hold) in repository.holds_by_name(&ready).await? {
        ready.retain(|other| *other != backup_id);
        report.retain(backup_id, Reason::Held(hold.reason).to_string());
    }
    Ok(ready)
}

async fn delete_batch(repository: &Repository, ready: Vec<BackupId>, report: &mut ExpireReport) -> Result<()> {
    let gone = delete_manifests(repository, ready, report).await?;
    failpoint::reach("expire-after-manifests").await;
    if gone.is_empty() {
        return Ok(());
    }
    let (gone, put_back) = put_back_held(repository, gone, report).await?;
    report.expired.extend(gone.iter().cloned());
    let marks = stream::iter(gone).map(|backup_id| async move { repository.put_gone(&backup_id).await });
    let () = marks.buffer_unordered(CONCURRENCY).try_collect().await?;
    put_back
}

/// Those of `gone` that nobody holds, and whether all others are back. A hold that comes later was told that it was too late.
async fn put_back_held(
    repository: &Repository,
    gone: Vec<BackupId>,
    report: &mut ExpireReport,
) -> Result<(Vec<BackupId>, Result<()>)> {
    let holds = repository.holds_by_name(&gone).await?;
    let mut put_back = Ok(());
    let mut unheld = Vec::new();
    for backup_id in gone {
        let Some(hold) = holds.get(&backup_id) else {
            unheld.push(backup_id);
            continue;
        };
        match repository.put_back(&backup_id, true).await {
            Ok(true) => report.retain(backup_id, Reason::Held(hold.reason.clone()).to_string()),
            // The hold has ended since.
            Ok(false) => unheld.push(backup_id),
            // The others are still to be marked.
            Err(error) => put_back = Err(error),
        }
    }
    Ok((unheld, put_back))
}

/// How far one backup is on its way out.
enum Buried {
    Ready,
    Retained(String),
    /// Somebody else has expired it.
    Away,
}

/// Writes the tombstone. A mark from an earlier life of the same backup would say a wrong time, so it goes first. Both are
/// asked for by name: a listing may be older than they are.
async fn bury(repository: &Repository, backup_id: &BackupId, now: Timestamp) -> Result<Buried> {
    let manifest = match repository.read_manifest(backup_id).await {
        Ok(stored) => stored.manifest,
        Err(Error::NoSuchBackup(_)) => return Ok(Buried::Away),
        Err(error) if error.is_unreadable_object() => return Ok(Buried::Retained(error.to_string())),
        Err(error) => return Err(error),
    };
    if repository.gone_by_name(backup_id).await?.is_some() {
        let mark = Key::Gone(backup_id.clone()).to_string();
        if let Some(reason) = refused(repository.store().delete(&mark).await)? {
            return Ok(Buried::Retained(reason));
        }
    }
    match repository.put_tombstone(manifest, now).await {
        Ok(()) => Ok(Buried::Ready),
        Err(Error::Storage(error)) => match refused(Err(error))? {
            Some(reason) => Ok(Buried::Retained(reason)),
            None => Ok(Buried::Ready),
        },
        Err(error) => Err(error),
    }
}

/// Why the store does not let us, where that is what it said.
fn refused(result: storage::Result<()>) -> storage::Result<Option<String>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.kind == ErrorKind::Denied => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Those whose manifests are gone.
async fn delete_manifests(
    repository: &Repository,
    backups: Vec<BackupId>,
    report: &mut ExpireReport,
) -> Result<Vec<BackupId>> {
    let key = |backup_id: &BackupId| Key::Manifest(backup_id.clone()).to_string();
    let keys: Vec<String> = backups.iter().map(key).collect();
    let stay = match repository.store().delete_many(&keys).await {
        Ok(stay) => stay,
        Err(error) if error.kind == ErrorKind::Denied => {
            for backup_id in backups {
                report.retain(backup_id, error.to_string());
            }
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut left = BTreeSet::new();
    for error in stay {
        let backup_id = backups.iter().find(|backup_id| key(backup_id) == error.key);
        match backup_id {
            Some(backup_id) if error.kind == ErrorKind::Denied => {
                report.retain(backup_id.clone(), error.to_string());
                left.insert(backup_id.clone());
            }
            _ => return Err(error.into()),
        }
    }
    Ok(backups
        .into_iter()
        .filter(|backup_id| !left.contains(backup_id))
        .collect())
}
