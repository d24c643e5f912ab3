//! What an agent tells about itself: the document behind `/status`, `/metrics` and `/`.
//!
//! Plain data, filled in by the agents and read back by `trigger`. What is not known is absent. `docs/json.md` describes
//! it; fields may be added, none changes its meaning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything that an agent knows at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub agent: AgentKind,
    pub tool_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// When this process began.
    pub started: Timestamp,
    /// When this document was made.
    pub now: Timestamp,
    /// When the agent's loop last came round.
    pub turned: Timestamp,
    /// What keeps the agent from working, in words: a server or the store that does not answer, a role that may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// There are no settings that can be used, so that nothing is done.
    #[serde(default)]
    pub waits_for_settings: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<NextRun>,
    /// One more run has been asked for and begins when the present one has ended.
    pub is_queued: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentRun>,
    /// Runs of this process that have ended, newest first, at most [`KEPT_RUNS`].
    pub runs: Vec<FinishedRun>,
    pub counts: Counts,
    pub objectives: Objectives,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseStatus>,
    /// As it was last read; none until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryStatus>,
}

/// Ended runs that a status lists.
pub const KEPT_RUNS: usize = 20;

/// The role of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    BackupAgent,
    RestoreAgent,
}

/// What made a run begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The time had come.
    Schedule,
    /// A run was missed while no agent was there.
    CatchUp,
    /// SIGUSR1.
    Signal,
    /// The run before it did not succeed.
    Retry,
    /// A backup without a verdict was found.
    Poll,
    /// An older backup is proven once more.
    Reprove,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A backup exists.
    Succeeded,
    /// A drill found the rebuilt databases equal to their source.
    Certified,
    /// A backup could not be made; a drill found that the backup or its restoration is wrong.
    Failed,
    /// A drill could not judge.
    Unverified,
    /// A backup gave way to production.
    Yielded,
    /// Not this process's turn: the server has another role, or another agent is at it.
    Skipped,
    /// Ended by a signal.
    Interrupted,
}

/// When and why the next run will begin by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextRun {
    pub at: Timestamp,
    pub trigger: Trigger,
}

/// The run that is going on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentRun {
    /// Counts the runs of this process from 1.
    pub number: u64,
    pub trigger: Trigger,
    pub started: Timestamp,
    /// The backup that is drilled; that of a backup is known at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<CurrentPhase>,
    /// Sessions of others that wait for the backup's locks, as last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_sessions: Option<u64>,
    /// Since when the source holds a snapshot for this backup, and keeps what has been deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Timestamp>,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentPhase {
    pub name: String,
    pub started: Timestamp,
    pub done_bytes: u64,
    /// An estimate, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedRun {
    pub number: u64,
    pub trigger: Trigger,
    pub started: Timestamp,
    pub finished: Timestamp,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// The error or the verdict in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What this process has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub runs: BTreeMap<Outcome, u64>,
    pub triggers: BTreeMap<Trigger, u64>,
    /// Signals that asked for a run which was already waiting to begin.
    pub coalesced_signals: u64,
    pub reloads: u64,
    /// SIGHUPs whose settings were refused.
    pub refused_reloads: u64,
    pub notifications: u64,
    pub failed_notifications: u64,
    /// Looks at the repository that failed.
    pub failed_polls: u64,
    /// Requests to the store that ended, retries included.
    #[serde(default)]
    pub store: StoreCounts,
}

/// Requests to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCounts {
    /// By operation (`put`, `get`, `head`, `list`, `delete`, `probe`) and outcome (`ok`, `exists` of an object that was
    /// to be created, or the kind of error).
    pub requests: BTreeMap<String, BTreeMap<String, u64>>,
    pub retries: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// What the operator wants to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<f64>,
}

/// Who may back the cluster up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Held by this process.
    pub is_held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The store cannot refuse a second holder, so that two agents may work at once.
    pub is_degraded: bool,
}

/// What lies in the bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepositoryStatus {
    pub read_at: Timestamp,
    /// Of the agent's cluster where it has one, oldest first.
    pub backups: Vec<BackupStatus>,
    /// The newest certificate that certifies or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_certificate: Option<CertificateStatus>,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupStatus {
    pub backup_id: String,
    /// Why its root cannot be read; then there are no contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<BackupContents>,
    /// In order of time.
    pub drills: Vec<DrillStatus>,
}

/// What a backup's root says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupContents {
    pub cluster: String,
    pub oldest_snapshot: Timestamp,
    pub newest_snapshot: Timestamp,
    pub started: Timestamp,
    /// When it could be used from.
    pub usable_since: Timestamp,
    pub databases: Vec<String>,
    pub databases_not_included: Vec<String>,
    pub tables: u64,
    pub rows: u64,
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    pub new_bytes: u64,
    pub chunks: u64,
    pub reused_chunks: u64,
    pub healed_chunks: u64,
    pub duration_seconds: f64,
    pub phases: Vec<PhaseStatus>,
}

