//! The comparison of a rebuilt database with what its backup says.
//!
//! It is given the manifest's data, the schema archive and a connection, and no way to a chunk: what it reads of the
//! rows it reads from the server, in sessions of its own. A check that finds a difference fails and names the object;
//! an error is returned only when there is no answer (a lost connection, a cancellation).

use std::path::PathBuf;
#[cfg(any(test, feature = "demo"))]
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::certificate::Cause;
use super::check::{Check, CheckName, Outcome};
use super::definitions::check_definitions;
use super::error::{Error, Result};
use super::inventory::compare_inventory;
use super::rows::{TableComparison, compare_rows};
use super::verdict::cause_of_postgres;
use super::{assertions, coverage, dependencies, large_objects, on_request, properties, state};
use crate::postgres::definitions::dump_definitions;
use crate::postgres::inventory::read_inventory;
use crate::postgres::privileges::is_known_at;
use crate::postgres::program::ClientPrograms;
use crate::postgres::scratch::read_scratch;
use crate::postgres::server::read_server;
use crate::postgres::{self, ConnectOptions, Session, connect};
use crate::repository::manifest::{Backup, Database};
use crate::telemetry::progress::Progress;

/// How to compare.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Sessions that read tables at the same time.
    pub jobs: usize,
    /// A table that would keep the other sessions waiting is read in parts that are at least this large on the target's disk.
    pub part_bytes: u64,
    /// Directory of `pg_dump` and `pg_restore`, else found by itself.
    pub bin_directory: Option<PathBuf>,
    /// Check B-tree indexes against their tables.
    pub amcheck: bool,
    /// Log in as this role.
    pub login_role: Option<String>,
    /// The comment on roles that the restore created; no other role is ever altered.
    pub role_comment: String,
    /// Where sessions that read one table together meet, each after its first part, for tests of what they do at once.
    #[cfg(any(test, feature = "demo"))]
    #[doc(hidden)]
    pub after_first_part: Option<Arc<tokio::sync::Barrier>>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            jobs: 2,
            part_bytes: 64 * 1024 * 1024,
            bin_directory: None,
            amcheck: false,
            login_role: None,
            role_comment: String::new(),
            #[cfg(any(test, feature = "demo"))]
            after_first_part: None,
        }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub checks: Vec<Check>,
    /// One line for each table or partition tree, by name.
    pub tables: Vec<TableComparison>,
    /// What kept required checks from being made, where that is a known circumstance of the target.
    pub circumstance: Option<Cause>,
}

impl Comparison {
    /// Every required check passed.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        !self.checks.iter().any(Check::blocks)
    }

    /// The circumstance that leaves the answer open: one that kept checks from being made where none found a difference.
    pub(super) fn left_open(&self) -> Option<Error> {
        let cause = self.circumstance?;
        let mut blocking = self.checks.iter().filter(|check| check.blocks());
        let reason = blocking.clone().map(|check| check.detail.clone()).next()?;
        let differs = blocking.any(|check| check.outcome == Outcome::Failed);
        (!differs).then_some(Error::NotCompared { cause, reason })
    }
}

