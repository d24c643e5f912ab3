//! Which backups of one cluster stay and which go: a pure function.
//!
//! Proof comes first. What is failed or unproven takes no place from a certified one: each rule counts twice, once all
//! backups and once the certified alone, and keeps both; within a day (or week, ...) the certified one stands for it.
//! While nothing is certified nothing goes, and the newest certified ones stay whatever the rules say. No rule counts from
//! the present. The clocks of the database server, the agent and the store are held against each other: where they
//! contradict, a backup stays and takes no place.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::calendar::Period;
use super::policy::Policy;
use super::reason::Reason;
use crate::repository::id::BackupId;

/// How far two clocks may be apart.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// A run that ended so long after its snapshot, and did not take that long, was not that long: the database server's clock was
/// wrong. A machine that sleeps counts less time than passes.
const LONGEST_RUN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// For how long what was stored long after its run stays whatever the rules say, so that somebody can look at the clocks. No
/// longer: a manifest that was brought from another bucket looks the same.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is known of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    Certified,
    /// No drill has judged it.
    Unproven,
    Failed,
    /// Its manifest cannot be read.
    Unreadable,
}

/// A backup that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub backup_id: BackupId,
    /// As of when all its databases are.
    pub snapshot_time: Timestamp,
    /// When its run began and ended, by the agent's clock.
    pub started: Timestamp,
    pub finished: Timestamp,
    /// How long its run took, by no clock that can be set.
    pub took: SignedDuration,
    /// When its manifest was stored, by the store's clock.
    pub stored: Timestamp,
    pub proof: Proof,
    /// A drill of another place has found it, of the same backup.
    pub is_proof_from_elsewhere: bool,
    /// Why a person wants it kept, if so.
    pub hold: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Keep,
    Drop,
}

/// What becomes of one backup, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanLine {
    pub backup_id: BackupId,
    pub snapshot_time: Timestamp,
    pub proof: Proof,
    /// A drill of another place has found it, of the same backup.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_proof_from_elsewhere: bool,
    pub decision: Decision,
    pub reasons: Vec<Reason>,
}

/// What becomes of every backup of a cluster, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub lines: Vec<PlanLine>,
}

impl fmt::Display for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Certified => "certified",
            Self::Unproven => "unproven",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        })
    }
}

impl Candidate {
    /// Whether the clocks contradict each other: a snapshot is taken during its run, and the manifest is stored after it.
    fn is_misdated(&self) -> bool {
        let longest = LONGEST_RUN.max(self.took.saturating_add(TOLERANCE));
        self.finished.duration_since(self.snapshot_time) > longest
            || self.started.duration_since(self.snapshot_time) > TOLERANCE
            || self.snapshot_time.duration_since(self.finished) > TOLERANCE
            || self.finished.duration_since(self.stored) > TOLERANCE
    }

    /// Whether it is new and says that it is old, as where server and agent are behind together. What was proven elsewhere
    /// was brought by a copy, which comes when it comes.
    fn is_fresh_and_late(&self, now: Timestamp) -> bool {
        !self.is_proof_from_elsewhere
            && self.stored.duration_since(self.finished) > TOLERANCE
            && now.duration_since(self.stored) < WEEK
    }
}

impl PlanLine {
    pub(super) fn is_kept(&self) -> bool {
        self.decision == Decision::Keep
    }
}

impl Plan {
    /// The backups that go, oldest first.
    pub fn drops(&self) -> impl Iterator<Item = &BackupId> {
        let dropped = self.lines.iter().filter(|line| line.decision == Decision::Drop);
        dropped.map(|line| &line.backup_id)
    }
}

/// Decides. `frozen` says why nothing may go at present; `now` is the store's time, which only tells what lies in the
/// future.
#[must_use]
pub fn plan(backups: &[Candidate], policy: &Policy, frozen: Option<&str>, now: Timestamp) -> Plan {
    let mut entries: Vec<Entry<'_>> = backups.iter().map(|backup| Entry::new(backup, now)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.backup.snapshot_time, &entry.backup.backup_id)));
    keep_what_is_special(&mut entries);
    keep_what_is_proof(&mut entries, policy);
    keep_last(&mut entries, policy.keep_last as usize);
    keep_within(&mut entries, policy);
    for (period, number) in policy.periods() {
        keep_periods(&mut entries, period, number, policy);
    }
    for entry in &mut entries {
        if !policy.is_set() {
            entry.keep(Reason::NoPolicy);
        }
        if let Some(why) = frozen {
            entry.keep(Reason::Frozen(why.to_owned()));
        }
    }
    Plan {
        lines: entries.into_iter().rev().map(Entry::into_line).collect(),
    }
}

/// A backup with what speaks for and against it.
struct Entry<'a> {
    backup: &'a Candidate,
    /// Its time and its proof can be relied upon.
    counts: bool,
    keeps: Vec<Reason>,
    drops: Vec<Reason>,
}

