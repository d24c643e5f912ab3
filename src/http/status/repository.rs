//! What lies in the bucket: backups, the drills that were made of them, and what these say together.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
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
        self.drills
            .iter()
            .rfind(|drill| drill.judges())
            .map(|drill| drill.state)
    }

    /// Since when there is something to judge.
    fn waits_since(&self) -> Option<Timestamp> {
        let contents = self.contents.as_ref().map(|contents| contents.usable_since);
        contents.or_else(|| time_of_id(&self.backup_id))
    }
}

/// The time that an id begins with.
fn time_of_id(backup_id: &str) -> Option<Timestamp> {
    let (time, _) = backup_id.split_once('-')?;
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl DrillStatus {
    /// Whether it says something about its backup.
    #[must_use]
    pub fn judges(&self) -> bool {
        matches!(self.state, DrillState::Certified | DrillState::Failed)
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

    /// Since when a verdict has been waited for: since the last one, or, where that is later, since the first of the newest
    /// backups without any could be used; one whose root cannot be read is waited for too. None while the newest has one.
    #[must_use]
    pub fn unjudged_since(&self) -> Option<Timestamp> {
        self.unjudged_since_without(None)
    }

    /// The same as if the drill `except` were not there.
    #[must_use]
    pub fn unjudged_since_without(&self, except: Option<&str>) -> Option<Timestamp> {
        let counts = |drill: &&DrillStatus| drill.judges() && except != Some(drill.drill_id.as_str());
        let is_open = |backup: &&BackupStatus| !backup.drills.iter().any(|drill| counts(&drill));
        let open = self.backups.iter().rev().take_while(is_open);
        let first = open.filter_map(BackupStatus::waits_since).min()?;
        let drills = self.backups.iter().flat_map(|backup| &backup.drills);
        let last = drills.filter(counts).map(|drill| drill.started).max();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn the_time_of_an_id_is_read_from_it_and_of_anything_else_is_not_known() {
        let expected = "2026-11-15T14:58:30Z".parse().unwrap();
        assert_eq!(time_of_id("20261115T145830Z-7f0c0000"), Some(expected));
        for other in ["20261115T145830Z", "20261315T145830Z-7f0c0000", "latest-1", ""] {
            assert_eq!(time_of_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_newest_backup_whose_root_cannot_be_read_waits_for_its_verdict_too() {
        let mut repository = sample::repository();
        repository.backups.truncate(3);
        let unreadable = BackupStatus {
            backup_id: "20991115T145830Z-7f0c0000".to_owned(),
            damage: Some("the digest differs".to_owned()),
            contents: None,
            drills: Vec::new(),
            drift: None,
        };
        let judged = DrillStatus {
            drill_id: "20261115T145830Z-00000001".to_owned(),
            started: sample::NOW,
            state: DrillState::Certified,
        };
        repository.backups[2].drills = vec![judged.clone()];
        assert_eq!(repository.unjudged_since(), None);
        repository.backups.push(unreadable);
        assert_eq!(
            repository.unjudged_since(),
            Some("2099-11-15T14:58:30Z".parse().unwrap())
        );
    }
}
