//! The user's own read-only queries, answered again by the rebuilt server.

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::RowTally;
use crate::postgres::copy::{copy_query_statement, tally_of};
use crate::repository::manifest::Database;

/// Every assertion returns what it returned in the backup's snapshot.
pub(super) async fn compare_assertions(client: &Client, database: &Database) -> Result<Vec<Check>> {
    let assertions = &database.head.assertions;
    if assertions.is_empty() {
        return Ok(vec![Check::skipped(CheckName::Assertions, "the backup holds none")]);
    }
    let mut findings = Findings::new(CheckName::Assertions);
    for assertion in assertions {
        let statement = copy_query_statement(&assertion.query);
        let object = format!("assertion {}", assertion.name);
        let expected = words(assertion.result);
        match tally_of(client, &statement, "answer an assertion").await {
            Ok(found) => findings.expect(&object, &expected, &words(found), ""),
            Err(error) => match error.server_message() {
                Some(message) => findings.differs(object, expected, "an error", message),
                None => return Err(error.into()),
            },
        }
    }
    Ok(findings.finish(format!("{} assertions with equal answers", assertions.len())))
}

fn words(tally: RowTally) -> String {
    format!("{} rows, {}", tally.rows, tally.fingerprint)
}
