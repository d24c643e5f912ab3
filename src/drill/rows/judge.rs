//! What was found, beside what the backup says.

use std::collections::BTreeMap;

use super::TableComparison;
use super::plan::Unit;
use super::read::Answers;
use crate::content::RowTally;
use crate::drill::check::{Check, CheckName, Findings};

/// Checks, and a line for each unit, by name. `found` has the answers by number of the unit.
pub(super) fn judge(units: &[Unit], found: &BTreeMap<usize, Answers>) -> (Vec<Check>, Vec<TableComparison>) {
    let mut row_findings = Findings::new(CheckName::Rows);
    let mut generated_findings = Findings::new(CheckName::GeneratedColumns);
    let mut tables = Vec::with_capacity(units.len());
    let (mut total, mut with_generated, mut not_compared) = (RowTally::default(), 0, 0);
    for (position, unit) in units.iter().enumerate() {
        let name = format!("table {}", unit.name);
        let answer = found.get(&position);
        let rows = answer.map_or(Err("not read"), |answer| answer.rows.as_ref().map_err(String::as_str));
        match rows {
            Ok(rows) => row_findings.expect(&name, &figures(unit.expected), &figures(*rows), ""),
            Err(message) => row_findings.differs(&name, figures(unit.expected), "unreadable", message),
        }
        match (&unit.generated, answer.and_then(|answer| answer.generated.as_ref())) {
            (None, _) => {}
            (Some((_, None)), _) => not_compared += 1,
            (Some((_, Some(expected))), Some(Ok(tally))) => {
                with_generated += 1;
                generated_findings.expect(&name, &expected.to_string(), &tally.fingerprint.to_string(), "");
            }
            (Some((_, Some(expected))), Some(Err(message))) => {
                generated_findings.differs(&name, expected.to_string(), "unreadable", message);
            }
            (Some((_, Some(expected))), None) => {
                generated_findings.differs(&name, expected.to_string(), "unreadable", "not read");
            }
        }
        let found = rows.ok().copied();
        total = total.union(found.unwrap_or_default());
        tables.push(TableComparison {
            name: unit.name.clone(),
            leaves: unit.leaves,
            expected: unit.expected,
            found,
            equal: found == Some(unit.expected),
        });
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let figures = format!(
        "{} tables, {} rows, {} bytes of COPY text",
        units.len(),
        total.rows,
        total.raw_bytes
    );
    let mut checks = row_findings.finish(figures);
    checks.extend(generated_findings.finish(format!("generated columns of {with_generated} tables")));
    if not_compared > 0 {
        let detail = format!("generated columns of {not_compared} tables: the source took no aggregate");
        checks.push(Check::skipped(CheckName::GeneratedColumns, detail));
    }
    (checks, tables)
}

fn figures(tally: RowTally) -> String {
    format!("{} rows, {} bytes, {}", tally.rows, tally.raw_bytes, tally.fingerprint)
}
