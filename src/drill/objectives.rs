//! What a recovery from this backup costs, in time and in changes, against what the operator wants to hold. A verdict
//! depends on none of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::repository::Neighbours;
use crate::repository::manifest::Manifest;
use crate::telemetry::figures;

/// What the operator wants to hold; none where nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objectives {
    /// Longest time that a recovery may take.
    pub rto: Option<Duration>,
    /// Longest span of changes that may be lost.
    pub rpo: Option<Duration>,
}

/// Changes that a disaster costs while this backup is the newest one that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// From its oldest snapshot to the moment when the next backup could be used; while there is no next one, to the
    /// beginning of the drill.
    pub seconds: f64,
    /// There is a next one: the figure stays as it is.
    pub is_final: bool,
    /// From the oldest snapshot of the backup before to the moment when this one could be used: the most that could be
    /// lost while it was being waited for. None for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_before_seconds: Option<f64>,
}

/// The objectives, and whether they were exceeded. What was not measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveFacts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_exceeded: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_exceeded: Option<bool>,
}

impl RecoveryPoint {
    pub(super) fn of(manifest: &Manifest, neighbours: &Neighbours, drill_started: Timestamp) -> Self {
        let next = neighbours.after.as_ref().map(|after| after.finished);
        let until = next.unwrap_or(drill_started);
        Self {
            seconds: seconds(oldest_snapshot(manifest), until),
            is_final: next.is_some(),
            gap_before_seconds: neighbours
                .before
                .as_ref()
                .map(|before| seconds(oldest_snapshot(before), manifest.finished)),
        }
    }

    /// The larger of the two spans.
    fn worst(self) -> f64 {
        self.seconds.max(self.gap_before_seconds.unwrap_or_default())
    }
}

impl Objectives {
    /// None when there are no objectives.
    pub(super) fn facts(self, recovery: Option<f64>, point: Option<RecoveryPoint>) -> Option<ObjectiveFacts> {
        let exceeded = |objective: Option<Duration>, found: Option<f64>| Some(found? > objective?.as_secs_f64());
        let facts = ObjectiveFacts {
            rto_seconds: self.rto.map(|rto| rto.as_secs_f64()),
            rto_exceeded: exceeded(self.rto, recovery),
            rpo_seconds: self.rpo.map(|rpo| rpo.as_secs_f64()),
            rpo_exceeded: exceeded(self.rpo, point.map(RecoveryPoint::worst)),
        };
        (facts != ObjectiveFacts::default()).then_some(facts)
    }
}

/// What was exceeded, in words for the verdict's first line.
pub(super) fn exceeded(
    facts: Option<ObjectiveFacts>,
    recovery: Option<f64>,
    point: Option<RecoveryPoint>,
) -> Vec<String> {
    let facts = facts.unwrap_or_default();
    let sentence = |what: &str, found: Option<f64>, objective: Option<f64>| {
        Some(format!(
            "{what} {}, more than the objective of {}",
            figures::seconds(found?),
            figures::seconds(objective?)
        ))
    };
    let mut sentences = Vec::new();
    if facts.rto_exceeded == Some(true) {
        sentences.extend(sentence("recovery took", recovery, facts.rto_seconds));
    }
    if facts.rpo_exceeded == Some(true) {
        let worst = point.map(RecoveryPoint::worst);
        sentences.extend(sentence("changes could be lost of", worst, facts.rpo_seconds));
    }
    sentences
}

fn oldest_snapshot(manifest: &Manifest) -> Timestamp {
    let times = manifest.databases.iter().map(|database| database.snapshot_time);
    times.min().unwrap_or(manifest.started)
}

/// Clocks of different machines may disagree: never less than nothing.
fn seconds(from: Timestamp, until: Timestamp) -> f64 {
    until.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: RecoveryPoint = RecoveryPoint {
        seconds: 60.0,
        is_final: false,
        gap_before_seconds: Some(7200.0),
    };

    #[test]
    fn what_is_exceeded_is_said_and_what_is_not_known_is_absent() {
        let objectives = Objectives {
            rto: Some(Duration::from_secs(10)),
            rpo: Some(Duration::from_hours(1)),
        };
        let facts = objectives.facts(Some(12.4), Some(POINT));
        assert_eq!(
            exceeded(facts, Some(12.4), Some(POINT)),
            [
                "recovery took 12 s, more than the objective of 10 s",
                "changes could be lost of 2 h 0 min, more than the objective of 1 h 0 min"
            ]
        );
        let unknown = objectives.facts(None, None).unwrap();
        assert_eq!((unknown.rto_exceeded, unknown.rpo_exceeded), (None, None));
        assert!(exceeded(Some(unknown), None, None).is_empty());
        assert_eq!(Objectives::default().facts(Some(1.0), Some(POINT)), None);
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_held() {
        let objectives = Objectives {
            rto: Some(Duration::from_secs(10)),
            rpo: Some(Duration::from_hours(2)),
        };
        let facts = objectives.facts(Some(10.0), Some(POINT)).unwrap();
        assert_eq!((facts.rto_exceeded, facts.rpo_exceeded), (Some(false), Some(false)));
    }
}
