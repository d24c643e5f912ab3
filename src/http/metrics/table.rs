//! Every metric there is. `docs/metrics.md` is made from this table; tests keep it equal to what is shown, and alert rules
//! and the dashboard within it.
//!
//! No metric is labelled by table or database: what grows with production would make Prometheus grow with it.

use std::fmt::Write as _;

use super::sheet::PREFIX;
use crate::http::status::AgentKind;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Without the beginning that all share.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub agents: Agents,
    pub origin: Origin,
}

/// What its value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    /// Only ever grows, from 0 at the start of the process.
    Counter,
}

/// Who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    Both,
    Only(AgentKind),
}

/// Where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Read from the bucket: the same after a restart, and on both agents.
    Bucket,
    /// Known to this process alone.
    Process,
    Settings,
}

impl Metric {
    /// The whole name.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Whether `agent` shows it, once it knows it.
    #[must_use]
    pub fn is_of(&self, agent: AgentKind) -> bool {
        match self.agents {
            Agents::Both => true,
            Agents::Only(only) => only == agent,
        }
    }

    const fn only(mut self, agent: AgentKind) -> Self {
        self.agents = Agents::Only(agent);
        self
    }

    const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

const fn metric(kind: Kind, origin: Origin, name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind,
        labels: &[],
        help,
        agents: Agents::Both,
        origin,
    }
}

/// From the bucket.
const fn kept(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Gauge, Origin::Bucket, name, help)
}

/// Of the process.
const fn own(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Gauge, Origin::Process, name, help)
}

/// Counted by the process.
const fn counted(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Counter, Origin::Process, name, help)
}

const fn wanted(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Gauge, Origin::Settings, name, help)
}

const BACKUP: AgentKind = AgentKind::BackupAgent;
const RESTORE: AgentKind = AgentKind::RestoreAgent;

