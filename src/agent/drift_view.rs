//! Drift as agents and listings show it: what a root says of it, in few words.

use std::collections::BTreeSet;

use crate::http::status::{DriftStatus, KEPT_FINDINGS};
use crate::repository::drift::{Drift, DriftRecord, DriftState, Frozen, frozen};
use crate::repository::id::BackupId;
use crate::repository::manifest::Manifest;

/// What one root says.
#[derive(Debug)]
pub(super) struct RootDrift {
    finished: jiff::Timestamp,
    state: DriftState,
    /// Only where it lacks something, or nobody knows.
    alarm: Option<DriftStatus>,
}

impl RootDrift {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let drift = manifest.drift.as_ref();
        Self {
            finished: manifest.finished,
            state: DriftState::of(drift),
            alarm: drift.filter(|drift| drift.is_alarm()).map(describe),
        }
    }

    /// Of a root that cannot be read, which may say anything.
    pub(super) fn unknown(backup_id: &BackupId) -> Self {
        Self {
            finished: backup_id.time(),
            state: DriftState::NotCompared,
            alarm: None,
        }
    }

    pub(super) fn record(&self, backup_id: &BackupId, accepted: &BTreeSet<BackupId>) -> DriftRecord {
        DriftRecord {
            backup_id: backup_id.clone(),
            finished: self.finished,
            state: self.state,
            is_accepted: accepted.contains(backup_id),
        }
    }

    /// What there is to show of it.
    pub(super) fn status(&self, freezes: bool) -> Option<DriftStatus> {
        let unread = || freezes.then(|| describe(&Drift::not_compared("its root cannot be read")));
        let alarm = self.alarm.clone().or_else(unread);
        alarm.map(|alarm| DriftStatus { freezes, ..alarm })
    }
}

/// What keeps deletion frozen in several clusters together.
pub(super) fn frozen_in_any(clusters: impl Iterator<Item = Vec<DriftRecord>>) -> Option<Frozen> {
    let each: Vec<Frozen> = clusters.filter_map(|records| frozen(&records)).collect();
    let (mut drifted, mut not_compared) = (BTreeSet::new(), BTreeSet::new());
    for frozen in each {
        drifted.extend(frozen.drifted);
        not_compared.extend(frozen.not_compared);
    }
    let frozen = Frozen {
        drifted: drifted.into_iter().collect(),
        not_compared: not_compared.into_iter().collect(),
    };
    (frozen != Frozen::default()).then_some(frozen)
}

fn describe(drift: &Drift) -> DriftStatus {
    DriftStatus {
        summary: drift.to_string(),
        findings: drift.total,
        is_compared: drift.total > 0,
        lines: drift
            .findings
            .iter()
            .take(KEPT_FINDINGS)
            .map(ToString::to_string)
            .collect(),
        freezes: false,
    }
}
