//! Runs: what makes them begin, where they are, and how they end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::labels::labels;

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
    /// How the backup is held back for production's sake; none: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<CurrentPace>,
    /// Since when the source holds a snapshot for this backup, and keeps what has been deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Timestamp>,
}

/// How a run is paced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentPace {
    /// Share of full speed that it may use now.
    pub ratio: f64,
    /// Pauses so far, as a mean of the workers.
    pub paced_seconds: f64,
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
