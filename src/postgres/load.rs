//! Putting rows, sequence values and large objects into a database, and the refresh that follows.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, CopyInSink};

use super::connect::{ConnectOptions, Session, connect};
use super::error::{Error, Result};
use super::lock_holder::foreign_lock_holders;
use super::privileges::privilege_statements;
use crate::content::{LargeObject, QualifiedName, Sequence, quote_identifier, quote_literal};

/// Connects for loading: no triggers or rules fire, commits do not wait for the disk (later phases' commits do), no lock is
/// waited for longer than `lock_timeout`, and a statement ends when its client is gone.
///
/// # Errors
/// When the connection or a setting is refused.
pub async fn connect_for_loading(options: &ConnectOptions, superuser: bool, lock_timeout: Duration) -> Result<Session> {
    let session = connect(options, "restore").await?;
    let replica = if superuser {
        "SET session_replication_role = replica;"
    } else {
        ""
    };
    let settings = format!(
        "{replica} SET synchronous_commit = off; SET lock_timeout = {};
         SET default_transaction_read_only = off;",
        lock_timeout.as_millis()
    );
    session
        .client
        .batch_execute(&settings)
        .await
        .map_err(Error::query("prepare a session for loading"))?;
    watch_for_lost_client(&session.client).await;
    Ok(session)
}

/// The same error; where a lock was not to be had in time, with who is in the way.
pub async fn name_who_locks(options: &ConnectOptions, error: Error) -> Error {
    match error {
        Error::Query { doing, source } if source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            let holders = match connect(options, "restore").await {
                Ok(session) => foreign_lock_holders(&session.client).await,
                Err(_) => Vec::new(),
            };
            Error::Locked { doing, holders, source }
        }
        error => error,
    }
}

/// Asks the server to look once a second whether this client is still there, so that a long statement ends with it.
/// Returns whether the server can: some platforms cannot, and there a statement runs to its end.
pub async fn watch_for_lost_client(client: &Client) -> bool {
    match client.batch_execute(WATCH_FOR_LOST_CLIENT).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "the server cannot watch for lost clients");
            false
        }
    }
}

const WATCH_FOR_LOST_CLIENT: &str = "SET client_connection_check_interval = '1s'";

/// Long values are compressed with lz4, at a fraction of pglz's cost, where the column does not say otherwise and the server
/// can. They read the same; on disk they take a little more room.
pub async fn compress_quickly(client: &Client) {
    if let Err(error) = client.batch_execute("SET default_toast_compression = lz4").await {
        tracing::debug!(%error, "the server has no lz4");
    }
}

/// Drops, where they are empty, what a database is created with and its source did not have.
///
/// # Errors
/// The server's.
pub async fn remove_defaults(client: &Client, public: bool, plpgsql: bool) -> Result<()> {
    let drops = [
        (public, "DROP SCHEMA IF EXISTS public"),
        (plpgsql, "DROP EXTENSION IF EXISTS plpgsql"),
    ];
    for (_, statement) in drops.into_iter().filter(|(wanted, _)| *wanted) {
        client
            .batch_execute(statement)
            .await
            .map_err(Error::query("drop what the source did not have"))?;
    }
    Ok(())
}

/// A running `COPY ... FROM STDIN`. Dropped before [`CopyIn::finish`], the server forgets the rows.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    doing: String,
}

impl CopyIn {
    /// # Errors
    /// When the server refuses the statement.
    pub async fn begin(client: &Client, statement: &str, doing: String) -> Result<Self> {
        let sink = client.copy_in(statement).await.map_err(|source| Error::Query {
            doing: doing.clone(),
            source: source.into(),
        })?;
        Ok(Self {
            sink: Box::pin(sink),
            doing,
        })
    }

    /// Sends COPY text cut anywhere.
    ///
    /// # Errors
    /// The server's, for these or earlier bytes.
    pub async fn send(&mut self, text: Bytes) -> Result<()> {
        self.sink.send(text).await.map_err(|source| Error::Query {
            doing: self.doing.clone(),
            source: source.into(),
        })
    }

    /// Ends the statement and returns how many rows the server took.
    ///
    /// # Errors
    /// The server's.
    pub async fn finish(mut self) -> Result<u64> {
        self.sink.as_mut().finish().await.map_err(|source| Error::Query {
            doing: self.doing.clone(),
            source: source.into(),
        })
    }
}

