//! A drill: guards, wipe, restore, compare, certificate.
//!
//! A start marker is written first, so that a drill that was killed is seen to have been interrupted. Databases of the
//! backup come one after the other; what one target says of its database says nothing of the others. The certificate is
//! stored before the targets are cleaned up: evidence comes before tidiness, and the next drill wipes anyway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::certificate::{CERTIFICATE_VERSION, Certificate, DatabaseCertificate, PhaseSeconds, StartMarker};
use super::clean::{RolesInUse, clean_up};
use super::compare::{CompareOptions, compare_database};
use super::deadline::Deadline;
use super::error::{Error, Result};
use super::objectives::Objectives;
use super::verdict::{DatabaseOutcome, chain};
use crate::postgres::ConnectOptions;
use crate::postgres::role_apply::MADE_BY_A_DRILL;
use crate::repository::id::{BackupId, DrillId};
use crate::repository::manifest::{Backup, Database};
use crate::repository::{CertificateState, Repository};
use crate::restore::preflight::Jobs;
use crate::restore::{
    self, Guarded, Refusal, RestoreOptions, RolesMode, TargetUse, check_before_wipe, guard, restore_database, wipe,
};
use crate::telemetry::failpoint;
use crate::telemetry::progress::Progress;

/// Stands on every role that a drill creates; such roles are dropped after it, or by the next one.
pub const ROLE_COMMENT: &str = MADE_BY_A_DRILL;

/// How much later than any other session the lock's own may be seen to have ended.
const LOSS_SHOWS: Duration = Duration::from_secs(1);

/// How long work that was told to stop may take to say so: a server that answers nothing never lets it.
const LEAVING: Duration = Duration::from_secs(10);

/// How to drill.
#[derive(Clone, Debug)]
pub struct DrillOptions {
    /// Where each of the backup's databases is rebuilt, by the source's name for it.
    pub targets: BTreeMap<String, ConnectOptions>,
    /// A database of the target's server that is not a target, where the lock is held.
    pub maintenance_database: String,
    pub jobs: usize,
    /// Directory of `pg_dump` and `pg_restore`, else found by itself.
    pub bin_directory: Option<PathBuf>,
    /// A drill that takes longer, in whatever it does, is ended, and unverified.
    pub max_duration: Duration,
    /// Longest wait for a lock while loading.
    pub lock_timeout: Duration,
    /// Leave the rebuilt databases and roles in place.
    pub keep: bool,
    pub amcheck: bool,
    /// Log in as this role, if it is one that the drill creates.
    pub login_role: Option<String>,
    /// What a recovery may cost; said in the certificate, no part of the verdict.
    pub objectives: Objectives,
    /// A target that another drill or a restore holds ends this drill without a certificate, instead of leaving it
    /// unverified: whoever holds it is about to say more.
    pub gives_way: bool,
    /// A fault on purpose, for tests of what must notice it.
    #[cfg(any(test, feature = "demo"))]
    #[doc(hidden)]
    pub fault: Option<crate::restore::LoadFault>,
}

impl Default for DrillOptions {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            maintenance_database: "postgres".to_owned(),
            jobs: 2,
            bin_directory: None,
            max_duration: Duration::from_hours(24),
            lock_timeout: RestoreOptions::default().lock_timeout,
            keep: false,
            amcheck: false,
            login_role: None,
            objectives: Objectives::default(),
            gives_way: false,
            #[cfg(any(test, feature = "demo"))]
            fault: None,
        }
    }
}

/// Drills `backup_id` and stores what is to be said about it. Whatever goes wrong with the backup, its restoration or a
/// target stands in the certificate.
///
/// # Errors
/// `Error::Interrupted` when cancelled and `Error::Held` when giving way (there is a start marker and no certificate then);
/// `Error::Repository` when the bucket did not take the marker or the certificate.
pub async fn drill(
    repository: &Repository,
    backup_id: &BackupId,
    options: &DrillOptions,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Certificate> {
    // What this drill reads from older versions stands in its certificate.
    let repository = &repository.watched();
    let run = Run {
        repository,
        options,
        progress,
        cancel,
        started: crate::telemetry::clock::now(),
        deadline: Deadline::after(options.max_duration),
    };
    let drill_id = run.next_id(backup_id).await?;
    run.put_start_marker(backup_id, &drill_id).await?;
    failpoint::reach("after-drill-start").await;
    let clock = Instant::now();
    let backup = run.read_backup(backup_id).await;
    let mut held = Held::default();
    let certificate = match &backup {
        Ok(backup) => {
            let find_seconds = clock.elapsed().as_secs_f64();
            let outcomes = run.databases(backup, &mut held).await?;
            run.certify(backup, &drill_id, find_seconds, &outcomes).await
        }
        Err(error) => run.unreadable(backup_id, &drill_id, error),
    };
    if cancel.is_cancelled() {
        return Err(Error::Interrupted);
    }
    failpoint::reach("before-certificate").await;
    run.put(&certificate).await?;
    if !options.keep && run.deadline.within(clean_up(held, cancel)).await.is_err() {
        tracing::warn!("the target was not cleaned up in time; the next drill wipes it");
    }
    Ok(certificate)
}

/// One drill while it runs.
pub(super) struct Run<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a DrillOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancellationToken,
    pub(super) started: jiff::Timestamp,
    pub(super) deadline: Deadline,
}

