//! From what happened in a drill to its certificate.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::certificate::{
    CERTIFICATE_VERSION, Certificate, DatabaseCertificate, PhaseSeconds, SourceFacts, TargetFacts, Verdict, Versions,
};
use super::damage::name_damage;
use super::error::Error;
use super::objectives::{RecoveryPoint, exceeded};
use super::run::Run;
use super::verdict::{DatabaseOutcome, cause_of, chain, checks_not_run, judge, not_tested, reasons, summary};
use crate::postgres::machine::{Machine, read_machine};
use crate::postgres::program::ClientPrograms;
use crate::postgres::server::{Server, read_server};
use crate::postgres::{self, ConnectOptions, connect};
use crate::repository::id::{BackupId, DrillId, VerifyId};
use crate::repository::manifest::Backup;
use crate::repository::{self, VerifyOptions};

/// How long the target's server may take to say what it runs on: it may have been stopped meanwhile.
const FACTS: Duration = Duration::from_secs(10);

/// How long the roots beside the drilled one may take: the drill's own time may be over by then.
const NEIGHBOURS: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) async fn certify(
        &self,
        backup: &Backup,
        drill_id: &DrillId,
        find_seconds: f64,
        outcomes: &[DatabaseOutcome],
    ) -> Certificate {
        let verdict = judge(outcomes);
        let (mut reasons, mut not_tested) = (reasons(outcomes), not_tested(backup, outcomes));
        let damaged_objects = self.find_damage(backup, outcomes).await;
        reasons.extend(damaged_objects.iter().map(|key| name_damage(backup, key)));
        let recovery_seconds = recovery_seconds(find_seconds, outcomes);
        let recovery_point = self.recovery_point(backup).await;
        let objectives = self.options.objectives.facts(recovery_seconds, recovery_point);
        let exceeded = exceeded(objectives, recovery_seconds, recovery_point);
        let mut summary = summary(verdict, outcomes, &reasons, &exceeded, &not_tested);
        summary.push_str(&of_older_versions(self.repository.read_from_older_versions().len()));
        not_tested.extend(checks_not_run(outcomes));
        let databases: Vec<DatabaseCertificate> = outcomes.iter().filter_map(DatabaseOutcome::certificate).collect();
        let (target, versions) = self.server_facts(backup).await;
        Certificate {
            manifest_sha256: Some(backup.manifest_sha256),
            summary,
            reasons,
            damaged_objects,
            source: Some(source_facts(backup)),
            target,
            versions,
            recovery_seconds,
            recovery_point,
            objectives,
            databases,
            not_tested,
            ..self.blank(&backup.manifest.backup_id, drill_id, verdict)
        }
    }

    /// A drill stops at the first damaged object. The others are looked for then: each that goes unnamed would be reused
    /// by the next backup, and cost one more.
    async fn find_damage(&self, backup: &Backup, outcomes: &[DatabaseOutcome]) -> Vec<String> {
        let mut damaged: BTreeSet<String> = outcomes.iter().filter_map(DatabaseOutcome::damaged_key).collect();
        if damaged.is_empty() {
            return Vec::new();
        }
        let options = VerifyOptions {
            verify_id: VerifyId::new(self.started, rand::random()),
            backups: vec![backup.manifest.backup_id.clone()],
            concurrency: self.options.jobs,
            // It stands in the certificate.
            record: false,
        };
        let verified = repository::verify(self.repository, &options, self.progress, self.cancel);
        match self.deadline.within(verified).await.and_then(|verified| Ok(verified?)) {
            Ok(report) => damaged.extend(report.defects.into_iter().map(|defect| defect.key)),
            Err(error) => tracing::warn!(error = chain(&error), "other damage was not looked for"),
        }
        damaged.into_iter().collect()
    }

    /// The certificate of a backup that cannot even be read.
    pub(super) fn unreadable(&self, backup_id: &BackupId, drill_id: &DrillId, error: &Error) -> Certificate {
        let verdict = cause_of(error).map_or(Verdict::Failed, Verdict::Unverified);
        let reasons = vec![format!("the backup's index cannot be read: {}", chain(error))];
        Certificate {
            summary: summary(verdict, &[], &reasons, &[], &[]),
            reasons,
            damaged_objects: error.damaged_key().map(str::to_owned).into_iter().collect(),
            ..self.blank(backup_id, drill_id, verdict)
        }
    }

    fn blank(&self, backup_id: &BackupId, drill_id: &DrillId, verdict: Verdict) -> Certificate {
        Certificate {
            certificate_version: CERTIFICATE_VERSION,
            repository_id: self.repository.id().clone(),
            backup_id: backup_id.clone(),
            drill_id: drill_id.clone(),
            manifest_sha256: None,
            verdict,
            summary: String::new(),
            reasons: Vec::new(),
            damaged_objects: Vec::new(),
            older_versions: self.repository.read_from_older_versions(),
            started: self.started,
            finished: crate::telemetry::clock::now(),
            source: None,
            target: None,
            versions: Versions {
                tool: env!("CARGO_PKG_VERSION").to_owned(),
                ..Versions::default()
            },
            recovery_seconds: None,
            recovery_point: None,
            objectives: None,
            databases: Vec::new(),
            not_tested: Vec::new(),
        }
    }

    async fn recovery_point(&self, backup: &Backup) -> Option<RecoveryPoint> {
        let Ok(read) = timeout(NEIGHBOURS, self.repository.neighbours(&backup.manifest)).await else {
            tracing::warn!("the backups beside this one were not read in time");
            return None;
        };
        match read {
            Ok(neighbours) => Some(RecoveryPoint::of(&backup.manifest, &neighbours, self.started)),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the backups beside this one were not read");
                None
            }
        }
    }

    /// What the target runs on. It may be gone by now; then its part of the certificate stays empty.
    async fn server_facts(&self, backup: &Backup) -> (Option<TargetFacts>, Versions) {
        let mut versions = Versions {
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            backup_tool: backup.manifest.tool_version.clone(),
            source_server: backup.manifest.source.server_version.clone(),
            pg_dump: backup.manifest.source.pg_dump_version.clone(),
            ..Versions::default()
        };
        let Some(target) = self.options.targets.values().next() else {
            return (None, versions);
        };
        let Ok(Ok((server, machine))) = timeout(FACTS, self.look_at_server(target)).await else {
            return (None, versions);
        };
        versions.target_server.clone_from(&server.version);
        if let Ok(programs) = ClientPrograms::find(server.major(), self.options.bin_directory.as_deref()).await {
            versions.pg_restore = programs.version.replace("pg_dump", "pg_restore");
        }
        let facts = TargetFacts {
            server: format!("{}:{}", target.host, target.port),
            system_identifier: server.system_identifier,
            machine,
        };
        (Some(facts), versions)
    }

    async fn look_at_server(&self, target: &ConnectOptions) -> postgres::Result<(Server, Machine)> {
        let maintenance = target.with_database(&self.options.maintenance_database);
        let session = connect(&maintenance, "drill").await?;
        Ok((
            read_server(&session.client).await?,
            read_machine(&session.client).await?,
        ))
    }
}

