//! What lies in the bucket: the same on both agents, and the same before and after a restart.

use super::sheet::Sheet;
use crate::http::status::{
    BackupContents, BackupStatus, CertificateStatus, DrillState, DrillStatus, PhaseStatus, RepositoryStatus,
};

/// Ways for a drill to end.
const VERDICTS: [DrillState; 3] = [DrillState::Certified, DrillState::Failed, DrillState::Unverified];

pub(super) fn write(sheet: &Sheet, repository: &RepositoryStatus) {
    sheet.time("repository_read_timestamp_seconds", repository.read_at);
    totals(sheet, repository);
    if let Some((backup, contents)) = repository.newest() {
        newest(sheet, repository, backup, contents);
    }
    let certified = repository.newest_certified();
    let oldest_snapshot = certified.map(|(_, contents)| contents.oldest_snapshot);
    sheet.time("newest_certified_snapshot_timestamp_seconds", oldest_snapshot);
    if let Some(drill) = repository.last_drill() {
        last_drill(sheet, drill);
    }
    if let Some(certificate) = &repository.newest_certificate {
        newest_certificate(sheet, certificate);
    }
}

fn totals(sheet: &Sheet, repository: &RepositoryStatus) {
    let count = |wanted: &dyn Fn(&BackupStatus) -> bool| {
        let backups = repository.backups.iter().filter(|backup| wanted(backup));
        Some(backups.count() as u64)
    };
    sheet.number("backups", count(&|backup| backup.contents.is_some()));
    for (name, verdict) in [
        ("certified_backups", DrillState::Certified),
        ("failed_backups", DrillState::Failed),
    ] {
        sheet.number(name, count(&|backup| backup.verdict() == Some(verdict)));
    }
    let freezing = repository.newest_freezing();
    sheet.number("deletion_frozen", Some(u64::from(repository.frozen.is_some())));
    sheet.number("drift_findings", Some(freezing.map_or(0, |(_, drift)| drift.findings)));
    let is_uncompared = |backup: &BackupStatus| backup.drift.as_ref().is_some_and(|drift| !drift.is_compared);
    sheet.number("uncompared_backups", count(&is_uncompared));
    sheet.number("damaged_manifests", count(&|backup| backup.damage.is_some()));
    let drills = || repository.backups.iter().flat_map(|backup| &backup.drills);
    for verdict in VERDICTS {
        let drills = drills().filter(|drill| drill.state == verdict).count() as u64;
        let labels = [("verdict", verdict.as_str())];
        sheet.labelled_number("drills", &labels, drills);
    }
}

fn newest(sheet: &Sheet, repository: &RepositoryStatus, backup: &BackupStatus, contents: &BackupContents) {
    sheet.time("last_success_timestamp_seconds", contents.usable_since);
    sheet.time("newest_backup_snapshot_timestamp_seconds", contents.oldest_snapshot);
    sheet.gauge("last_backup_duration_seconds", contents.duration_seconds);
    sheet.gauge("last_backup_paced_seconds", contents.paced_seconds);
    phases(sheet, "last_backup_phase_seconds", &contents.phases);
    sheet.number("last_backup_rows", contents.rows);
    sheet.number("last_backup_tables", contents.tables);
    sheet.number("last_backup_raw_bytes", contents.raw_bytes);
    sheet.number("last_backup_stored_bytes", contents.stored_bytes);
    sheet.number("last_backup_new_bytes", contents.new_bytes);
    sheet.number("last_backup_chunks", contents.chunks);
    sheet.number("last_backup_reused_chunks", contents.reused_chunks);
    sheet.number("last_backup_healed_chunks", contents.healed_chunks);
    match backup.verdict() {
        None => {
            sheet.time("unverified_since_timestamp_seconds", repository.unjudged_since());
        }
        Some(verdict) => one_of(
            sheet,
            "newest_backup_verdict",
            &[DrillState::Certified, DrillState::Failed],
            verdict,
        ),
    }
}

fn last_drill(sheet: &Sheet, drill: &DrillStatus) {
    sheet.time("last_drill_timestamp_seconds", drill.started);
    one_of(sheet, "last_drill_verdict", &VERDICTS, drill.state);
}

fn newest_certificate(sheet: &Sheet, certificate: &CertificateStatus) {
    phases(sheet, "last_drill_phase_seconds", &certificate.phases);
    sheet.number("older_versions_read", certificate.older_versions);
    sheet.number("untested_items", certificate.total_not_tested);
    sheet.gauge("recovery_seconds", certificate.recovery_seconds);
}

fn phases(sheet: &Sheet, name: &str, phases: &[PhaseStatus]) {
    for phase in phases {
        sheet.labelled_gauge(name, &[("phase", &phase.name)], phase.seconds);
    }
}

/// 1 at the present verdict, 0 at the others.
fn one_of(sheet: &Sheet, name: &str, verdicts: &[DrillState], present: DrillState) {
    for verdict in verdicts {
        let labels = [("verdict", verdict.as_str())];
        sheet.labelled_number(name, &labels, u64::from(*verdict == present));
    }
}
