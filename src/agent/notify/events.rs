//! What is told, and when. Pure, and from the bucket's records: an agent that was restarted knows what may have been told,
//! and tells it again where it matters. `docs/notifications.md` says it in the reader's words.

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
    /// No drill has judged the newest backup for too long.
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
    /// This process has told that nobody could judge, since the last verdict.
    pub(in crate::agent) has_told_unverified: bool,
}

/// A verdict has been waited for, for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Overdue {
    pub(in crate::agent) backup_id: String,
    pub(in crate::agent) since: Timestamp,
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
    match this.state {
        // What does not judge is told when it has lasted too long.
        DrillState::Started | DrillState::Unverified => Vec::new(),
        DrillState::Failed => vec![Event::Failed],
        DrillState::Certified => {
            let before = drills_before(repository, this);
            let recovered = has_failed(repository, this) || may_have_been_told(repository, &before, this, wanted);
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

/// What a process that has just begun tells again, since nobody knows whether it arrived: the last verdict, where it is one to
/// worry about or the end of worries. With the backup and the drill that it is about.
pub(in crate::agent) fn again(repository: &RepositoryStatus, wanted: Wanted) -> Option<(Event, &str, &DrillStatus)> {
    let all = repository.backups.iter().flat_map(|backup| {
        backup
            .drills
            .iter()
            .map(move |drill| (backup.backup_id.as_str(), drill))
    });
    let last = all
        .filter(|(_, drill)| drill.judges())
        .max_by(|(_, one), (_, other)| one.drill_id.cmp(&other.drill_id));
    let (backup_id, drill) = last?;
    let this = Drilled {
        backup_id,
        drill_id: &drill.drill_id,
        started: drill.started,
        state: drill.state,
    };
    let events = events(repository, this, wanted).into_iter();
    let event = events
        .into_iter()
        .find(|event| matches!(event, Event::Failed | Event::Recovered))?;
    Some((event, backup_id, drill))
}

/// Whether the newest backup has been without a verdict, and all drills without one, for `after`.
pub(in crate::agent) fn overdue(repository: &RepositoryStatus, after: Duration, now: Timestamp) -> Option<Overdue> {
    let since = repository.unjudged_since()?;
    let is_due = since.checked_add(after).is_ok_and(|due| due <= now);
    let newest = repository.backups.last().filter(|_| is_due)?;
    Some(Overdue {
        backup_id: newest.backup_id.clone(),
        since,
    })
}

/// In order of time.
fn drills_before<'a>(repository: &'a RepositoryStatus, this: Drilled<'_>) -> Vec<&'a DrillStatus> {
    let drills = repository.backups.iter().flat_map(|backup| &backup.drills);
    let mut before: Vec<&DrillStatus> = drills.filter(|drill| drill.drill_id.as_str() < this.drill_id).collect();
    before.sort_by(|one, other| one.drill_id.cmp(&other.drill_id));
    before
}

/// By this process, or, by what the records say, by one before it.
fn may_have_been_told(
    repository: &RepositoryStatus,
    before: &[&DrillStatus],
    this: Drilled<'_>,
    wanted: Wanted,
) -> bool {
    let in_vain = before.last().is_some_and(|drill| !drill.judges());
    let since = repository.unjudged_since_without(Some(this.drill_id));
    let due = since.and_then(|since| since.checked_add(wanted.unverified_after).ok());
    wanted.has_told_unverified || in_vain && due.is_some_and(|due| due <= this.started)
}

fn verdict_before(backup: &BackupStatus, this: Drilled<'_>) -> Option<DrillState> {
    let judged = |drill: &&DrillStatus| drill.drill_id.as_str() < this.drill_id && drill.judges();
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