/// In the order of the page.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    kept("last_success_timestamp_seconds", "When the newest backup had read everything; its index and its manifest were stored right after that."),
    kept("newest_backup_snapshot_timestamp_seconds", "The oldest snapshot of the newest backup."),
    kept("newest_certified_snapshot_timestamp_seconds", "The oldest snapshot of the newest backup that a drill has certified."),
    kept("newest_backup_verdict", "1 at the verdict on the newest backup, 0 at the other; absent while no drill has judged it.").by(&["verdict"]),
    kept("unverified_since_timestamp_seconds", "Since when a verdict is waited for: since the last one, or since the first of the newest backups without one could be used; absent while the newest backup has a verdict."),
    kept("recovery_point_seconds", "What would be lost if production were gone now: age of the oldest snapshot of the newest backup that no drill has found wrong."),
    wanted("recovery_point_objective_seconds", "What may be lost at most, by the setting objectives.rpo."),
    kept("recovery_seconds", "Recovery time of the newest drill that judged: from finding the backup to ready for login."),
    wanted("recovery_objective_seconds", "How long a recovery may take at most, by the setting objectives.rto."),
    kept("backups", "Backups whose root can be read."),
    kept("certified_backups", "Backups whose newest judging drill certified them."),
    kept("failed_backups", "Backups whose newest judging drill found them wrong."),
    kept("deletion_frozen", "1 while nothing may be deleted, because a backup lacks what an earlier one held or could not be compared, and nobody has accepted it."),
    kept("drift_findings", "Findings of the newest backup for which nothing may be deleted."),
    kept("uncompared_backups", "Backups that should have been compared with an earlier one and were not."),
    kept("damaged_manifests", "Backups whose root cannot be read."),
    kept("repository_read_timestamp_seconds", "When the repository was last read."),

    kept("last_backup_duration_seconds", "How long the newest backup took."),
    kept("last_backup_paced_seconds", "How much of it were pauses for production's sake; absent where the newest backup was not paced."),
    kept("last_backup_phase_seconds", "How long a phase of the newest backup took, over all databases.").by(&["phase"]),
    kept("last_backup_rows", "Rows in the newest backup."),
    kept("last_backup_tables", "Tables in the newest backup."),
    kept("last_backup_raw_bytes", "Size of the newest backup's contents before compression."),
    kept("last_backup_stored_bytes", "Size of the objects that the newest backup consists of, shared ones included."),
    kept("last_backup_new_bytes", "Size of the objects that the newest backup added to the bucket."),
    kept("last_backup_chunks", "Chunks that the newest backup consists of."),
    kept("last_backup_reused_chunks", "Chunks of the newest backup that were in the bucket already."),
    kept("last_backup_healed_chunks", "Chunks of the newest backup that were stored again since the old object was missing or damaged."),

    kept("last_drill_timestamp_seconds", "When the newest drill that has ended began."),
    kept("last_drill_verdict", "1 at the verdict of the newest drill that has ended, 0 at the others.").by(&["verdict"]),
    kept("last_drill_phase_seconds", "How long a phase of the newest drill that judged took, over all databases.").by(&["phase"]),
    kept("drills", "Drills of the backups in the repository, by verdict.").by(&["verdict"]),
    kept("older_versions_read", "Objects that the newest drill that judged had to read from older versions, since somebody had overwritten or hidden them."),
    kept("untested_items", "What the newest certificate says was not tested."),

    own("last_attempt_timestamp_seconds", "When this agent's newest backup or drill began, as known to the process or the bucket."),
    own("run_in_progress_since_timestamp_seconds", "When the present run began; absent while none goes on."),
    own("run_done_bytes", "Bytes done in the present phase of the present run."),
    own("run_total_bytes", "Bytes to do in the present phase of the present run, where that can be estimated."),
    own("snapshot_age_seconds", "Age of the snapshot that the source holds for the backup that goes on.").only(BACKUP),
    own("blocked_sessions", "Sessions of others that wait for the locks of the backup that goes on.").only(BACKUP),
    own("run_pace_ratio", "Share of full speed that the backup which goes on may use now; absent where it is not paced.").only(BACKUP),
    own("run_paced_seconds", "Pauses of the backup that goes on for production's sake, as a mean of its workers; absent where it is not paced.").only(BACKUP),
    own("next_run_timestamp_seconds", "When the next run begins by itself."),
    own("run_queued", "1 if one more run begins when the present one has ended."),
    own("waiting", "1 while the agent waits for settings, a server, the store or a role."),
    own("waiting_for_settings", "1 while there are no settings that the agent could use."),
    own("lease_held", "1 while this agent holds the lease on the cluster's backups.").only(BACKUP),
    own("lease_degraded", "1 if the store cannot refuse a second holder of the lease.").only(BACKUP),
    counted("runs_total", "Runs that have ended, by outcome.").by(&["outcome"]),
    counted("triggers_total", "Runs that have begun, by what asked for them.").by(&["source"]),
    counted("coalesced_signals_total", "Signals that asked for a run which was already waiting to begin."),
    counted("reloads_total", "Times that settings were read again, by whether they were accepted.").by(&["outcome"]),
    counted("notifications_total", "Notifications, by whether the receiver took them.").by(&["outcome"]).only(RESTORE),
    counted("failed_polls_total", "Looks at the repository that failed."),
    counted("retention_runs_total", "Expiries with prune after a backup, by how they ended.").by(&["outcome"]).only(BACKUP),
    counted("expired_backups_total", "Backups that this agent has expired.").only(BACKUP),
    counted("pruned_objects_total", "Chunks that this agent has deleted.").only(BACKUP),
    counted("pruned_bytes_total", "Bytes of the chunks that this agent has deleted.").only(BACKUP),
    own("retained_objects", "Objects that this agent's last retention should have deleted and the store kept; absent before the first.").only(BACKUP),
    own("retention_in_progress_since_timestamp_seconds", "When the present expiry with prune began; absent while none goes on.").only(BACKUP),
    own("last_retention_timestamp_seconds", "When this agent's newest expiry with prune that ended so did.").by(&["outcome"]).only(BACKUP),

    own("copy_last_success_timestamp_seconds", "When a copy last held every backup that belongs there.").by(&["copy"]).only(BACKUP),
    own("copy_missing_backups", "Backups that belong into a copy and are not there.").by(&["copy"]).only(BACKUP),
    own("copy_behind_since_timestamp_seconds", "Since when the oldest backup could have been brought that a copy lacks; of a copy that this process has not seen yet, since it began. Absent while nothing is missing.").by(&["copy"]).only(BACKUP),
    own("copy_let_go_backups", "Backups that are not brought into a copy, since its retention has let them go or would at once.").by(&["copy"]).only(BACKUP),
    own("copy_in_progress_since_timestamp_seconds", "Since when a copy is being filled; absent while it is not.").by(&["copy"]).only(BACKUP),
    counted("copy_runs_total", "Attempts to fill a copy, by what they left: nothing, some backups, or that they could not be made.").by(&["copy", "outcome"]).only(BACKUP),
    counted("copied_backups_total", "Backups that this agent has brought into a copy.").by(&["copy"]).only(BACKUP),
    counted("copied_bytes_total", "Bytes of the chunks that this agent has brought into a copy.").by(&["copy"]).only(BACKUP),
    counted("copy_retention_runs_total", "Expiries with prune of a copy, by how they ended.").by(&["copy", "outcome"]).only(BACKUP),
    counted("copy_expired_backups_total", "Backups that this agent has expired in a copy.").by(&["copy"]).only(BACKUP),
    counted("copy_pruned_bytes_total", "Bytes of the chunks that this agent has deleted in a copy.").by(&["copy"]).only(BACKUP),
    own("copy_retained_objects", "Objects that this agent's last retention of a copy should have deleted and the store kept; absent before the first.").by(&["copy"]).only(BACKUP),
    own("copy_retention_in_progress_since_timestamp_seconds", "When the present expiry with prune of a copy began; absent while none goes on.").by(&["copy"]).only(BACKUP),
    own("copy_last_retention_timestamp_seconds", "When this agent's newest expiry with prune of a copy that ended so did.").by(&["copy", "outcome"]).only(BACKUP),

    counted("store_requests_total", "Requests to the store that have ended, retried ones included.").by(&["operation", "outcome"]),
    counted("store_retries_total", "Requests to the store that were made again after a failure."),
    counted("store_sent_bytes_total", "Bytes of objects sent to the store."),
    counted("store_received_bytes_total", "Bytes of objects received from the store."),

    own("build_info", "1; its labels say which agent this is, and its version.").by(&["version", "agent"]),
    own("process_start_time_seconds", "When the process began."),
    own("loop_turned_timestamp_seconds", "When the agent's loop last came round."),
    own("process_resident_memory_bytes", "Resident memory of the process."),
    own("process_peak_memory_bytes", "Resident memory of the process at its peak."),
];

/// The table of `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from("| metric | kind | labels | agent | from | meaning |\n|---|---|---|---|---|---|\n");
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let agents = match metric.agents {
            Agents::Both => "both",
            Agents::Only(AgentKind::BackupAgent) => "backup",
            Agents::Only(AgentKind::RestoreAgent) => "restore",
        };
        let origin = match metric.origin {
            Origin::Bucket => "bucket",
            Origin::Process => "process",
            Origin::Settings => "settings",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let (name, help) = (metric.full_name(), metric.help);
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {agents} | {origin} | {help} |");
    }
    page
}
