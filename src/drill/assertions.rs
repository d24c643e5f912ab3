//! The user's own read-only queries, answered again by the rebuilt server, in a transaction that cannot write.

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::RowTally;
use crate::postgres::copy::tally_of_query;
use crate::postgres::{self, Error as PostgresError, Session};
use crate::repository::manifest::Database;

/// Every assertion returns what it returned in the backup's snapshot.
pub(super) async fn compare_assertions(session: &Session, database: &Database) -> Result<Vec<Check>> {
    let assertions = &database.head.assertions;
    if assertions.is_empty() {
        return Ok(vec![Check::skipped(CheckName::Assertions, "the backup holds none")]);
    }
    let mut findings = Findings::new(CheckName::Assertions);
    for assertion in assertions {
        let object = format!("assertion {}", assertion.name);
        let expected = words(assertion.result);
        match answer(session, &assertion.query).await {
            Ok(found) => findings.expect(&object, &expected, &words(found), ""),
            Err(error) => match error.server_message() {
                Some(message) => findings.differs(object, expected, "an error", message),
                None => return Err(error.into()),
            },
        }
    }
    Ok(findings.finish(format!("{} assertions with equal answers", assertions.len())))
}

async fn answer(session: &Session, query: &str) -> postgres::Result<RowTally> {
    let doing = "answer an assertion";
    let frame = async |statement| {
        session
            .client
            .batch_execute(statement)
            .await
            .map_err(PostgresError::query(doing))
    };
    frame("BEGIN READ ONLY").await?;
    let answer = tally_of_query(session, query, doing).await;
    if answer.is_ok() || answer.as_ref().is_err_and(|error| error.server_message().is_some()) {
        frame("ROLLBACK").await?;
    }
    answer
}

fn words(tally: RowTally) -> String {
    format!("{} rows, {}", tally.rows, tally.fingerprint)
}
