//! What the drills of the bucket say about what is still to be done. Pure: records in, answers out.

use std::time::Duration;

use jiff::Timestamp;

use crate::agent::backoff::backoff;
use crate::http::status::{BackupStatus, DrillState, DrillStatus, RepositoryStatus};

/// How long to wait after drills that could not judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// The pause after so many in a row; none after none.
    fn after(self, attempts: u32) -> Duration {
        let before = attempts.checked_sub(1);
        before.map_or(Duration::ZERO, |before| backoff(self.first, self.max, before))
    }
}

/// Whether a drill came to a verdict about the backup.
pub(super) fn judges(drill: &DrillStatus) -> bool {
    matches!(drill.state, DrillState::Certified | DrillState::Failed)
}

/// Nothing more is to be found out about a backup that is certified, or that failed twice in a row. One failure may be
/// a flake.
pub(super) fn is_settled(backup: &BackupStatus) -> bool {
    let mut judged = backup.drills.iter().rev().filter(|drill| judges(drill));
    match judged.next().map(|drill| drill.state) {
        Some(DrillState::Certified) => true,
        Some(_) => judged.next().is_some_and(|drill| drill.state == DrillState::Failed),
        None => false,
    }
}

/// When the drill after these, in order of time, may begin: none, at any time, unless the last of them could not judge.
///
/// A drill that was interrupted once is repeated at once. The pause counts from `ended`, when this process saw the last
/// of them end; of others only the beginning is known.
pub(super) fn pause_end(
    drills: &[&DrillStatus],
    ended: Option<Timestamp>,
    backoff: Backoff,
    now: Timestamp,
) -> Option<Timestamp> {
    let in_vain = drills.iter().rev().take_while(|drill| !judges(drill)).count();
    let in_vain = u32::try_from(in_vain).unwrap_or(u32::MAX);
    let last = drills.last().filter(|_| in_vain > 0)?;
    let attempts = match last.state {
        DrillState::Started => in_vain - 1,
        _ => in_vain,
    };
    // After a clock was set back, records lie in the future: they tell nothing of how long ago anything was.
    let past = ended.into_iter().chain([last.started]).filter(|time| *time <= now);
    past.max().map(|since| later(since, attempts, backoff))
}

/// The end of the pause that began at `since`.
pub(super) fn later(since: Timestamp, attempts: u32, backoff: Backoff) -> Timestamp {
    since.checked_add(backoff.after(attempts)).unwrap_or(Timestamp::MAX)
}

/// All drills of all backups, in order of time.
pub(super) fn drills_in_order(repository: &RepositoryStatus) -> Vec<&DrillStatus> {
    let mut drills: Vec<&DrillStatus> = repository.backups.iter().flat_map(|backup| &backup.drills).collect();
    drills.sort_by(|one, other| one.drill_id.cmp(&other.drill_id));
    drills
}

/// Those drills of the backup at `place` that began when a newer one was there.
pub(super) fn drills_as_older(repository: &RepositoryStatus, place: usize) -> Vec<&DrillStatus> {
    let newer = || repository.backups.iter().skip(place + 1);
    let drills = repository.backups[place].drills.iter();
    drills
        .filter(|drill| newer().any(|other| was_there(other, drill.started)))
        .collect()
}

/// Drills that proved an older backup once more, in order of time: when they began, a newer backup was there, and theirs
/// had been certified before.
pub(super) fn reproofs(repository: &RepositoryStatus) -> Vec<&DrillStatus> {
    let mut found = Vec::new();
    for (place, backup) in repository.backups.iter().enumerate() {
        let newer = || repository.backups[place + 1..].iter();
        let certified = backup
            .drills
            .iter()
            .position(|drill| drill.state == DrillState::Certified);
        let again = backup
            .drills
            .iter()
            .skip(certified.map_or(usize::MAX, |first| first + 1));
        found.extend(again.filter(|drill| newer().any(|other| was_there(other, drill.started))));
    }
    found.sort_by(|one, other| one.drill_id.cmp(&other.drill_id));
    found
}

fn was_there(backup: &BackupStatus, time: Timestamp) -> bool {
    let contents = backup.contents.as_ref();
    contents.is_some_and(|contents| contents.usable_since <= time)
}

/// When a backup was certified for the first time, as far back as the bucket tells.
pub(super) fn first_certified(repository: &RepositoryStatus) -> Option<Timestamp> {
    let drills = repository.backups.iter().flat_map(|backup| &backup.drills);
    let certified = drills.filter(|drill| drill.state == DrillState::Certified);
    certified.map(|drill| drill.started).min()
}
