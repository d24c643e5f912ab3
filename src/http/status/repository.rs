//! What lies in the bucket: backups, the drills that were made of them, and what these say together.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::certificate::CertificateStatus;
use super::labels::labels;

/// What lies in the bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepositoryStatus {
    pub read_at: Timestamp,
    /// Of the agent's cluster where it has one, oldest first.
    pub backups: Vec<BackupStatus>,
    /// Why nothing may be deleted; absent while something may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
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
    /// What it lacks of an earlier one, where it lacks something or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
}

/// What a backup lacks of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftStatus {
    pub summary: String,
    pub findings: u64,
    /// False: there should have been a comparison.
    pub is_compared: bool,
    /// The gravest findings, at most [`KEPT_FINDINGS`].
    pub lines: Vec<String>,
    /// Nothing may be deleted for it.
    pub freezes: bool,
}

/// Findings of a backup that a status lists.
pub const KEPT_FINDINGS: usize = 5;

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
    /// Pauses for production's sake; none where it was not paced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paced_seconds: Option<f64>,
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

    /// Since when a verdict has been waited for, of the backups that can be read: since the last one, or, where that is
    /// later, since the first of the newest backups without any could be used. None while the newest has one.
    #[must_use]
    pub fn unjudged_since(&self) -> Option<Timestamp> {
        let open = self
            .readable()
            .rev()
            .take_while(|(backup, _)| backup.verdict().is_none());
        let first = open.map(|(_, contents)| contents.usable_since).min()?;
        let drills = self.backups.iter().flat_map(|backup| &backup.drills);
        let judged = drills.filter(|drill| matches!(drill.state, DrillState::Certified | DrillState::Failed));
        let last = judged.map(|drill| drill.started).max();
        Some(last.map_or(first, |last| last.max(first)))
    }

    /// The newest of those for which nothing may be deleted.
    #[must_use]
    pub fn newest_freezing(&self) -> Option<(&BackupStatus, &DriftStatus)> {
        let mut drifts = self
            .backups
            .iter()
            .filter_map(|backup| Some((backup, backup.drift.as_ref()?)));
        drifts.rfind(|(_, drift)| drift.freezes)
    }

    fn readable(&self) -> impl DoubleEndedIterator<Item = (&BackupStatus, &BackupContents)> {
        self.backups
            .iter()
            .filter_map(|backup| Some((backup, backup.contents.as_ref()?)))
    }
}

labels!(DrillState {
    Started => "started",
    Certified => "certified",
    Failed => "failed",
    Unverified => "unverified",
});
