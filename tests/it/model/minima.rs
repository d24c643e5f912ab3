//! What must have happened once a plan's opening is carried out: a run in which nothing struck shows nothing.

use std::collections::BTreeSet;

use super::faults::{LASTING, PASSING};
use super::ground::Ground;
use crate::support::s3_proxy::Fault;

/// How often at least, by what is counted.
const MINIMA: &[(&str, u64)] = &[
    // Every kind of run has met the store's faults, and did what it is for.
    ("backup through Passing faults: 0", 1),
    ("drill through Passing faults: 0", 1),
    ("verify through Passing faults: 0", 1),
    ("restore through Passing faults: 0", 1),
    ("copy through Passing faults: 0", 1),
    ("accept-drift through Passing faults: 0", 1),
    ("expire through Passing faults: 0", 1),
    ("prune through Passing faults: 0", 1),
    ("hold through Passing faults: 0", 1),
    ("unhold through Passing faults: 0", 1),
    ("the agent Backup through Passing faults: Succeeded", 1),
    ("the agent Restore through Passing faults: Certified", 1),
    // Those that last end it.
    ("backup through Lasting faults: 1", 2),
    ("drill through Lasting faults: 4", 1),
    ("backups whose way to the source was cut", 6),
    ("agents whose way to the source was cut", 1),
    ("kills of backup", 1),
    ("kills of drill", 1),
    ("kills of restore", 1),
    ("kills of expire", 1),
    ("kills of prune", 1),
    ("kills of copy", 1),
    ("kills of the agent Backup", 1),
    ("kills of the agent Restore", 1),
    ("blows KillServer", 2),
    ("blows CutSessions", 1),
    ("blows StoreAway", 1),
    ("blows Write", 1),
    ("blows LetGo", 1),
    ("damaged objects: Flip", 1),
    ("damaged objects: Lose", 1),
    ("damaged roots", 1),
    ("backups that healed", 2),
    ("falsified drills", 1),
    ("backups", 12),
    ("expired backups", 1),
    ("copied backups", 2),
    ("restores compared by SQL and pg_dump", 8),
    ("restores from the copy compared", 1),
    ("certificates: certified", 4),
    ("certificates: failed", 2),
];

impl Ground {
    /// Fails unless everything has struck that the opening has in it.
    #[track_caller]
    pub(super) fn assert_the_opening_struck(&self) {
        let count = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        let too_few: Vec<String> = MINIMA
            .iter()
            .filter(|(what, least)| count(what) < *least)
            .map(|(what, least)| format!("{what}: {}, and {least} at least were to be", count(what)))
            .collect();
        assert!(too_few.is_empty(), "{}\nof {:#?}", too_few.join("\n"), self.counts);
        let struck: BTreeSet<String> = self.proxy.struck().iter().map(|one| one.fault.to_string()).collect();
        let passing = PASSING.iter().map(|(fault, _)| fault);
        let kinds = passing.chain(LASTING).chain(&[Fault::CorruptAnswer, Fault::Stale]);
        let missing: Vec<String> = kinds
            .map(ToString::to_string)
            .filter(|kind| !struck.contains(kind))
            .collect();
        assert!(missing.is_empty(), "these faults never struck: {missing:?}");
    }
}