/// What the drill holds until it ends.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// Each with the database whose properties it was wiped to.
    pub(super) targets: Vec<(Guarded, &'a Database)>,
    pub(super) roles: Option<RolesInUse>,
}

impl Run<'_> {
    /// An id after those of all drills of this backup: the last verdict counts, and ids tell which one that is, although
    /// a clock may have been set back meanwhile.
    async fn next_id(&self, backup_id: &BackupId) -> Result<DrillId> {
        let earlier = self.repository.certificates_of(backup_id).await?;
        let last = earlier.iter().map(|certificate| certificate.drill_id.time()).max();
        let after = last.and_then(|last| last.checked_add(SignedDuration::from_secs(1)).ok());
        let time = after.map_or(self.started, |after| after.max(self.started));
        Ok(DrillId::new(time, rand::random()))
    }

    async fn put_start_marker(&self, backup_id: &BackupId, drill_id: &DrillId) -> Result<()> {
        let marker = StartMarker {
            certificate_version: CERTIFICATE_VERSION,
            backup_id: backup_id.clone(),
            drill_id: drill_id.clone(),
            started: self.started,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let body = serde_json::to_vec_pretty(&marker)?.into();
        let state = CertificateState::Started;
        Ok(self
            .repository
            .put_certificate(backup_id, drill_id, state, body)
            .await?)
    }

    /// Within the drill's own limit: many objects that come slowly, each within its own, may take longer together.
    async fn read_backup(&self, backup_id: &BackupId) -> Result<Backup> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Interrupted),
            read = self.deadline.within(self.repository.read_backup(backup_id)) => Ok(read??),
        }
    }

    async fn put(&self, certificate: &Certificate) -> Result<()> {
        let body = serde_json::to_vec_pretty(certificate)?.into();
        let (backup_id, drill_id) = (&certificate.backup_id, &certificate.drill_id);
        let state = certificate.verdict.state();
        self.repository
            .put_certificate(backup_id, drill_id, state, body)
            .await?;
        tracing::info!(%backup_id, %drill_id, verdict = state.as_str(), "certificate stored");
        Ok(())
    }

    async fn databases<'b>(&self, backup: &'b Backup, held: &mut Held<'b>) -> Result<Vec<DatabaseOutcome>> {
        let mut outcomes = Vec::new();
        for database in &backup.databases {
            let name = &database.head.properties.name;
            let Some(target) = self.options.targets.get(name) else {
                outcomes.push(DatabaseOutcome::NoTarget(name.clone()));
                continue;
            };
            let mut certificate = DatabaseCertificate {
                database: name.clone(),
                target_database: target.database.clone(),
                snapshot_time: database.head.snapshot_time,
                equal: false,
                phases: Vec::new(),
                stored_bytes: 0,
                checks: Vec::new(),
                tables: Vec::new(),
                roles_created: Vec::new(),
                tablespaces_left_out: Vec::new(),
                jobs_unknown: false,
                remarks: Vec::new(),
            };
            let done = Box::pin(self.database(backup, database, target, &mut certificate, held)).await;
            if self.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            outcomes.push(match done {
                Err(Error::Restore(restore::Error::Guard(Refusal::Locked { database }))) if self.options.gives_way => {
                    return Err(Error::Held { database });
                }
                Ok(()) => DatabaseOutcome::Compared(certificate),
                Err(error) => {
                    tracing::warn!(
                        database = name,
                        error = chain(&error),
                        "the drill of this database stopped"
                    );
                    DatabaseOutcome::Stopped(certificate, error)
                }
            });
        }
        Ok(outcomes)
    }

    /// Guard, wipe, restore, compare, filling in what is known of each as it ends.
    async fn database<'b>(
        &self,
        backup: &'b Backup,
        database: &'b Database,
        target: &ConnectOptions,
        certificate: &mut DatabaseCertificate,
        held: &mut Held<'b>,
    ) -> Result<()> {
        let maintenance = target.with_database(&self.options.maintenance_database);
        let guarding = Box::pin(guard(self.repository, target, &maintenance));
        let guarded = self.deadline.within(guarding).await??;
        let checking = self.check_before_wipe(backup, database, &guarded);
        certificate.jobs_unknown = self.deadline.within(checking).await?? == Jobs::Unknown;
        if held.roles.is_none() {
            let roles = self.deadline.within(RolesInUse::begin(&maintenance)).await??;
            held.roles = Some(roles);
        }
        held.targets.push((guarded, database));
        let (Some((guarded, _)), Some(roles)) = (held.targets.last(), &held.roles) else {
            return Ok(());
        };
        // Whoever works on the target stops when the caller says so, when the lock on it is lost, and when time is up.
        let stop = self.cancel.child_token();
        let done = {
            let work = self.rebuild_and_compare(backup, database, (guarded, roles), certificate, &stop);
            guarded.run(&stop, self.until_stopped(work, &stop)).await
        };
        let lost = guarded.lost();
        let ran_out = stop.is_cancelled() && !lost.is_cancelled() && !self.cancel.is_cancelled();
        match &done {
            Ok(()) if certificate.equal => {}
            Err(_) if ran_out => return Err(self.deadline.too_long()),
            Err(error) if error.damaged_key().is_some() => return done,
            // A server that crashes ends its sessions one after the other, the lock's perhaps last.
            _ => drop(tokio::time::timeout(LOSS_SHOWS, lost.cancelled()).await),
        }
        guarded.check()?;
        done
    }

    /// Does `work`, which ends in its own way once `stop` is cancelled: by others, or here when time is up. Where it
    /// cannot end, it is dropped.
    async fn until_stopped(&self, work: impl Future<Output = Result<()>>, stop: &CancellationToken) -> Result<()> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = stop.cancelled() => {}
            () = self.deadline.passed() => stop.cancel(),
        }
        let left = tokio::time::timeout(LEAVING, work).await;
        left.unwrap_or(Err(Error::Interrupted))
    }

    /// A target that cannot take this backup keeps what it has.
    async fn check_before_wipe(&self, backup: &Backup, database: &Database, guarded: &Guarded) -> Result<Jobs> {
        let options = self.restore_options();
        let checked = check_before_wipe(self.repository, backup, database, guarded, &options);
        let checked = self.cancel.run_until_cancelled(Box::pin(checked)).await;
        Ok(checked.unwrap_or(Err(restore::Error::Interrupted))?)
    }

    async fn rebuild_and_compare(
        &self,
        backup: &Backup,
        database: &Database,
        (guarded, roles): (&Guarded, &RolesInUse),
        certificate: &mut DatabaseCertificate,
        stop: &CancellationToken,
    ) -> Result<()> {
        let clock = Instant::now();
        self.progress.begin("wipe", None);
        let wiped = wipe(guarded, &database.head.properties, stop).await;
        self.progress.end();
        wiped?;
        roles.drop_leftovers().await?;
        certificate.phases.push(phase("wipe", clock));
        failpoint::reach("after-wipe").await;

        let options = self.restore_options();
        let target = guarded.target();
        let report = restore_database(self.repository, backup, database, target, &options, self.progress, stop).await?;
        certificate
            .phases
            .extend(report.phases.into_iter().map(|phase| PhaseSeconds {
                name: phase.name,
                seconds: phase.seconds,
            }));
        certificate.stored_bytes = report.stored_bytes;
        certificate.roles_created = report.roles_created;
        certificate.tablespaces_left_out = report.tablespaces_left_out;
        certificate.remarks = report.skipped;
        certificate.remarks.extend(report.warnings);
        failpoint::reach("after-restore").await;

        let clock = Instant::now();
        let archive = self
            .repository
            .read_segments(backup, &database.head.schema_archive)
            .await?;
        let options = self.compare_options();
        let comparison = compare_database(backup, database, &archive, target, &options, self.progress, stop).await?;
        certificate.phases.push(phase("compare", clock));
        certificate.equal = comparison.is_equal();
        let left_open = comparison.left_open();
        certificate.checks = comparison.checks;
        certificate.tables = comparison.tables;
        left_open.map_or(Ok(()), Err)
    }

    fn restore_options(&self) -> RestoreOptions {
        RestoreOptions {
            jobs: self.options.jobs,
            roles: RolesMode::MissingNoLogin,
            target_use: TargetUse::ThrownAway,
            role_comment: ROLE_COMMENT.to_owned(),
            maintenance_database: self.options.maintenance_database.clone(),
            bin_directory: self.options.bin_directory.clone(),
            lock_timeout: self.options.lock_timeout,
            #[cfg(any(test, feature = "demo"))]
            fault: self.options.fault.clone(),
            ..RestoreOptions::default()
        }
    }

    fn compare_options(&self) -> CompareOptions {
        CompareOptions {
            jobs: self.options.jobs,
            bin_directory: self.options.bin_directory.clone(),
            amcheck: self.options.amcheck,
            login_role: self.options.login_role.clone(),
            role_comment: ROLE_COMMENT.to_owned(),
            ..CompareOptions::default()
        }
    }
}

fn phase(name: &str, clock: Instant) -> PhaseSeconds {
    PhaseSeconds {
        name: name.to_owned(),
        seconds: clock.elapsed().as_secs_f64(),
    }
}
