//! A scratch database: what stock `pg_restore` makes of an archive, on the server of the database under comparison.
//!
//! It is created from template0 with the target's own encoding and locale, loaded, read, and dropped again, also after an
//! error or a cancellation. One that a killed process left behind is known by its comment and
//! dropped by the next comparison.

use std::collections::BTreeSet;
use std::ffi::OsString;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::connect::{ConnectOptions, Session, connect};
use super::databases::read_database_properties;
use super::definitions::dump_definitions;
use super::error::{Error, Result};
use super::program::{ClientPrograms, MemoryFile};
use super::row::column;
use super::server::read_server;
use super::target::create_database;
use super::validity::read_invalid_objects;
use crate::content::{quote_identifier, quote_literal};

/// Scratch databases are recognized by this beginning.
const PREFIX: &str = "kubebackup_scratch_";

/// Stands on them, and nothing without it is ever dropped: this may be anybody's server.
const COMMENT: &str = "scratch database of a kubebackup comparison, which drops it";

/// One without sessions is left over once it is this old; a younger one may be about to be used.
const LEFTOVER_SECONDS: i64 = 600;

/// What a faithful restore of the archive amounts to.
#[derive(Clone, Debug)]
pub struct ScratchContents {
    /// As `definitions::dump_definitions` prints them.
    pub definitions: String,
    /// As `validity::read_invalid_objects` names them.
    pub invalid_objects: BTreeSet<String>,
}

/// Restores `archive` into a scratch database on the server of `target` and reads it.
///
/// # Errors
/// `Error::NoScratch` when the server makes no such database; `Error::Program` with the words of `pg_restore` or
/// `pg_dump`; none inside when cancelled.
pub async fn read_scratch(
    target: &ConnectOptions,
    programs: &ClientPrograms,
    archive: &[u8],
    jobs: usize,
    cancel: &CancellationToken,
) -> Result<Option<ScratchContents>> {
    let session = connect(target, "compare").await?;
    drop_leftovers(&session.client).await?;
    let name = scratch_name(&session.client).await?;
    let properties = read_database_properties(&session.client).await?;
    let major = read_server(&session.client).await?.major();
    create_database(&session.client, &name, &properties, major)
        .await
        .map_err(no_scratch)?;
    let options = target.with_database(&name);
    let contents = cancel
        .run_until_cancelled(async {
            mark(&session.client, &name).await?;
            load_and_read(&options, programs, archive, jobs).await
        })
        .await;
    let dropped = drop_database(&session, &name).await;
    let contents = contents.transpose()?;
    dropped?;
    Ok(contents)
}

fn no_scratch(error: Error) -> Error {
    match error {
        Error::Query { source, .. } if source.message().is_some() => Error::NoScratch { source },
        error => error,
    }
}

/// Its age is told by the server's own clock.
async fn scratch_name(client: &Client) -> Result<String> {
    let row = client
        .query_one(
            "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::bigint AS now",
            &[],
        )
        .await
        .map_err(Error::query("ask the server for the time"))?;
    let now: i64 = column(&row, "now")?;
    Ok(format!("{PREFIX}{now}_{:08x}", rand::random::<u32>()))
}

async fn mark(client: &Client, name: &str) -> Result<()> {
    let statement = format!(
        "COMMENT ON DATABASE {} IS {}",
        quote_identifier(name),
        quote_literal(COMMENT)
    );
    client
        .batch_execute(&statement)
        .await
        .map_err(Error::query("mark the scratch database"))
}

async fn load_and_read(
    options: &ConnectOptions,
    programs: &ClientPrograms,
    archive: &[u8],
    jobs: usize,
) -> Result<ScratchContents> {
    // Kept open so that nobody takes the database for a leftover.
    let session = connect(options, "compare").await?;
    let file = MemoryFile::new(archive)?;
    let mut arguments: Vec<OsString> = [
        "--exit-on-error",
        "--no-subscriptions",
        "--no-tablespaces",
        "--no-password",
        &format!("--jobs={}", jobs.max(1)),
        &format!("--dbname={}", options.database),
    ]
    .map(OsString::from)
    .into();
    arguments.push(file.path().into());
    programs.run(&programs.pg_restore(), &arguments, Some(options)).await?;
    Ok(ScratchContents {
        invalid_objects: read_invalid_objects(&session.client).await?,
        definitions: dump_definitions(options, programs).await?,
    })
}

async fn drop_database(session: &Session, name: &str) -> Result<()> {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(name));
    session
        .client
        .batch_execute(&statement)
        .await
        .map_err(Error::query("drop the scratch database"))
}

async fn drop_leftovers(client: &Client) -> Result<()> {
    let rows = client
        .query(
            "SELECT d.datname::text AS name FROM pg_catalog.pg_database d
             WHERE d.datname ~ ('^' || $1 || '[0-9]{1,18}_[0-9a-f]{8}$')
               AND pg_catalog.split_part(d.datname::text, '_', 3)::bigint
                   < pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) - $2::bigint
               AND pg_catalog.shobj_description(d.oid, 'pg_database') = $3
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)",
            &[&PREFIX, &LEFTOVER_SECONDS, &COMMENT],
        )
        .await
        .map_err(Error::query("look for scratch databases that were left over"))?;
    for row in &rows {
        let name: String = column(row, "name")?;
        // Somebody may have come between: then it is not ours to drop.
        match client
            .batch_execute(&format!("DROP DATABASE {}", quote_identifier(&name)))
            .await
        {
            Ok(()) => tracing::info!(database = name, "dropped a scratch database that was left over"),
            Err(error) => tracing::warn!(database = name, %error, "a left over scratch database could not be dropped"),
        }
    }
    Ok(())
}
