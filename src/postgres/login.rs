//! A role that may log in for a moment: what a drill needs to show that an application could.
//!
//! Only roles that carry the drill's own comment are ever touched; a role that was there before keeps all it has.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::circumstance::Circumstance;
use super::connect::{ConnectOptions, connect};
use super::error::{Error, Result};
use super::row::column;
use crate::content::{quote_identifier, quote_literal};

/// What an attempt to log in showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Logged in.
    LoggedIn {
        /// Of the user's tables those that the role can read something of, as `pg_identify_object` names them.
        readable: BTreeSet<String>,
        /// How many there are.
        tables: i64,
    },
    /// The server said no, in its own words.
    Refused(String),
    /// The role is not one that was created with `comment`, so it was not touched.
    NotOurs,
    /// There is no such role.
    Absent,
}

/// Lets `role` log in with a random password that only this call knows, does so, and takes both away again.
///
/// # Errors
/// `Error::Query` when the role cannot be changed; a refused login is an outcome.
pub async fn try_login(client: &Client, target: &ConnectOptions, role: &str, comment: &str) -> Result<LoginOutcome> {
    let found = client
        .query_opt(
            "SELECT pg_catalog.shobj_description(oid, 'pg_authid') AS comment FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[&role],
        )
        .await
        .map_err(Error::query("look for the application's role"))?;
    let Some(found) = found else {
        return Ok(LoginOutcome::Absent);
    };
    if column::<Option<&str>>(&found, "comment")? != Some(comment) {
        return Ok(LoginOutcome::NotOurs);
    }
    let password = format!("{:032x}", rand::random::<u128>());
    // The server gets the verifier alone: statements may be logged.
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let quoted = quote_identifier(role);
    let open = format!("ALTER ROLE {quoted} LOGIN PASSWORD {}", quote_literal(&verifier));
    client
        .batch_execute(&open)
        .await
        .map_err(Error::query("let the application's role log in"))?;
    let outcome = log_in(target, role, password).await;
    client
        .batch_execute(&format!("ALTER ROLE {quoted} NOLOGIN PASSWORD NULL"))
        .await
        .map_err(Error::query("take the application's login away again"))?;
    outcome
}

async fn log_in(target: &ConnectOptions, role: &str, password: String) -> Result<LoginOutcome> {
    let options = ConnectOptions {
        user: role.to_owned(),
        password: password.into(),
        ..target.clone()
    };
    let session = match connect(&options, "login check").await {
        Ok(session) => session,
        Err(ref error @ Error::Connect { ref source, .. })
            if source.message().is_some() && Circumstance::of(error).is_none() =>
        {
            let message = source.message().unwrap_or_default();
            return Ok(LoginOutcome::Refused(message));
        }
        Err(error) => return Err(error),
    };
    let row = session
        .client
        .query_one(
            "SELECT count(*) AS tables,
                    coalesce(array_agg((pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, c.oid, 0)).identity)
                        FILTER (WHERE pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
                                  AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')), '{}') AS readable
             FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p')",
            &[],
        )
        .await
        .map_err(Error::query("look what the application may read"))?;
    let readable: Vec<String> = column(&row, "readable")?;
    Ok(LoginOutcome::LoggedIn {
        readable: readable.into_iter().collect(),
        tables: column(&row, "tables")?,
    })
}