/// One step and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseStatus {
    pub name: String,
    pub seconds: f64,
}

/// What is known of a drill by a listing alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillStatus {
    pub drill_id: String,
    pub started: Timestamp,
    pub state: DrillState,
}

/// How a drill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillState {
    /// Begun, and no more: it runs, or it was interrupted.
    Started,
    Certified,
    Failed,
    Unverified,
}

/// A certificate, as people look at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    pub backup_id: String,
    pub drill_id: String,
    pub state: DrillState,
    pub summary: String,
    pub reasons: Vec<String>,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// The oldest snapshot of the backup that was drilled, where its root could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_snapshot: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
    /// Summed over the databases.
    pub phases: Vec<PhaseStatus>,
    pub tables: Vec<TableStatus>,
    pub not_tested: Vec<String>,
}

/// One table of a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableStatus {
    pub database: String,
    pub table: String,
    pub rows: u64,
    pub raw_bytes: u64,
    /// As the source held it.
    pub fingerprint: String,
    pub is_equal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl Status {
    /// How much would be lost if production were gone now: the age of the newest usable backup's oldest snapshot.
    #[must_use]
    pub fn recovery_point_seconds(&self) -> Option<f64> {
        let (_, contents) = self.repository.as_ref()?.newest_usable()?;
        Some(self.now.duration_since(contents.oldest_snapshot).as_secs_f64())
    }
}

impl Status {
    /// The number of the newest run that has begun; 0 before the first.
    #[must_use]
    pub fn last_begun(&self) -> u64 {
        let ended = self.runs.iter().map(|run| run.number);
        let current = self.current.iter().map(|run| run.number);
        ended.chain(current).max().unwrap_or(0)
    }
}

impl BackupStatus {
    /// The verdict that counts: the newest that certifies or fails.
    #[must_use]
    pub fn verdict(&self) -> Option<DrillState> {
        let judged = |drill: &&DrillStatus| matches!(drill.state, DrillState::Certified | DrillState::Failed);
        self.drills.iter().rfind(judged).map(|drill| drill.state)
    }
}

impl RepositoryStatus {
    /// The newest backup whose root can be read.
    #[must_use]
    pub fn newest(&self) -> Option<(&BackupStatus, &BackupContents)> {
        self.readable().next_back()
    }

    /// The newest backup whose verdict is that it equals its source.
    #[must_use]
    pub fn newest_certified(&self) -> Option<(&BackupStatus, &BackupContents)> {
        self.readable()
            .rfind(|(backup, _)| backup.verdict() == Some(DrillState::Certified))
    }

    /// The newest backup that production could be rebuilt from: its root can be read, and no drill has found it wrong.
    #[must_use]
    pub fn newest_usable(&self) -> Option<(&BackupStatus, &BackupContents)> {
        self.readable()
            .rfind(|(backup, _)| backup.verdict() != Some(DrillState::Failed))
    }

    /// The newest drill that has ended, of whichever backup.
    #[must_use]
    pub fn last_drill(&self) -> Option<&DrillStatus> {
        let drills = self.backups.iter().flat_map(|backup| &backup.drills);
        drills
            .filter(|drill| drill.state != DrillState::Started)
            .max_by_key(|drill| drill.started)
    }

    fn readable(&self) -> impl DoubleEndedIterator<Item = (&BackupStatus, &BackupContents)> {
        let with_contents = |backup| Option::zip(Some(backup), backup_contents(backup));
        self.backups.iter().filter_map(with_contents)
    }
}

fn backup_contents(backup: &BackupStatus) -> Option<&BackupContents> {
    backup.contents.as_ref()
}

macro_rules! labels {
    ($type:ident { $($variant:ident => $label:literal),* $(,)? }) => {
        impl $type {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in documents and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label),*
                }
            }
        }
    };
}

labels!(AgentKind { BackupAgent => "backup_agent", RestoreAgent => "restore_agent" });
labels!(Trigger {
    Schedule => "schedule",
    CatchUp => "catch_up",
    Signal => "signal",
    Retry => "retry",
    Poll => "poll",
    Reprove => "reprove",
});
labels!(Outcome {
    Succeeded => "succeeded",
    Certified => "certified",
    Failed => "failed",
    Unverified => "unverified",
    Yielded => "yielded",
    Skipped => "skipped",
    Interrupted => "interrupted",
});
labels!(DrillState {
    Started => "started",
    Certified => "certified",
    Failed => "failed",
    Unverified => "unverified",
});
