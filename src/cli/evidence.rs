//! Checks and table comparisons as a person reads them: what differs first in words, then every table with its figures.

use super::table::Table;
use crate::drill::{Check, Outcome, TableComparison};
use crate::telemetry::figures;

/// Equal tables that are listed one by one; more are only counted.
const LISTED_TABLES: usize = 100;

/// One line a check: outcome, name, object, what was found.
pub(super) fn checks(checks: &[Check]) -> String {
    let mut table = Table::new(&["", "check", "finding"]);
    for check in checks {
        let outcome = match check.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun if check.required => "NOT RUN",
            Outcome::NotRun => "not run",
        };
        table.row([outcome.to_owned(), check.name.as_str().to_owned(), finding(check)]);
    }
    table.render()
}

fn finding(check: &Check) -> String {
    let mut text = check.object.clone().unwrap_or_default();
    let mut add = |part: String| {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    };
    if !check.detail.is_empty() {
        add(check.detail.clone());
    }
    if !check.expected.is_empty() || !check.found.is_empty() {
        add(format!(
            "expected {}, found {}",
            one_line(&check.expected),
            one_line(&check.found)
        ));
    }
    text
}

/// Definitions may run over many lines and pages; the JSON has them whole.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 160;
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &joined[..end]),
        None if joined.is_empty() => "nothing".to_owned(),
        None => joined,
    }
}

/// Every table that differs, then the others.
pub(super) fn tables(compared: &[TableComparison]) -> String {
    let mut table = Table::new(&["", "table", ">rows", ">bytes", "fingerprint"]);
    let (equal, different): (Vec<_>, Vec<_>) = compared.iter().partition(|comparison| comparison.equal);
    for comparison in different {
        let fingerprint = match &comparison.found {
            Some(found) if found.rows == comparison.expected.rows => format!("{} DIFFERS", found.fingerprint),
            Some(found) => format!("{} rows FOUND", figures::count(found.rows)),
            None => "COULD NOT BE READ".to_owned(),
        };
        table.row(cells("DIFFERS", comparison, fingerprint));
    }
    for comparison in equal.iter().take(LISTED_TABLES) {
        table.row(cells("equal", comparison, comparison.expected.fingerprint.to_string()));
    }
    let mut text = table.render();
    if equal.len() > LISTED_TABLES {
        let more = figures::count((equal.len() - LISTED_TABLES) as u64);
        text = format!("{text}and {more} more tables, all equal\n");
    }
    text
}

fn cells(outcome: &str, comparison: &TableComparison, fingerprint: String) -> [String; 5] {
    [
        outcome.to_owned(),
        format!("{}.{}", comparison.name.schema, comparison.name.name),
        figures::count(comparison.expected.rows),
        figures::bytes(comparison.expected.raw_bytes),
        fingerprint,
    ]
}