/// Sequences per statement: each takes a lock until its end.
const SEQUENCES_PER_STATEMENT: usize = 50;

/// Gives every sequence its value.
///
/// # Errors
/// The server's, for example when a sequence is missing.
pub async fn set_sequences(client: &Client, sequences: &[&Sequence]) -> Result<()> {
    for batch in sequences.chunks(SEQUENCES_PER_STATEMENT) {
        let calls: Vec<String> = batch
            .iter()
            .map(|sequence| {
                format!(
                    "SELECT pg_catalog.setval({}, {}, {})",
                    quote_literal(&sequence.name.to_string()),
                    sequence.last_value,
                    sequence.is_called
                )
            })
            .collect();
        client
            .batch_execute(&calls.join(";\n"))
            .await
            .map_err(Error::query("set sequences to their values"))?;
    }
    Ok(())
}

/// Large objects per statement: each takes a lock until its end.
const LARGE_OBJECTS_PER_STATEMENT: usize = 50;

/// Creates the objects, still empty, and a place for [`put_pages`].
///
/// # Errors
/// The server's, for example when an object of that OID exists.
pub async fn create_large_objects(client: &Client, objects: &[LargeObject]) -> Result<()> {
    for batch in objects.chunks(LARGE_OBJECTS_PER_STATEMENT) {
        let oids: Vec<u32> = batch.iter().map(|object| object.oid).collect();
        client
            .execute(
                "SELECT pg_catalog.lo_create(o) FROM pg_catalog.unnest($1::oid[]) o",
                &[&oids],
            )
            .await
            .map_err(Error::query("create large objects"))?;
    }
    client
        .batch_execute("CREATE TEMPORARY TABLE kubebackup_pages (loid oid, place bigint, data bytea)")
        .await
        .map_err(Error::query("make a place for large objects' pages"))
}

/// `COPY` statement that takes pages as `(loid, byte offset, data)`.
pub const COPY_PAGES: &str = "COPY pg_temp.kubebackup_pages FROM STDIN (FORMAT text)";

/// Writes the pages copied in so far into their objects.
///
/// # Errors
/// The server's.
pub async fn put_pages(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "SELECT count(pg_catalog.lo_put(loid, place, data)) FROM pg_temp.kubebackup_pages;
             TRUNCATE pg_temp.kubebackup_pages",
        )
        .await
        .map_err(Error::query("write pages of large objects"))
}

/// Gives every object its length, owner, privileges and comment.
///
/// # Errors
/// The server's.
pub async fn finish_large_objects(client: &Client, objects: &[LargeObject]) -> Result<()> {
    for object in objects {
        let oid = object.oid;
        let mut statements = vec![
            // 131072 is INV_WRITE. A trailing hole is not in the pages.
            format!(
                "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open({oid}, 131072), {bytes})
                 WHERE coalesce((SELECT pg_catalog.max(pageno::bigint * (pg_catalog.current_setting('block_size')::int / 4)
                                                       + pg_catalog.length(data))
                                 FROM pg_catalog.pg_largeobject WHERE loid = {oid}), 0) <> {bytes}",
                bytes = object.bytes
            ),
            format!("ALTER LARGE OBJECT {oid} OWNER TO {}", quote_identifier(&object.owner)),
        ];
        let owner_default = [
            format!("{0}=SELECT/{0}", object.owner),
            format!("{0}=UPDATE/{0}", object.owner),
        ];
        if object.acl != owner_default {
            let name = format!("LARGE OBJECT {oid}");
            statements.extend(privilege_statements(&name, &object.owner, &object.acl));
        }
        if let Some(comment) = &object.comment {
            statements.push(format!("COMMENT ON LARGE OBJECT {oid} IS {}", quote_literal(comment)));
        }
        client
            .batch_execute(&statements.join(";\n"))
            .await
            .map_err(Error::query(format!("finish large object {oid}")))?;
    }
    Ok(())
}

/// `REFRESH MATERIALIZED VIEW`.
///
/// # Errors
/// The server's.
pub async fn refresh(client: &Client, view: &QualifiedName) -> Result<()> {
    client
        .batch_execute(&format!("REFRESH MATERIALIZED VIEW {view}"))
        .await
        .map_err(Error::query(format!("refresh materialized view {view}")))
}
