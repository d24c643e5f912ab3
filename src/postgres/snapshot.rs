//! One consistent moment of one database: locks first, then the snapshot, then proof that nothing slipped between.
//!
//! The order is what makes the backup true (facts 1 to 3): a TRUNCATE or a rewriting ALTER that commits between a
//! snapshot and our lock would leave the table empty in our older snapshot. `LOCK TABLE` takes no snapshot, so all
//! tables are locked first. What cannot be locked (functions, views, sequences) is compared afterwards.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::connect::{ConnectOptions, Session, connect};
use super::error::{Error, Result};
use super::lock_holder::{LockHolder, lock_holders};
use super::relation::{Relation, RelationKind, read_relations};
use super::row::column;

/// How hard to try for a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// How long one `LOCK TABLE` may wait for conflicting sessions.
    pub lock_timeout: Duration,
    /// How often to start over when definitions change meanwhile.
    pub attempts: u32,
}

/// What other sessions import, and where. Names of snapshots are numbers that begin anew on every server: one that has taken
/// over may have given the same name to another snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    pub name: String,
    /// When the server was started, in seconds: a standby that is promoted has the same system identifier.
    server_started: String,
}

/// Columns of the statement that exports the snapshot it is executed in, for [`SnapshotId::of_row`].
pub(super) const EXPORT_SNAPSHOT: &str = "pg_catalog.pg_export_snapshot() AS name,
    pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text AS server_started";

impl SnapshotId {
    pub(super) fn of_row(row: &tokio_postgres::Row) -> Result<Self> {
        Ok(Self {
            name: column(row, "name")?,
            server_started: column(row, "server_started")?,
        })
    }
}

/// An exported snapshot with every table locked, held open by its session until dropped or finished.
#[derive(Debug)]
pub struct Snapshot {
    session: Session,
    pub id: SnapshotId,
    /// By the server's clock, not later than the snapshot.
    pub time: jiff::Timestamp,
    pub lsn: String,
    /// Every relation as the snapshot sees it.
    pub relations: Vec<Relation>,
    /// Attempts beyond the first that it took.
    pub restarts: u32,
}

impl Snapshot {
    /// The session whose transaction sees the snapshot.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Ends the transaction and so releases the locks.
    ///
    /// # Errors
    /// `Error::Query` when the session has been lost, which means that the locks were too.
    pub async fn finish(self) -> Result<()> {
        self.session
            .client
            .batch_execute("COMMIT")
            .await
            .map_err(Error::query("release the snapshot"))
    }
}

/// Tables named in one `LOCK TABLE`: few round trips, no statement of megabytes.
const LOCK_BATCH: usize = 500;

/// Locks every table of the database in `ACCESS SHARE MODE`, then exports a snapshot and reads the relations in it.
///
/// # Errors
/// `Error::Unreadable` before any lock when the role cannot read everything; `Error::LockTimeout` naming what could not
/// be locked; `Error::Unstable` when definitions kept changing; `Error::Settings` when the lock table is too small.
pub async fn take_snapshot(options: &ConnectOptions, how: &SnapshotOptions) -> Result<Snapshot> {
    let mut restarts = 0;
    loop {
        match try_snapshot(options, how).await? {
            Attempt::Taken(mut snapshot) => {
                snapshot.restarts = restarts;
                return Ok(*snapshot);
            }
            Attempt::Interfered(reason) if restarts + 1 >= how.attempts => return Err(Error::Unstable { reason }),
            Attempt::Interfered(reason) => {
                tracing::warn!(%reason, database = options.database, "definitions changed while locking, starting over");
                restarts += 1;
            }
        }
    }
}

/// From here on the session waits for no lock longer than this.
///
/// # Errors
/// `Error::Query`.
pub async fn wait_for_locks_at_most(session: &Session, limit: Duration) -> Result<()> {
    let set = format!("SET lock_timeout = {}", limit.as_millis());
    let set = session.client.batch_execute(&set).await;
    set.map_err(Error::query("set the lock timeout"))
}

/// The relations of the session's database, once it is known that the role may read them all and that they can be locked.
///
/// # Errors
/// `Error::Unreadable`, or `Error::Settings` when the lock table is too small.
pub async fn check_readable(session: &Session) -> Result<Vec<Relation>> {
    let relations = match read_relations(&session.client).await {
        Ok(relations) => relations,
        Err(error) => return Err(as_lock_timeout(session, error).await),
    };
    refuse_unreadable(&relations)?;
    refuse_unreadable_large_objects(session).await?;
    let to_lock = relations.iter().filter(|relation| relation.is_lockable()).count();
    refuse_small_lock_table(session, to_lock).await?;
    Ok(relations)
}

