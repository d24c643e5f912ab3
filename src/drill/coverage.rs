//! What the backup covers of the database, and what it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, CheckName, Findings};
use crate::content::LedgerState;
use crate::repository::manifest::{Database, Table};

/// The ledger without holes: every relation that should have rows here has them, nothing was denied.
pub(super) fn check_coverage(database: &Database) -> Vec<Check> {
    let mut findings = Findings::new(CheckName::Coverage);
    let stored: BTreeSet<_> = database.tables.iter().map(Table::name).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &database.ledger {
        let object = format!("{} {}", entry.kind, entry.name);
        let words = match entry.state {
            LedgerState::Dumped => "with rows",
            LedgerState::Structure => "without rows of their own",
            LedgerState::Excluded => "excluded",
            LedgerState::Unlogged => "unlogged",
            LedgerState::Foreign => "foreign",
            LedgerState::Temporary => "temporary",
            LedgerState::Extension => "of extensions",
            LedgerState::Denied => "denied",
        };
        *counts.entry(words).or_default() += 1;
        match entry.state {
            LedgerState::Denied => findings.differs(object, "readable", "denied", &entry.reason),
            LedgerState::Dumped if !stored.contains(&entry.name) => {
                findings.differs(object, "stored", "no rows in the backup", "");
            }
            _ => {}
        }
    }
    let accounted: BTreeSet<_> = database.ledger.iter().map(|entry| &entry.name).collect();
    for name in stored.difference(&accounted) {
        findings.differs(format!("table {name}"), "in the ledger", "missing", "");
    }
    let figures: Vec<String> = counts.iter().map(|(words, count)| format!("{count} {words}")).collect();
    findings.finish(format!("relations: {}", figures.join(", ")))
}

/// Relations whose rows no drill can prove, as `kind name (why)`: they stand in the verdict's first line.
#[must_use]
pub fn not_covered(database: &Database) -> Vec<String> {
    database
        .ledger
        .iter()
        .filter_map(|entry| {
            let why = match entry.state {
                LedgerState::Excluded => "excluded",
                LedgerState::Unlogged => "unlogged",
                LedgerState::Foreign => "foreign",
                LedgerState::Temporary => "temporary",
                LedgerState::Denied => "denied",
                LedgerState::Extension if entry.kind == "table" => "of an extension, which fills it itself",
                LedgerState::Dumped | LedgerState::Structure | LedgerState::Extension => return None,
            };
            Some(format!("{} {} ({why})", entry.kind, entry.name))
        })
        .collect()
}
