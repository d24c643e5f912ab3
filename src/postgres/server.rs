//! Who a server is: identity, version, role in replication, room for locks.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;

/// Facts about the server behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `pg_control_system().system_identifier`: the same on every physical copy, another after `initdb`.
    pub system_identifier: String,
    /// `server_version_num`, for example 150018.
    pub version_num: u32,
    pub version: String,
    pub in_recovery: bool,
    pub timeline: u32,
    /// Locks the shared table can hold: `max_locks_per_transaction * (max_connections + max_prepared_transactions)`.
    pub lock_slots: u64,
    pub max_locks_per_transaction: u32,
    pub is_superuser: bool,
    /// The connected role may `SET ROLE pg_read_all_data`.
    pub may_read_all_data: bool,
}

impl Server {
    /// The major version, for example 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// The oldest server this program backs up: TID range scans and `pg_read_all_data` came with it.
pub const OLDEST_MAJOR: u32 = 14;

/// Asks the server who it is. A primary's timeline is that of the WAL it writes: its control file tells the old one for a
/// while after a promotion. A standby has no other source.
///
/// # Errors
/// `Error::Query`; `Error::Settings` when it is older than [`OLDEST_MAJOR`].
pub async fn read_server(client: &Client) -> Result<Server> {
    let row = client
        .query_one(
            "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
                    pg_catalog.current_setting('server_version_num')::int AS version_num,
                    pg_catalog.current_setting('server_version') AS version,
                    pg_catalog.pg_is_in_recovery() AS in_recovery,
                    CASE WHEN pg_catalog.pg_is_in_recovery()
                         THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
                         ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(
                                  pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline,
                    pg_catalog.current_setting('max_locks_per_transaction')::int AS max_locks,
                    pg_catalog.current_setting('max_locks_per_transaction')::bigint
                      * (pg_catalog.current_setting('max_connections')::bigint
                         + pg_catalog.current_setting('max_prepared_transactions')::bigint) AS lock_slots,
                    pg_catalog.current_setting('is_superuser')::bool AS is_superuser,
                    EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pg_read_all_data'
                            AND pg_catalog.pg_has_role(oid, 'MEMBER')) AS may_read_all_data",
            &[],
        )
        .await
        .map_err(Error::query("ask the server who it is"))?;
    let server = Server {
        system_identifier: column(&row, "system_identifier")?,
        version_num: column::<i32>(&row, "version_num")?.cast_unsigned(),
        version: column(&row, "version")?,
        in_recovery: column(&row, "in_recovery")?,
        timeline: column::<i32>(&row, "timeline")?.cast_unsigned(),
        lock_slots: column::<i64>(&row, "lock_slots")?.cast_unsigned(),
        max_locks_per_transaction: column::<i32>(&row, "max_locks")?.cast_unsigned(),
        is_superuser: column(&row, "is_superuser")?,
        may_read_all_data: column(&row, "may_read_all_data")?,
    };
    if server.major() < OLDEST_MAJOR {
        return Err(Error::Settings(format!(
            "the server is PostgreSQL {}; this program needs {OLDEST_MAJOR} or later",
            server.version
        )));
    }
    Ok(server)
}

/// The server's clock now.
///
/// # Errors
/// `Error::Query`.
pub async fn read_clock(client: &Client) -> Result<jiff::Timestamp> {
    let row = client
        .query_one(
            "SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::bigint AS time",
            &[],
        )
        .await
        .map_err(Error::query("read the server's clock"))?;
    jiff::Timestamp::from_microsecond(column(&row, "time")?)
        .map_err(|error| Error::Protocol(format!("the server's clock: {error}")))
}

/// Whether the server is a standby now.
///
/// # Errors
/// `Error::Query`.
pub async fn read_in_recovery(client: &Client) -> Result<bool> {
    let row = client
        .query_one("SELECT pg_catalog.pg_is_in_recovery() AS in_recovery", &[])
        .await
        .map_err(Error::query("ask the server for its role"))?;
    column(&row, "in_recovery")
}