fn of_older_versions(objects: usize) -> String {
    match objects {
        0 => String::new(),
        1 => "; 1 object was overwritten or hidden, and read from an older version".to_owned(),
        objects => format!("; {objects} objects were overwritten or hidden, and read from older versions"),
    }
}

fn source_facts(backup: &Backup) -> SourceFacts {
    let manifest = &backup.manifest;
    let times = || manifest.databases.iter().map(|database| database.snapshot_time);
    SourceFacts {
        cluster: manifest.source.cluster.clone(),
        system_identifier: manifest.source.system_identifier.clone(),
        oldest_snapshot: times().min().unwrap_or(manifest.started),
        newest_snapshot: times().max().unwrap_or(manifest.started),
        usable_since: manifest.finished,
    }
}

/// From finding the backup to ready for login: known only when every database was restored.
fn recovery_seconds(find_seconds: f64, outcomes: &[DatabaseOutcome]) -> Option<f64> {
    let mut seconds = find_seconds;
    for outcome in outcomes {
        let DatabaseOutcome::Compared(database) = outcome else {
            return None;
        };
        let restoring = |phase: &&PhaseSeconds| !["wipe", "compare"].contains(&phase.name.as_str());
        seconds += database
            .phases
            .iter()
            .filter(restoring)
            .map(|phase| phase.seconds)
            .sum::<f64>();
    }
    Some(seconds)
}
