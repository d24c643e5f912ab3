//! What is neither a row nor a definition: sequences' values, whether materialized views are filled, what works.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::{MaterializedView, QualifiedName, Sequence};
use crate::postgres::materialized_view::read_materialized_views;
use crate::postgres::sequence::read_sequences;
use crate::postgres::validity::{count_valid_objects, read_invalid_objects};

/// Each sequence stands exactly where the backup says.
pub(super) async fn compare_sequences(client: &Client, expected: &[Sequence]) -> Result<Vec<Check>> {
    let mut findings = Findings::new(CheckName::Sequences);
    let names: Vec<QualifiedName> = expected.iter().map(|sequence| sequence.name.clone()).collect();
    match read_sequences(client, &names).await {
        Ok(found) => {
            for (expected, found) in expected.iter().zip(&found) {
                findings.expect(&object(expected), &value(expected), &value(found), "");
            }
        }
        // One that is missing fails the whole statement: then one by one, to name it.
        Err(error) if error.server_message().is_some() => {
            for sequence in expected {
                match read_sequences(client, std::slice::from_ref(&sequence.name)).await {
                    Ok(found) => {
                        let found = found.first().map_or_else(|| "missing".to_owned(), value);
                        findings.expect(&object(sequence), &value(sequence), &found, "");
                    }
                    Err(error) => match error.server_message() {
                        Some(message) => findings.differs(object(sequence), value(sequence), "unreadable", message),
                        None => return Err(error.into()),
                    },
                }
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(findings.finish(format!("{} sequences", expected.len())))
}

fn object(sequence: &Sequence) -> String {
    format!("sequence {}", sequence.name)
}

fn value(sequence: &Sequence) -> String {
    let called = if sequence.is_called { "" } else { ", not yet called" };
    format!("{}{called}", sequence.last_value)
}

/// Materialized views are recomputed by a restore, so their contents prove nothing; whether they are filled does.
pub(super) async fn compare_materialized_views(client: &Client, expected: &[MaterializedView]) -> Result<Vec<Check>> {
    let mut findings = Findings::new(CheckName::MaterializedViews);
    let populated: BTreeMap<QualifiedName, bool> = read_materialized_views(client)
        .await?
        .into_iter()
        .map(|view| (view.name, view.populated))
        .collect();
    let (foreign, own): (Vec<_>, Vec<_>) = expected.iter().partition(|view| view.reads_foreign && view.populated);
    let words = |populated: bool| if populated { "populated" } else { "not populated" };
    for view in &own {
        let found = populated
            .get(&view.name)
            .map_or("missing", |populated| words(*populated));
        let object = format!("materialized view {}", view.name);
        findings.expect(&object, words(view.populated), found, "");
    }
    let mut checks = findings.finish(format!("{} materialized views, recomputed and not compared", own.len()));
    checks.extend(foreign.iter().map(|view| Check {
        object: Some(format!("materialized view {}", view.name)),
        ..Check::skipped(
            CheckName::MaterializedViews,
            "reads a foreign table, so it is not refreshed",
        )
    }));
    Ok(checks)
}

/// Whatever is invalid, not validated or switched off in the target and not so in a faithful restore.
pub(super) async fn compare_validity(client: &Client, expected: &BTreeSet<String>) -> Result<Vec<Check>> {
    let mut findings = Findings::new(CheckName::Validity);
    for object in read_invalid_objects(client).await?.difference(expected) {
        findings.differs(object, "", "", "a faithful restore does not show this");
    }
    let (indexes, constraints) = count_valid_objects(client).await?;
    Ok(findings.finish(format!(
        "{indexes} valid indexes, {constraints} validated constraints; as invalid as at the source: {}",
        expected.len()
    )))
}
