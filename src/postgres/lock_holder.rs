//! Who kept a lock that was not to be had in time.
//!
//! `pg_locks` tells everyone who holds and who waits; since when, and by a query of whom, only who may read all statistics
//! (`pg_read_all_stats`) is told. Statements are not shown: they may quote values.

use std::fmt::Write as _;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::row::column;

/// One session, or prepared transaction, in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Of a session; a prepared transaction has none.
    pub pid: Option<i32>,
    /// The session's application name, or the name of the prepared transaction.
    pub name: String,
    pub user: String,
    /// When its transaction began, by the server's clock; none where the role may not know.
    pub since: Option<String>,
    /// What it does to which table.
    pub relation: String,
    /// It holds the lock; else it waits for it, before us.
    pub is_granted: bool,
}

/// Named before the rest is only counted.
const NAMED: usize = 5;

/// Sessions that hold, or waited before us for, a lock on tables of this database that conflicts with every other, and those
/// that in turn keep the waiting ones waiting. `of`: tables by OID, else all.
///
/// It is a look afterwards, for a message: none where nobody is in the way any more, or the look fails.
pub(super) async fn lock_holders(client: &Client, of: &[u32]) -> Vec<LockHolder> {
    look(client, &format!("{EXCLUSIVE} {NAMED_ROWS}"), &[&of]).await
}

/// Sessions that are none of ours and hold a lock, whichever, on a table of this database, or wait for one: in a target there
/// should be none. As [`lock_holders`], a look afterwards.
pub(super) async fn foreign_lock_holders(client: &Client) -> Vec<LockHolder> {
    look(client, &format!("{FOREIGN} {NAMED_ROWS}"), &[]).await
}

async fn look(client: &Client, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<LockHolder> {
    let rows = client.query(query, parameters).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "who kept the lock is not known");
        Vec::new()
    });
    let holder = |row: &tokio_postgres::Row| {
        Ok::<_, super::error::Error>(LockHolder {
            pid: column(row, "pid")?,
            name: column(row, "name")?,
            user: column(row, "user")?,
            since: column(row, "since")?,
            relation: column(row, "relation")?,
            is_granted: column(row, "granted")?,
        })
    };
    rows.iter().filter_map(|row| holder(row).ok()).collect()
}

/// Ours, `LOCK TABLE ... IN ACCESS SHARE MODE`, waits for ACCESS EXCLUSIVE alone. A session that waits for that waits for any
/// other lock on the table, and we behind it.
const EXCLUSIVE: &str = "
    WITH exclusive AS (
        SELECT l.pid, l.relation, l.granted, l.virtualtransaction FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
        WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
          AND (pg_catalog.cardinality($1::oid[]) = 0 OR l.relation = ANY ($1::oid[]))
    ), in_the_way AS (
        SELECT pid, relation, granted, virtualtransaction FROM exclusive
        UNION
        SELECT l.pid, l.relation, true, l.virtualtransaction FROM exclusive e
        JOIN pg_catalog.pg_locks l ON l.locktype = 'relation' AND l.relation = e.relation AND l.granted
         AND (l.pid = ANY (pg_catalog.pg_blocking_pids(e.pid)) OR l.pid IS NULL)
        WHERE NOT e.granted
    )";

/// Known by their names: the other sessions of a restore hold locks too. A prepared transaction has none.
const FOREIGN: &str = "
    WITH in_the_way AS (
        SELECT l.pid, l.relation, l.granted, l.virtualtransaction FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'
        LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'relation' AND c.oid >= 16384
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND NOT pg_catalog.starts_with(coalesce(a.application_name, ''), 'kubebackup ')
    )";

/// The locks of a prepared transaction keep the virtual transaction of the session that made it; the transaction's own id, by
/// which its name is found, is locked beside them.
const NAMED_ROWS: &str = "
    SELECT DISTINCT w.pid, coalesce(p.gid, a.application_name, '') AS name,
           coalesce(p.owner::text, a.usename::text, '') AS \"user\",
           pg_catalog.to_char(coalesce(p.prepared, a.xact_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"') AS since,
           w.relation::pg_catalog.regclass::text AS relation, w.granted
    FROM in_the_way w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
    LEFT JOIN (
        SELECT x.virtualtransaction, p.gid, p.owner, p.prepared FROM pg_catalog.pg_prepared_xacts p
        JOIN pg_catalog.pg_locks x ON x.locktype = 'transactionid' AND x.transactionid = p.transaction AND x.granted
    ) p ON w.pid IS NULL AND p.virtualtransaction = w.virtualtransaction
    ORDER BY w.granted DESC, since NULLS LAST, w.pid";

/// Ends the error's sentence.
pub(super) fn in_the_way(holders: &[LockHolder]) -> String {
    let mut text = String::new();
    for (position, holder) in holders.iter().take(NAMED).enumerate() {
        let _ = write!(text, "{}{holder}", if position == 0 { ": " } else { ", " });
    }
    if holders.len() > NAMED {
        let _ = write!(text, " and {} more", holders.len() - NAMED);
    }
    text
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name, user, relation, ..
        } = self;
        match self.pid {
            Some(pid) => write!(formatter, "session {pid} ('{name}' of {user})")?,
            None => write!(formatter, "prepared transaction '{name}' of {user}")?,
        }
        let verb = if self.is_granted { "holds" } else { "waits to lock" };
        write!(formatter, " {verb} {relation}")?;
        match &self.since {
            Some(since) => write!(formatter, ", in a transaction since {since}"),
            None => write!(formatter, " (since when is known to who has pg_read_all_stats)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: Option<i32>, since: Option<&str>, is_granted: bool) -> LockHolder {
        LockHolder {
            pid,
            name: "batch".to_owned(),
            user: "app".to_owned(),
            since: since.map(str::to_owned),
            relation: "public.t".to_owned(),
            is_granted,
        }
    }

    #[test]
    fn who_is_in_the_way_is_named_with_what_it_does_and_since_when() {
        let since = Some("2026-01-02 03:04:05Z");
        assert_eq!(in_the_way(&[]), "");
        assert_eq!(
            in_the_way(&[
                holder(Some(7), since, true),
                holder(Some(8), None, false),
                holder(None, since, true)
            ]),
            ": session 7 ('batch' of app) holds public.t, in a transaction since 2026-01-02 03:04:05Z, \
             session 8 ('batch' of app) waits to lock public.t (since when is known to who has pg_read_all_stats), \
             prepared transaction 'batch' of app holds public.t, in a transaction since 2026-01-02 03:04:05Z"
        );
        let many = vec![holder(Some(1), since, true); NAMED + 2];
        assert!(in_the_way(&many).ends_with(" and 2 more"));
    }
}
