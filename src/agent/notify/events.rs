//! What is told after a drill. Pure, and from the bucket's records alone, so that an agent that was restarted neither
//! repeats nor forgets; `docs/notifications.md` says it in the reader's words.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::NotifySuccess;
use crate::http::status::{BackupStatus, DrillState, DrillStatus, RepositoryStatus};

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Event {
    /// A drill found the backup or its restoration wrong.
    Failed,
    /// No drill could judge the backup for too long.
    Unverified,
    /// A backup lacks what an earlier one held, or could not be compared.
    Drifted,
    /// Certified, after somebody was told of one of the above.
    Recovered,
    Certified,
    /// So many drills certified since the last digest, and when that was.
    Digest {
        drills: usize,
        since: Timestamp,
    },
}

/// The drill that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Drilled<'a> {
    pub(in crate::agent) backup_id: &'a str,
    pub(in crate::agent) drill_id: &'a str,
    pub(in crate::agent) started: Timestamp,
    pub(in crate::agent) state: DrillState,
}

/// When who is told.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Wanted {
    pub(in crate::agent) unverified_after: Duration,
    pub(in crate::agent) success: NotifySuccess,
}

impl Event {
    /// The word in a message.
    pub(in crate::agent) const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unverified => "unverified",
            Self::Drifted => "drifted",
            Self::Recovered => "recovered",
            Self::Certified => "certified",
            Self::Digest { .. } => "digest",
        }
    }
}

/// What is to be told of `this` drill; `repository` as it was before, with or without the drill's own records.
pub(in crate::agent) fn events(repository: &RepositoryStatus, this: Drilled<'_>, wanted: Wanted) -> Vec<Event> {
    let mut before: Vec<&DrillStatus> = repository
        .backups
        .iter()
        .flat_map(|backup| &backup.drills)
        .filter(|drill| drill.drill_id != this.drill_id)
        .collect();
    before.sort_by(|one, other| one.drill_id.cmp(&other.drill_id));
    match this.state {
        DrillState::Started => Vec::new(),
        DrillState::Failed => vec![Event::Failed],
        DrillState::Unverified => {
            let told = time_to_tell(&before, Some(this.started), wanted.unverified_after);
            let is_due = told.is_some_and(|time| this.started >= time) && !was_told(&before, wanted.unverified_after);
            let is_open = verdict_without(repository, this).is_none();
            if is_due && is_open {
                vec![Event::Unverified]
            } else {
                Vec::new()
            }
        }
        DrillState::Certified => {
            let recovered = has_failed(repository, this) || was_told(&before, wanted.unverified_after);
            let success = match wanted.success {
                NotifySuccess::Never => None,
                NotifySuccess::Each => (!recovered).then_some(Event::Certified),
                NotifySuccess::Daily => digest(&before, this.started),
            };
            let recovered = recovered.then_some(Event::Recovered);
            recovered.into_iter().chain(success).collect()
        }
    }
}

/// The drills at the end of which none judged.
fn in_vain<'a, 'b>(drills: &'a [&'b DrillStatus]) -> &'a [&'b DrillStatus] {
    let judged = |drill: &&DrillStatus| matches!(drill.state, DrillState::Certified | DrillState::Failed);
    let begin = drills.iter().rposition(judged).map_or(0, |last| last + 1);
    &drills[begin..]
}

/// From when on a drill that cannot judge is told: `after` the first one in a row that could not.
fn time_to_tell(before: &[&DrillStatus], this: Option<Timestamp>, after: Duration) -> Option<Timestamp> {
    let first = in_vain(before).first().map(|drill| drill.started).or(this)?;
    first.checked_add(after).ok()
}

/// The first drill after that time told it.
fn was_told(before: &[&DrillStatus], after: Duration) -> bool {
    let time = time_to_tell(before, None, after);
    let told =
        |drill: &&DrillStatus| drill.state == DrillState::Unverified && time.is_some_and(|time| drill.started >= time);
    in_vain(before).iter().any(told)
}

/// What the drills before this one said of its backup.
fn verdict_without(repository: &RepositoryStatus, this: Drilled<'_>) -> Option<DrillState> {
    let backup = repository
        .backups
        .iter()
        .find(|backup| backup.backup_id == this.backup_id)?;
    verdict_before(backup, this)
}

fn verdict_before(backup: &BackupStatus, this: Drilled<'_>) -> Option<DrillState> {
    let judged = |drill: &&DrillStatus| {
        drill.drill_id != this.drill_id && matches!(drill.state, DrillState::Certified | DrillState::Failed)
    };
    backup.drills.iter().rfind(judged).map(|drill| drill.state)
}

/// Whether the newest verdict up to this backup was that it failed. An older backup that is certified makes up for none
/// that failed after it.
fn has_failed(repository: &RepositoryStatus, this: Drilled<'_>) -> bool {
    let backups = &repository.backups;
    let place = backups.iter().position(|backup| backup.backup_id == this.backup_id);
    // One that came after the repository was looked at is newer than all.
    let up_to = place.map_or(backups.as_slice(), |place| &backups[..=place]);
    let newest = up_to.iter().rev().find_map(|backup| verdict_before(backup, this));
    newest == Some(DrillState::Failed)
}

/// With the first certified drill of a day (UTC): it counts those since the first of the day before that had one.
fn digest(before: &[&DrillStatus], now: Timestamp) -> Option<Event> {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    let certified: Vec<&&DrillStatus> = before
        .iter()
        .filter(|drill| drill.state == DrillState::Certified)
        .collect();
    let Some(last) = certified.last() else {
        return Some(Event::Digest { drills: 1, since: now });
    };
    if day(last.started) == day(now) {
        return None;
    }
    let last_day = certified
        .iter()
        .position(|drill| day(drill.started) == day(last.started))?;
    Some(Event::Digest {
        drills: certified.len() - last_day,
        since: certified[last_day].started,
    })
}

#[cfg(test)]
mod tests;
