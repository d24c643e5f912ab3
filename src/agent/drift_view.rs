//! Drift as an agent shows it: what the roots in view say of it, and what keeps deletion frozen.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::http::status::{BackupStatus, DriftStatus, KEPT_FINDINGS};
use crate::repository::drift::{Drift, DriftRecord, DriftState, Frozen, frozen};
use crate::repository::id::BackupId;
use crate::repository::manifest::Manifest;

/// What has been read so far; of a backup that lacks nothing, no more than that.
#[derive(Debug, Default)]
pub(super) struct DriftView {
    known: HashMap<BackupId, Known>,
}

#[derive(Debug)]
struct Known {
    finished: jiff::Timestamp,
    state: DriftState,
    alarm: Option<DriftStatus>,
}

impl DriftView {
    /// Forgets what is not there any more.
    pub(super) fn retain(&mut self, listed: &HashSet<&BackupId>) {
        self.known.retain(|backup_id, _| listed.contains(backup_id));
    }

    pub(super) fn insert(&mut self, manifest: &Manifest) {
        let drift = manifest.drift.as_ref();
        let known = Known {
            finished: manifest.finished,
            state: DriftState::of(drift),
            alarm: drift.filter(|drift| drift.is_alarm()).map(describe),
        };
        self.known.insert(manifest.backup_id.clone(), known);
    }

    /// Fills in what each backup in view lacks, and says why nothing may be deleted.
    pub(super) fn judge(&self, backups: &mut [BackupStatus], accepted: &BTreeSet<BackupId>) -> Option<String> {
        let ids: Vec<Option<BackupId>> = backups.iter().map(|backup| backup.backup_id.parse().ok()).collect();
        let records: Vec<DriftRecord> = ids.iter().flatten().map(|id| self.record(id, accepted)).collect();
        let frozen = frozen(&records);
        let freezing: HashSet<&BackupId> = frozen.iter().flat_map(Frozen::backups).collect();
        for (backup, id) in backups.iter_mut().zip(&ids) {
            let Some(id) = id else { continue };
            let freezes = freezing.contains(id);
            let alarm = match self.known.get(id) {
                Some(known) => known.alarm.clone(),
                None => freezes.then(|| describe(&Drift::not_compared("its root cannot be read"))),
            };
            backup.drift = alarm.map(|alarm| DriftStatus { freezes, ..alarm });
        }
        frozen.as_ref().map(ToString::to_string)
    }

    fn record(&self, backup_id: &BackupId, accepted: &BTreeSet<BackupId>) -> DriftRecord {
        let known = self.known.get(backup_id);
        DriftRecord {
            backup_id: backup_id.clone(),
            finished: known.map_or_else(|| backup_id.time(), |known| known.finished),
            state: known.map_or(DriftState::NotCompared, |known| known.state),
            is_accepted: accepted.contains(backup_id),
        }
    }
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
