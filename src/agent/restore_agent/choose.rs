//! Which backup is drilled next, and when. Pure: the bucket's own records decide, so that a restarted agent goes on where
//! the last one stopped; `docs/adr/0010-which-backup-is-drilled-next.md` has the reasons.

use jiff::Timestamp;

use super::records::{Backoff, due, first_certified, is_settled, judges, later, reproofs};
use crate::config::Schedule;
use crate::http::status::{BackupStatus, DrillState, DrillStatus, NextRun, RepositoryStatus, Trigger};

/// What the settings say about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    pub(super) backoff: Backoff,
    pub(super) reprove: Option<&'a Schedule>,
}

/// What this process knows and the bucket does not tell.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// When the process began.
    pub(super) since: Timestamp,
    /// The last drill of this process.
    pub(super) last: Option<LastDrill>,
    /// When this process last proved an older backup once more.
    pub(super) reproved: Option<Timestamp>,
}

/// How the last drill of this process ended.
#[derive(Clone, Debug)]
pub(super) struct LastDrill {
    pub(super) backup_id: String,
    pub(super) ended: Timestamp,
    /// Drills of that backup in a row that could not even leave a certificate.
    pub(super) unrecorded: u32,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    Drill(Choice),
    /// Nothing, until then at the latest; without a time, until something new is in the bucket.
    Wait(Option<NextRun>),
}

/// A backup to be drilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) backup_id: String,
    pub(super) trigger: Trigger,
}

impl Memory {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            last: None,
            reproved: None,
        }
    }

    /// A drill has ended.
    pub(super) fn note(&mut self, choice: &Choice, is_recorded: bool, now: Timestamp) {
        let before = self.last_of(&choice.backup_id).map_or(0, |last| last.unrecorded);
        self.last = Some(LastDrill {
            backup_id: choice.backup_id.clone(),
            ended: now,
            unrecorded: if is_recorded { 0 } else { before.saturating_add(1) },
        });
        if is_recorded && choice.trigger == Trigger::Reprove {
            self.reproved = Some(now);
        }
    }

    fn last_of(&self, backup_id: &str) -> Option<&LastDrill> {
        self.last.as_ref().filter(|last| last.backup_id == backup_id)
    }
}

/// Decides. `pick` says which of so many, numbered from 0, by chance.
pub(super) fn choose(
    repository: &RepositoryStatus,
    policy: Policy<'_>,
    memory: &Memory,
    now: Timestamp,
    pick: impl FnOnce(usize) -> usize,
) -> Decision {
    match repository.backups.iter().rev().find(|backup| !is_settled(backup)) {
        Some(backup) => decide(backup, policy, memory, now),
        None => reprove(repository, policy, memory, now, pick),
    }
}

/// The newest backup, whatever is known about it.
pub(super) fn newest(repository: &RepositoryStatus) -> Option<Choice> {
    repository.backups.last().map(|backup| Choice {
        backup_id: backup.backup_id.clone(),
        trigger: Trigger::Signal,
    })
}

/// The newest that is not settled. While it waits, older ones wait too: what kept it from being judged is mostly the
/// target's, and would keep them as well.
fn decide(backup: &BackupStatus, policy: Policy<'_>, memory: &Memory, now: Timestamp) -> Decision {
    let last = memory.last_of(&backup.backup_id);
    let drills: Vec<&DrillStatus> = backup.drills.iter().collect();
    let recorded = due(&drills, last.map(|last| last.ended), policy.backoff, now);
    let unrecorded = last.map_or(now, |last| later(last.ended, last.unrecorded, policy.backoff));
    let trigger = if backup.drills.is_empty() && last.is_none() {
        Trigger::Poll
    } else {
        Trigger::Retry
    };
    let choice = Choice {
        backup_id: backup.backup_id.clone(),
        trigger,
    };
    drill_at(recorded.max(unrecorded), choice, now)
}

/// One of the older certified backups, when the schedule says so.
fn reprove(
    repository: &RepositoryStatus,
    policy: Policy<'_>,
    memory: &Memory,
    now: Timestamp,
    pick: impl FnOnce(usize) -> usize,
) -> Decision {
    let older = repository.backups.split_last().map_or(&[][..], |(_, older)| older);
    let certified: Vec<&BackupStatus> = older
        .iter()
        .filter(|backup| backup.verdict() == Some(DrillState::Certified))
        .collect();
    let (Some(schedule), false) = (policy.reprove, certified.is_empty()) else {
        return Decision::Wait(None);
    };
    let before = reproofs(repository);
    let judged = before.iter().filter(|drill| judges(drill)).map(|drill| drill.started);
    let begun = first_certified(repository).map_or(memory.since, |first| first.min(memory.since));
    let base = judged.chain(memory.reproved).max().unwrap_or(begun);
    let Some(scheduled) = schedule.next_after(base) else {
        return Decision::Wait(None);
    };
    let ended = memory.last.as_ref().map(|last| last.ended);
    let retried = due(&before, ended, policy.backoff, now);
    // Whichever it was: one drill that could leave no certificate is as bad a sign as another.
    let unrecorded = memory
        .last
        .as_ref()
        .map_or(now, |last| later(last.ended, last.unrecorded, policy.backoff));
    let choice = Choice {
        backup_id: certified[pick(certified.len())].backup_id.clone(),
        trigger: Trigger::Reprove,
    };
    drill_at(scheduled.max(retried).max(unrecorded), choice, now)
}

fn drill_at(at: Timestamp, choice: Choice, now: Timestamp) -> Decision {
    if at <= now {
        return Decision::Drill(choice);
    }
    Decision::Wait(Some(NextRun {
        at,
        trigger: choice.trigger,
    }))
}

#[cfg(test)]
mod tests;
