//! What an agent's process has counted since it began.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::copies::CopyCounts;
use super::run::{Outcome, Trigger};

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
    /// On a backup agent that expires and prunes.
    #[serde(default)]
    pub retention: RetentionCounts,
    /// On a backup agent that fills copies, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<String, CopyCounts>,
    /// Requests to the store that ended, retries included.
    #[serde(default)]
    pub store: StoreCounts,
}

/// What followed backups by the setting `retention.after_backup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionCounts {
    /// Runs that came to their end, and those that did not.
    pub runs: u64,
    pub failed_runs: u64,
    pub expired_backups: u64,
    pub deleted_objects: u64,
    pub deleted_bytes: u64,
}

impl RetentionCounts {
    /// Counts what was done since.
    pub fn add(&mut self, done: &Self) {
        self.runs += done.runs;
        self.failed_runs += done.failed_runs;
        self.expired_backups += done.expired_backups;
        self.deleted_objects += done.deleted_objects;
        self.deleted_bytes += done.deleted_bytes;
    }
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
