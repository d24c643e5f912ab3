//! The copies of the repository that a backup agent fills.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::counts::RetentionCounts;
use super::retention::RetentionStatus;

/// One of them, as this process knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// In the settings.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// When it is filled again, if that does not wait for the next backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// When it last held every backup that belongs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Backups of the repository that belong there and are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Since when the oldest of them could have been brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Timestamp>,
    /// Backups of the repository that retention has let go there, or would at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_go: Option<u64>,
    /// Why the last attempt left something behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Its own retention, where the agent does that.
    #[serde(default, skip_serializing_if = "RetentionStatus::is_empty")]
    pub retention: RetentionStatus,
}

/// What this process has counted of one copy since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyCounts {
    /// Attempts after which every backup that belongs there was there.
    pub complete: u64,
    /// Attempts that left backups behind.
    pub incomplete: u64,
    /// Attempts that could not be made, or not to the end.
    pub failed: u64,
    pub copied_backups: u64,
    /// Also of attempts that failed.
    pub copied_bytes: u64,
    pub retention: RetentionCounts,
}