/// Compares the database behind `target` with `database` of `backup`; `schema_archive` holds the backup's definitions.
///
/// # Errors
/// `Error::Interrupted` when cancelled; `Error::Postgres` when a connection or a client program gave no answer.
pub async fn compare_database(
    backup: &Backup,
    database: &Database,
    schema_archive: &Bytes,
    target: &ConnectOptions,
    options: &CompareOptions,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Comparison> {
    let raw_bytes = database.tables.iter().map(|table| table.tally.raw_bytes).sum();
    progress.begin("compare", Some(raw_bytes));
    let comparison = Box::pin(compare(
        backup,
        database,
        schema_archive,
        target,
        options,
        progress,
        cancel,
    ))
    .await;
    progress.end();
    comparison
}

#[allow(clippy::too_many_arguments, reason = "the front door's own, handed on")]
async fn compare(
    backup: &Backup,
    database: &Database,
    schema_archive: &Bytes,
    target: &ConnectOptions,
    options: &CompareOptions,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Comparison> {
    let session = or_interrupted(cancel, Box::pin(async { Ok(connect(target, "compare").await?) })).await?;
    let mut checks = or_interrupted(cancel, compare_catalogue(backup, database, &session)).await?;
    // Not dropped halfway: it drops its scratch database when `cancel` tells it to end.
    let (definitions, circumstance) = compare_definitions(&session, schema_archive, options, cancel).await?;
    checks.extend(definitions);
    let (rows, tables) = or_interrupted(cancel, Box::pin(compare_rows(database, target, options, progress))).await?;
    checks.extend(rows);
    checks.extend(or_interrupted(cancel, Box::pin(compare_rest(database, &session, options))).await?);
    checks.sort_by_key(|check| check.name);
    Ok(Comparison {
        checks,
        tables,
        circumstance,
    })
}

async fn or_interrupted<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel
        .run_until_cancelled(work)
        .await
        .unwrap_or(Err(Error::Interrupted))
}

/// What the catalogue and the manifest alone can say.
async fn compare_catalogue(backup: &Backup, database: &Database, session: &Session) -> Result<Vec<Check>> {
    let client = &session.client;
    let origin = backup.manifest.source.server_version_num / 10_000;
    let same_major = read_server(client).await?.major() == origin;
    let mut inventory = read_inventory(client).await?;
    for object in &mut inventory {
        object.acl.retain(|privilege| is_known_at(origin, privilege));
    }
    let mut checks = properties::compare_properties(client, &database.head.properties).await?;
    checks.extend(dependencies::compare_roles(client, &database.head.referenced_roles).await?);
    checks.extend(dependencies::compare_extensions(client, database, same_major).await?);
    checks.extend(compare_inventory(&database.inventory, &inventory));
    checks.extend(coverage::check_coverage(database));
    Ok(checks)
}

/// Definitions and validity, both against a scratch database. Without one neither is known, perhaps by a circumstance.
async fn compare_definitions(
    session: &Session,
    schema_archive: &Bytes,
    options: &CompareOptions,
    cancel: &CancellationToken,
) -> Result<(Vec<Check>, Option<Cause>)> {
    let target = &session.options;
    let server = read_server(&session.client).await?;
    let programs = ClientPrograms::find(server.major(), options.bin_directory.as_deref()).await?;
    let programs = programs.in_english(server.is_superuser);
    let scratch = match read_scratch(target, &programs, schema_archive, options.jobs, cancel).await {
        Ok(Some(scratch)) => scratch,
        Ok(None) => return Err(Error::Interrupted),
        // Stock tools cannot restore the archive here, or there is no right to create a database: no answer, not equality.
        Err(error) if is_answer(&error) => {
            let message = error.server_message().unwrap_or_else(|| error.to_string());
            let reason = format!("no scratch database to compare with: {message}");
            let checks = [CheckName::Definitions, CheckName::Validity].map(|name| Check::not_run(name, reason.clone()));
            return Ok((checks.into(), cause_of_postgres(&error)));
        }
        Err(error) => return Err(error.into()),
    };
    let mut checks = match dump_definitions(target, &programs).await {
        Ok(found) => check_definitions(&found, &scratch.definitions),
        Err(error @ postgres::Error::Program { .. }) if is_answer(&error) => {
            vec![Check::not_run(CheckName::Definitions, error.to_string())]
        }
        Err(error) => return Err(error.into()),
    };
    checks.extend(state::compare_validity(&session.client, &scratch.invalid_objects).await?);
    Ok((checks, None))
}

/// The server, or a program that asked it, said no, and not for a reason of its moment.
fn is_answer(error: &postgres::Error) -> bool {
    match error {
        postgres::Error::Program { .. } => postgres::Circumstance::of(error).is_none(),
        error => error.server_message().is_some(),
    }
}

async fn compare_rest(database: &Database, session: &Session, options: &CompareOptions) -> Result<Vec<Check>> {
    let client = &session.client;
    let mut checks = state::compare_sequences(client, &database.sequences).await?;
    checks.extend(large_objects::compare_large_objects(session, database).await?);
    checks.extend(state::compare_materialized_views(client, &database.materialized_views).await?);
    checks.extend(assertions::compare_assertions(session, database).await?);
    checks.extend(on_request::check_login(client, &session.options, &database.inventory, options).await?);
    checks.extend(on_request::check_amcheck(client, options).await?);
    Ok(checks)
}
