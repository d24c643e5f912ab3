//! What an agent tells about itself: the document behind `/status`, `/metrics` and `/`.
//!
//! Plain data, filled in by the agents and read back by `trigger`. What is not known is absent. `docs/json.md` describes
//! it; fields may be added, none changes its meaning.

mod certificate;
mod copies;
mod counts;
mod labels;
mod repository;
mod retention;
mod run;
mod shown;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

pub use certificate::{CertificateStatus, KEPT_LINES, KEPT_TABLES, TableStatus};
pub use copies::{CopyCounts, CopyStatus};
pub use counts::{Counts, RetentionCounts, StoreCounts};
pub use repository::{
    BackupContents, BackupStatus, DriftStatus, DrillState, DrillStatus, KEPT_FINDINGS, PhaseStatus, RepositoryStatus,
};
pub use retention::{CurrentRetention, FailedRetention, RetentionStatus, SucceededRetention};
pub use run::{CurrentPace, CurrentPhase, CurrentRun, FinishedRun, NextRun, Outcome, Trigger};
pub(super) use shown::Shown;

use labels::labels;

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
    /// How often it looks at the repository.
    #[serde(default)]
    pub poll_seconds: f64,
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
    /// On a backup agent that expires and prunes.
    #[serde(default, skip_serializing_if = "RetentionStatus::is_empty")]
    pub retention: RetentionStatus,
    pub objectives: Objectives,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseStatus>,
    /// On a backup agent: the copies that it fills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyStatus>,
    /// As it was last read; none until then. Shared: it grows with the bucket, and is not copied for each who asks.
    /// Written as far as `/status` shows it.
    #[serde(default, skip_serializing, deserialize_with = "deserialize_shared")]
    pub repository: Option<Arc<RepositoryStatus>>,
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

impl Status {
    /// How much would be lost if production were gone now: the age of the newest usable backup's oldest snapshot.
    #[must_use]
    pub fn recovery_point_seconds(&self) -> Option<f64> {
        let (_, contents) = self.repository.as_ref()?.newest_usable()?;
        Some(self.now.duration_since(contents.oldest_snapshot).as_secs_f64())
    }

    /// The number of the newest run that has begun; 0 before the first.
    #[must_use]
    pub fn last_begun(&self) -> u64 {
        let ended = self.runs.iter().map(|run| run.number);
        let current = self.current.iter().map(|run| run.number);
        ended.chain(current).max().unwrap_or(0)
    }
}

fn deserialize_shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<RepositoryStatus>>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(Arc::new))
}

labels!(AgentKind { BackupAgent => "backup_agent", RestoreAgent => "restore_agent" });