impl<'a> Entry<'a> {
    fn new(backup: &'a Candidate, now: Timestamp) -> Self {
        let mut entry = Self {
            backup,
            counts: false,
            keeps: Vec::new(),
            drops: Vec::new(),
        };
        if backup.proof == Proof::Unreadable {
            entry.keep(Reason::Unreadable);
        } else if backup.snapshot_time.duration_since(now) > TOLERANCE {
            entry.keep(Reason::FromTheFuture);
        } else if backup.is_misdated() {
            entry.keep(Reason::Misdated);
        } else if backup.is_fresh_and_late(now) {
            entry.keep(Reason::StoredLate);
        } else {
            entry.counts = true;
        }
        entry
    }

    fn keep(&mut self, reason: Reason) {
        self.keeps.push(reason);
    }

    fn is_certified(&self) -> bool {
        self.counts && self.backup.proof == Proof::Certified
    }

    fn into_line(self) -> PlanLine {
        let decision = if self.keeps.is_empty() {
            Decision::Drop
        } else {
            Decision::Keep
        };
        PlanLine {
            backup_id: self.backup.backup_id.clone(),
            snapshot_time: self.backup.snapshot_time,
            proof: self.backup.proof,
            is_proof_from_elsewhere: self.backup.is_proof_from_elsewhere,
            decision,
            reasons: match decision {
                Decision::Keep => self.keeps,
                Decision::Drop => self.drops,
            },
        }
    }
}

/// What a person holds; the newest, whatever it is; what is newer than all proof and still to be drilled.
fn keep_what_is_special(entries: &mut [Entry<'_>]) {
    for entry in entries.iter_mut() {
        if let Some(why) = &entry.backup.hold {
            entry.keep(Reason::Held(why.clone()));
        }
    }
    if let Some(newest) = entries.iter_mut().find(|entry| entry.counts) {
        newest.keep(Reason::Newest);
    }
    for entry in entries.iter_mut().take_while(|entry| !entry.is_certified()) {
        if entry.counts && entry.backup.proof == Proof::Unproven {
            entry.keep(Reason::AwaitsDrill);
        }
    }
}

fn keep_what_is_proof(entries: &mut [Entry<'_>], policy: &Policy) {
    let floor = policy.floor();
    for entry in entries.iter_mut().filter(|entry| entry.is_certified()).take(floor) {
        entry.keep(Reason::AmongNewestCertified(floor));
    }
    if !entries.iter().any(Entry::is_certified) {
        for entry in entries {
            entry.keep(Reason::NothingCertified);
        }
    }
}

fn keep_last(entries: &mut [Entry<'_>], number: usize) {
    if number == 0 {
        return;
    }
    let (mut all, mut certified) = (0, 0);
    for entry in entries.iter_mut().filter(|entry| entry.counts) {
        all += 1;
        certified += usize::from(entry.is_certified());
        if all <= number {
            entry.keep(Reason::AmongLast(number));
        } else if entry.is_certified() && certified <= number {
            entry.keep(Reason::AmongLastCertified(number));
        } else {
            entry.drops.push(Reason::NotAmongLast(number));
        }
    }
}

/// Counted from the newest backup, as restic does, and once more from the newest certified one.
fn keep_within(entries: &mut [Entry<'_>], policy: &Policy) {
    let Some(span) = policy.keep_within else { return };
    let begin = |newest: Option<&Entry<'_>>| {
        let newest = newest.map(|entry| entry.backup.snapshot_time);
        newest.map(|time| time.checked_sub(span).unwrap_or(Timestamp::MIN))
    };
    let of_all = begin(entries.iter().find(|entry| entry.counts));
    let of_certified = begin(entries.iter().find(|entry| entry.is_certified()));
    for entry in entries.iter_mut().filter(|entry| entry.counts) {
        let begin = if entry.is_certified() { of_certified } else { of_all };
        if begin.is_some_and(|begin| entry.backup.snapshot_time >= begin) {
            entry.keep(Reason::Within(span));
        } else {
            entry.drops.push(Reason::NotWithin(span));
        }
    }
}

/// One backup of each of the newest `number` periods that have one, and of each of the newest `number` periods that have
/// a certified one. The best proof stands for a period, and of several the newest.
fn keep_periods(entries: &mut [Entry<'_>], period: Period, number: usize, policy: &Policy) {
    let name = |entry: &Entry<'_>| period.of(entry.backup.snapshot_time, &policy.time_zone);
    let mut counted: Vec<&mut Entry<'_>> = entries.iter_mut().filter(|entry| entry.counts).collect();
    let (mut all, mut certified) = (0, 0);
    for group in counted.chunk_by_mut(|one, other| name(one) == name(other)) {
        let Some(best) = group.iter().map(|entry| entry.backup.proof).min() else {
            continue;
        };
        let name = name(group[0]);
        all += 1;
        certified += usize::from(best == Proof::Certified);
        let is_kept = all <= number || (best == Proof::Certified && certified <= number);
        let stands = group.iter().position(|entry| entry.backup.proof == best).unwrap_or(0);
        let by = group[stands].backup.backup_id.clone();
        for (position, entry) in group.iter_mut().enumerate() {
            let name = name.clone();
            if !is_kept {
                entry.drops.push(Reason::PeriodTooOld { period, name, number });
            } else if position == stands {
                entry.keep(Reason::OfPeriod {
                    period,
                    name,
                    proof: best,
                });
            } else {
                let by = by.clone();
                entry.drops.push(Reason::PeriodKeptBy { period, name, by });
            }
        }
    }
}

#[cfg(test)]
mod tests;
