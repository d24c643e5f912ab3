//! One table read by several sessions as if by one: all in one snapshot, and each under a lock of its own from before its
//! first row to after its last.
//!
//! The snapshot alone would not do: a `VACUUM FULL` between two parts may carry a row from a block that is yet to be read to
//! one that was read already, and a rewriting `ALTER` empties the table for an older snapshot (fact 1). So the table is
//! locked before the snapshot exists, and whoever joins has both before the first session may leave. No lock is waited for
//! (fact 2): a session that cannot have it lets the others read.

use super::connect::Session;
use super::error::{Error, Result};
use super::row::column;
use super::snapshot::{EXPORT_SNAPSHOT, SnapshotId, import_snapshot, lock_nowait, read_locked};
use crate::content::QualifiedName;

/// A table that the session which shares it has locked and sees in a snapshot that others may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTable {
    pub name: QualifiedName,
    oid: u32,
    snapshot: SnapshotId,
    /// Blocks of its main fork.
    pub heap_blocks: u64,
    /// Bytes with TOAST, without indexes.
    pub table_bytes: u64,
}

/// Begins a transaction in which `table` is locked and its snapshot exported, until [`leave_table`]. None, and no
/// transaction, where it cannot be shared: it is absent, no plain table, not stored in a heap, or locked by another session.
///
/// # Errors
/// When the session is lost.
pub async fn share_table(session: &Session, table: &QualifiedName) -> Result<Option<SharedTable>> {
    or_stand_back(session, table, try_share(session, table).await).await
}

/// Begins a transaction in the snapshot of `table`, which it locks too. False, and no transaction, where that cannot be:
/// the session that shares it has left, somebody waits to change the table, or this session is on another server.
///
/// # Errors
/// When the session is lost.
pub async fn join_table(session: &Session, table: &SharedTable) -> Result<bool> {
    let joined = or_stand_back(session, &table.name, try_join(session, table).await).await?;
    Ok(joined.is_some())
}

/// Whether the name that was read by still means the table that is locked: no lock keeps its schema from being renamed.
///
/// # Errors
/// `Error::Query`.
pub async fn is_same_table(session: &Session, table: &SharedTable) -> Result<bool> {
    let name = table.name.to_string();
    let looked_up = session
        .client
        .query_one("SELECT pg_catalog.to_regclass($1)::oid AS oid", &[&name])
        .await
        .map_err(Error::query("look a table up again"));
    match looked_up {
        Ok(row) => Ok(column::<Option<u32>>(&row, "oid")? == Some(table.oid)),
        // A schema that this role may not look into any more, or a conflict with recovery: nobody knows.
        Err(error) if error.server_message().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends the transaction, with its lock and its snapshot.
///
/// # Errors
/// `Error::Query` when the session is lost.
pub async fn leave_table(session: &Session) -> Result<()> {
    let left = session.client.batch_execute("ROLLBACK").await;
    left.map_err(Error::query("leave a shared table"))
}

/// What was asked for, or why it cannot be had.
type Attempt<T> = Result<std::result::Result<T, &'static str>>;

async fn try_share(session: &Session, table: &QualifiedName) -> Attempt<SharedTable> {
    let failed = || Error::query(format!("share table {table}"));
    let client = &session.client;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    client.batch_execute(begin).await.map_err(failed())?;
    lock_nowait(session, &[table]).await?;
    let statement = format!(
        "SELECT c.oid, pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS heap_blocks,
                pg_catalog.pg_table_size(c.oid) AS table_bytes, {EXPORT_SNAPSHOT}
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_am a ON a.oid = c.relam
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r' AND a.amname = 'heap'"
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&table.schema, &table.name];
    let found = client.query_opt(&statement, &parameters).await.map_err(failed())?;
    let Some(row) = found else {
        return Ok(Err("it is no table that is stored in a heap"));
    };
    let oid = column(&row, "oid")?;
    if !read_locked(session).await?.contains(&oid) {
        return Ok(Err("its name meant another table when it was locked"));
    }
    Ok(Ok(SharedTable {
        name: table.clone(),
        oid,
        snapshot: SnapshotId::of_row(&row)?,
        heap_blocks: column::<i64>(&row, "heap_blocks")?.cast_unsigned(),
        table_bytes: column::<i64>(&row, "table_bytes")?.cast_unsigned(),
    }))
}

async fn try_join(session: &Session, table: &SharedTable) -> Attempt<()> {
    import_snapshot(session, &table.snapshot).await?;
    lock_nowait(session, &[&table.name]).await?;
    let is_locked = read_locked(session).await?.contains(&table.oid);
    Ok(is_locked.then_some(()).ok_or("its name means another table now"))
}

/// A session that can go on without the table does, whatever the server had against it; a lost one is an error.
async fn or_stand_back<T>(session: &Session, table: &QualifiedName, attempt: Attempt<T>) -> Result<Option<T>> {
    let (reason, error) = match attempt {
        Ok(Ok(had)) => return Ok(Some(had)),
        Ok(Err(reason)) => (reason.to_owned(), None),
        Err(error) => (error.server_message().unwrap_or_default(), Some(error)),
    };
    if let Err(lost) = leave_table(session).await {
        return Err(error.unwrap_or(lost));
    }
    tracing::debug!(%table, reason, error = error.map(|error| error.to_string()), "not read by several sessions");
    Ok(None)
}