enum Attempt {
    Taken(Box<Snapshot>),
    /// Something changed in the gap; says what.
    Interfered(String),
}

async fn try_snapshot(options: &ConnectOptions, how: &SnapshotOptions) -> Result<Attempt> {
    let session = connect(options, "snapshot").await?;
    let client = &session.client;
    // From the start: asking for a relation's size waits for whoever locks it.
    wait_for_locks_at_most(&session, how.lock_timeout).await?;
    let before = check_readable(&session).await?;
    let to_lock: Vec<&Relation> = before.iter().filter(|relation| relation.is_lockable()).collect();

    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(Error::query("begin the snapshot's transaction"))?;
    for batch in to_lock.chunks(LOCK_BATCH) {
        if let Some(reason) = lock(&session, batch).await? {
            return Ok(Attempt::Interfered(reason));
        }
    }
    crate::telemetry::failpoint::reach("after-locks").await;

    // `statement_timestamp()` was set when the message came in, before the snapshot this statement takes.
    let row = client
        .query_one(
            &format!(
                "SELECT {EXPORT_SNAPSHOT},
                    (pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) * 1000000)::bigint AS time,
                    (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                          ELSE pg_catalog.pg_current_wal_lsn() END)::text AS lsn"
            ),
            &[],
        )
        .await
        .map_err(Error::query("export a snapshot"))?;
    let locked = read_locked(&session).await?;
    let relations = match read_relations(client).await {
        Ok(relations) => relations,
        Err(error) => return Err(as_lock_timeout(&session, error).await),
    };
    refuse_unreadable(&relations)?;
    if let Some(reason) = slipped_through(&relations, &locked) {
        return Ok(Attempt::Interfered(reason));
    }
    let id = SnapshotId::of_row(&row)?;
    let time = jiff::Timestamp::from_microsecond(column(&row, "time")?)
        .map_err(|error| Error::Protocol(format!("the server's clock: {error}")))?;
    let lsn = column::<Option<String>>(&row, "lsn")?.unwrap_or_default();
    Ok(Attempt::Taken(Box::new(Snapshot {
        session,
        id,
        time,
        lsn,
        relations,
        restarts: 0,
    })))
}

/// Which table was waited for is not known, only that it was for its size.
async fn as_lock_timeout(session: &Session, error: Error) -> Error {
    match error {
        Error::Query { source, .. } if source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::LockTimeout {
            tables: 1,
            holders: holders(session, &[]).await,
            source,
        },
        other => other,
    }
}

/// Who is in the way, asked by the session that waited in vain. Its transaction is over with that.
async fn holders(session: &Session, of: &[u32]) -> Vec<LockHolder> {
    match session.client.batch_execute("ROLLBACK").await {
        Ok(()) => lock_holders(&session.client, of).await,
        Err(_) => Vec::new(),
    }
}

/// Locks one batch; says what interfered when a table vanished meanwhile.
async fn lock(session: &Session, batch: &[&Relation]) -> Result<Option<String>> {
    let names: Vec<String> = batch.iter().map(|relation| format!("ONLY {}", relation.name)).collect();
    let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
    let Err(error) = session.client.batch_execute(&statement).await else {
        return Ok(None);
    };
    match error.code() {
        Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::WRONG_OBJECT_TYPE) => Ok(Some(
            "a table was dropped or renamed before it could be locked".to_owned(),
        )),
        Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            let of: Vec<u32> = batch.iter().map(|relation| relation.oid).collect();
            Err(Error::LockTimeout {
                tables: names.len(),
                holders: holders(session, &of).await,
                source: error.into(),
            })
        }
        _ => Err(Error::query("lock the tables")(error)),
    }
}

/// What this session has really locked: the names in `LOCK TABLE` may have meant other tables than those listed.
pub(super) async fn read_locked(session: &Session) -> Result<HashSet<u32>> {
    session
        .client
        .query(
            "SELECT relation FROM pg_catalog.pg_locks
             WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND granted AND mode = 'AccessShareLock'",
            &[],
        )
        .await
        .map_err(Error::query("read which tables are locked"))?
        .iter()
        .map(|row| column(row, "relation"))
        .collect()
}

