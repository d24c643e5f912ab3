//! Which backup is drilled next, and when. Pure: the bucket's own records decide, so that a restarted agent goes on where
//! the last one stopped; `docs/adr/0010-which-backup-is-drilled-next.md` has the reasons.

use std::time::Duration;

use jiff::Timestamp;

use super::records::{
    Backoff, drills_as_older, drills_in_order, first_certified, is_settled, judges, later, pause_end, reproofs,
};
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
    /// Drills in a row, whichever they were of, that could not even leave a certificate.
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

impl Policy<'_> {
    /// For what is older than the newest: pauses that go on doubling.
    fn endless(self) -> Backoff {
        Backoff {
            max: Duration::MAX,
            ..self.backoff
        }
    }
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
        let before = self.last.as_ref().map_or(0, |last| last.unrecorded);
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

/// Something that may be done, and since when, or from when on.
#[derive(Debug)]
struct Candidate {
    ready: Timestamp,
    choice: Choice,
}

/// Decides. `pick` says which of so many, numbered from 0, by chance.
pub(super) fn choose(
    repository: &RepositoryStatus,
    policy: Policy<'_>,
    memory: &Memory,
    now: Timestamp,
    pick: impl FnOnce(usize) -> usize,
) -> Decision {
    match repository.backups.last() {
        None => Decision::Wait(None),
        Some(newest) if !is_settled(newest) => decide(newest, policy, memory, now),
        Some(_) => decide_older(repository, policy, memory, now, pick),
    }
}

/// The newest backup, whatever is known about it.
pub(super) fn newest(repository: &RepositoryStatus) -> Option<Choice> {
    repository.backups.last().map(|backup| Choice {
        backup_id: backup.backup_id.clone(),
        trigger: Trigger::Signal,
    })
}

/// The newest backup. While it waits, older ones wait too: what kept it from being judged is mostly the target's, and
/// would keep them as well.
fn decide(backup: &BackupStatus, policy: Policy<'_>, memory: &Memory, now: Timestamp) -> Decision {
    let last = memory.last_of(&backup.backup_id);
    let drills: Vec<&DrillStatus> = backup.drills.iter().collect();
    let recorded = pause_end(&drills, last.map(|last| last.ended), policy.backoff, now);
    let unrecorded = last.and_then(|last| unrecorded_pause_end(last, policy, now));
    let ready = recorded.into_iter().chain(unrecorded).max().unwrap_or(now);
    drill_at(ready, choice_of(backup, memory), now)
}

/// The others and proofs of the certified ones, when the newest is settled. None of them takes the others' turn for ever:
/// whichever has been ready for longer comes first, and of unsettled ones the newest.
fn decide_older(
    repository: &RepositoryStatus,
    policy: Policy<'_>,
    memory: &Memory,
    now: Timestamp,
    pick: impl FnOnce(usize) -> usize,
) -> Decision {
    let mut unsettled = unsettled(repository, policy, memory, now);
    let reproof = reprove(repository, policy, memory, now, pick);
    let first = unsettled.iter().position(|candidate| candidate.ready <= now);
    let next = match first {
        Some(first) => Some(unsettled.swap_remove(first)),
        None => unsettled.into_iter().min_by_key(|candidate| candidate.ready),
    };
    let Some(next) = next.into_iter().chain(reproof).min_by_key(|candidate| candidate.ready) else {
        return Decision::Wait(None);
    };
    // One that could not judge is a bad sign for all.
    let last = memory.last.as_ref();
    let ended = last.map(|last| last.ended);
    let recorded = pause_end(&drills_in_order(repository), ended, policy.backoff, now);
    let unrecorded = last.and_then(|last| unrecorded_pause_end(last, policy, now));
    let pauses = recorded.into_iter().chain(unrecorded);
    drill_at(pauses.fold(next.ready, Timestamp::max), next.choice, now)
}

/// Backups beside the newest that are not settled, the newest first. Pauses of each go on doubling: one that can never be
/// judged costs a drill now and then, ever more seldom. Drills of when it was the newest itself are
/// not counted: an outage of the target must not put it off for years.
fn unsettled(repository: &RepositoryStatus, policy: Policy<'_>, memory: &Memory, now: Timestamp) -> Vec<Candidate> {
    let older = repository.backups.split_last().map_or(&[][..], |(_, older)| older);
    let unsettled = older.iter().enumerate().rev().filter(|(_, backup)| !is_settled(backup));
    let candidate = |(place, backup): (usize, &BackupStatus)| {
        let drills = drills_as_older(repository, place);
        let ended = memory.last_of(&backup.backup_id).map(|last| last.ended);
        // After a clock was set back, records lie in the future: such a one waits since now.
        let since = drills.last().map(|drill| drill.started).or(usable_since(backup));
        let since = since.map_or(now, |since| since.min(now));
        let ready = pause_end(&drills, ended, policy.endless(), now).unwrap_or(since);
        Candidate {
            ready,
            choice: choice_of(backup, memory),
        }
    };
    unsettled.map(candidate).collect()
}

/// One of the older certified backups, from when the schedule says so.
fn reprove(
    repository: &RepositoryStatus,
    policy: Policy<'_>,
    memory: &Memory,
    now: Timestamp,
    pick: impl FnOnce(usize) -> usize,
) -> Option<Candidate> {
    let older = repository.backups.split_last().map_or(&[][..], |(_, older)| older);
    let certified: Vec<&BackupStatus> = older
        .iter()
        .filter(|backup| backup.verdict() == Some(DrillState::Certified))
        .collect();
    let schedule = policy.reprove.filter(|_| !certified.is_empty())?;
    let before = reproofs(repository);
    let judged = before.iter().filter(|drill| judges(drill)).map(|drill| drill.started);
    let begun = first_certified(repository).map_or(memory.since, |first| first.min(memory.since));
    let base = judged.chain(memory.reproved).max().unwrap_or(begun);
    let pause = pause_end(&before, None, policy.endless(), now);
    Some(Candidate {
        ready: pause.into_iter().fold(schedule.next_after(base)?, Timestamp::max),
        choice: Choice {
            backup_id: certified[pick(certified.len())].backup_id.clone(),
            trigger: Trigger::Reprove,
        },
    })
}

fn choice_of(backup: &BackupStatus, memory: &Memory) -> Choice {
    let is_first = backup.drills.is_empty() && memory.last_of(&backup.backup_id).is_none();
    Choice {
        backup_id: backup.backup_id.clone(),
        trigger: if is_first { Trigger::Poll } else { Trigger::Retry },
    }
}

fn usable_since(backup: &BackupStatus) -> Option<Timestamp> {
    backup.contents.as_ref().map(|contents| contents.usable_since)
}

/// The pause after drills that could leave no certificate. A clock that was set back since makes none.
fn unrecorded_pause_end(last: &LastDrill, policy: Policy<'_>, now: Timestamp) -> Option<Timestamp> {
    (last.unrecorded > 0 && last.ended <= now).then(|| later(last.ended, last.unrecorded, policy.backoff))
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
