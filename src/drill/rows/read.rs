//! What one session reads: a whole table, or some blocks of one.

use super::plan::Unit;
use crate::content::{QualifiedName, RowTally};
use crate::drill::error::{Error, Result};
use crate::postgres::Session;
use crate::postgres::copy::{CopyRange, copy_generated_statement, copy_out_statement, tally_of};

/// A tally, or the server's refusal.
pub(super) type Answer = std::result::Result<RowTally, String>;

/// Of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) rows: Answer,
    /// None where there is nothing to compare it with.
    pub(super) generated: Option<Answer>,
}

/// Of some blocks of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartTally {
    pub(super) rows: RowTally,
    pub(super) generated: RowTally,
}

/// Reads all of the unit.
pub(super) async fn read_whole(session: &Session, unit: &Unit) -> Result<Answers> {
    let rows = match &unit.refusal {
        Some(refusal) => Err(refusal.clone()),
        None => tally(session, &unit.statement, &unit.name).await?,
    };
    let generated = match &unit.generated {
        Some((statement, Some(_))) => Some(tally(session, statement, &unit.name).await?),
        _ => None,
    };
    Ok(Answers { rows, generated })
}

/// Reads the blocks of `range`, and their generated columns where those are compared. None where the server refuses
/// either: what it says is told by who then asks for the whole table.
pub(super) async fn read_part(
    session: &Session,
    unit: &Unit,
    range: CopyRange,
    encoding: &str,
) -> Result<Option<PartTally>> {
    let Some(table) = &unit.in_parts else { return Ok(None) };
    let Ok(rows) = tally(session, &copy_out_statement(table, range, encoding), &table.name).await? else {
        return Ok(None);
    };
    let mut part = PartTally {
        rows,
        ..PartTally::default()
    };
    if let Some(statement) = copy_generated_statement(table, range, encoding).filter(|_| unit.compares_generated()) {
        let Ok(generated) = tally(session, &statement, &table.name).await? else {
            return Ok(None);
        };
        part.generated = generated;
    }
    Ok(Some(part))
}

/// A refusal of the server's (no such table, no such column) is an answer; a lost connection is not.
async fn tally(session: &Session, statement: &str, name: &QualifiedName) -> Result<Answer> {
    match tally_of(session, statement, format!("compare {name}")).await {
        Ok(tally) => Ok(Ok(tally)),
        Err(error) => match error.server_message() {
            Some(message) => Ok(Err(message)),
            None => Err(Error::Postgres(error)),
        },
    }
}