/// Fact 1: a table that the snapshot sees but that is not locked by its OID, or whose file is not the one it has now.
fn slipped_through(relations: &[Relation], locked: &HashSet<u32>) -> Option<String> {
    relations
        .iter()
        .filter(|relation| relation.is_lockable())
        .find_map(|relation| {
            if !locked.contains(&relation.oid) {
                Some(format!(
                    "table {} appeared before the snapshot but after the locks",
                    relation.name
                ))
            } else if relation.rewritten {
                Some(format!("table {} was rewritten around the snapshot", relation.name))
            } else {
                None
            }
        })
}

/// What cannot be read is refused before anything is locked, all of it at once: never a silent gap.
fn refuse_unreadable(relations: &[Relation]) -> Result<()> {
    let needed = |relation: &&Relation| {
        (relation.is_lockable() && relation.kind != RelationKind::PartitionedTable) || relation.is_stored_sequence()
    };
    let unreadable: Vec<String> = relations
        .iter()
        .filter(needed)
        .filter_map(|relation| match (relation.readable, relation.row_security_active) {
            (false, _) => Some(format!("{} (no SELECT)", relation.name)),
            (true, true) => Some(format!("{} (row-level security)", relation.name)),
            (true, false) => None,
        })
        .collect();
    if unreadable.is_empty() {
        Ok(())
    } else {
        Err(Error::Unreadable { objects: unreadable })
    }
}

/// Large objects are read from `pg_largeobject`: `lo_get` is denied to a role that only reads.
async fn refuse_unreadable_large_objects(session: &Session) -> Result<()> {
    let row = session
        .client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
                    AND NOT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS unreadable",
            &[],
        )
        .await
        .map_err(Error::query("look for large objects"))?;
    if column(&row, "unreadable")? {
        return Err(Error::Unreadable {
            objects: vec!["large objects (no SELECT on pg_largeobject)".to_owned()],
        });
    }
    Ok(())
}

/// Fact 19: our locks and `pg_dump`'s share one entry a table, but the table of locks must have room for all of them.
async fn refuse_small_lock_table(session: &Session, tables: usize) -> Result<()> {
    let server = super::server::read_server(&session.client).await?;
    let needed = tables as u64 + 100;
    if needed <= server.lock_slots {
        return Ok(());
    }
    let wanted = u64::from(server.max_locks_per_transaction) * needed.div_ceil(server.lock_slots.max(1));
    Err(Error::Settings(format!(
        "database {} has {tables} tables, but the server can hold about {} locks; set max_locks_per_transaction to \
         {wanted} or more and restart it",
        session.options.database, server.lock_slots
    )))
}

/// Opens another session in the same snapshot.
///
/// # Errors
/// `Error::Query` when the snapshot is gone, `Error::AnotherServer`.
pub async fn join_snapshot(options: &ConnectOptions, snapshot: &SnapshotId, purpose: &str) -> Result<Session> {
    let session = connect(options, purpose).await?;
    import_snapshot(&session, snapshot).await?;
    Ok(session)
}

/// Begins a transaction of `session` in the snapshot. After an error it has still to be ended.
///
/// # Errors
/// As [`join_snapshot`].
pub(super) async fn import_snapshot(session: &Session, snapshot: &SnapshotId) -> Result<()> {
    let statements = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
        crate::content::quote_literal(&snapshot.name)
    );
    let failed = || Error::query("join the snapshot");
    session.client.batch_execute(&statements).await.map_err(failed())?;
    let started = "SELECT pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text AS server_started";
    let row = session.client.query_one(started, &[]).await.map_err(failed())?;
    if column::<String>(&row, "server_started")? != snapshot.server_started {
        let server = session.options.to_string();
        return Err(Error::AnotherServer { server });
    }
    Ok(())
}

/// Locks one table in a worker without waiting: an ALTER queued behind the coordinator's lock would otherwise wait for
/// us while we wait for it (fact 2).
///
/// # Errors
/// `Error::Yielded` when somebody waits for the table with a stronger lock.
pub async fn lock_nowait(session: &Session, tables: &[&crate::content::QualifiedName]) -> Result<()> {
    let names: Vec<String> = tables.iter().map(|name| format!("ONLY {name}")).collect();
    let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", names.join(", "));
    session
        .client
        .batch_execute(&statement)
        .await
        .map_err(|error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Error::Yielded {
                reason: "a session waits to change a table".to_owned(),
            },
            _ => Error::query("lock a table for copying")(error),
        })
}
