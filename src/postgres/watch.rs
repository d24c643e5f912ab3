//! Looking after production while its sessions and ours share a server: who waits for us, and is it going down?

use tokio_postgres::error::SqlState;

use super::connect::{ConnectOptions, Session, connect};
use super::error::{Error, Result};
use super::row::column;

/// Sessions of others that wait for a lock held by a session named `kubebackup ...` of the connected role.
///
/// It opens a fresh connection each time on purpose: a smart shutdown tells open sessions nothing and waits for them;
/// only a new connection is refused (fact 7).
///
/// # Errors
/// `Error::ShuttingDown` when the server refuses connections because it is going down, `Error::ConnectTimeout` when it does not
/// answer in time, `Error::Query` otherwise.
pub async fn count_blocked_sessions(options: &ConnectOptions) -> Result<u64> {
    // Connecting has as much time for itself.
    let limit = options.connect_timeout * 2;
    match tokio::time::timeout(limit, look(options)).await {
        Ok(counted) => counted,
        Err(_) => Err(Error::ConnectTimeout {
            server: options.to_string(),
            seconds: limit.as_secs(),
        }),
    }
}

async fn look(options: &ConnectOptions) -> Result<u64> {
    let session = match connect(options, "watch").await {
        Ok(session) => session,
        Err(error) if is_shutdown(&error) => return Err(Error::ShuttingDown),
        Err(error) => return Err(error),
    };
    let row = session
        .client
        .query_one(
            // `pg_locks` tells everyone who waits; `pg_stat_activity` would hide it from a role that is no superuser.
            "WITH ours AS (
                 SELECT pid FROM pg_catalog.pg_stat_activity
                 WHERE usename = current_user AND application_name LIKE 'kubebackup %'
             )
             SELECT pg_catalog.count(DISTINCT waiting.pid) AS blocked FROM pg_catalog.pg_locks waiting
             WHERE NOT waiting.granted AND waiting.pid NOT IN (SELECT pid FROM ours)
               AND pg_catalog.pg_blocking_pids(waiting.pid) && ARRAY(SELECT pid FROM ours)",
            &[],
        )
        .await
        .map_err(Error::query("count the sessions that wait for the backup"))?;
    Ok(column::<i64>(&row, "blocked")?.cast_unsigned())
}

/// A session that asks how the server is, again and again.
#[derive(Debug)]
pub struct Listener(Session);

impl Listener {
    /// # Errors
    /// As for a connection.
    pub async fn connect(options: &ConnectOptions) -> Result<Self> {
        connect(options, "pace").await.map(Self)
    }

    /// The smallest of questions; how long it takes is the answer.
    ///
    /// # Errors
    /// `Error::Query`.
    pub async fn ask(&self) -> Result<()> {
        let asked = self.0.client.batch_execute("SELECT 1").await;
        asked.map_err(Error::query("ask whether the server answers"))
    }

    /// Server processes that work for sessions of the connected role from which a backup reads rows and large objects, and neither wait for us to
    /// read nor have nothing to do. A role sees this of its own sessions, whatever its privileges.
    ///
    /// # Errors
    /// `Error::Query`.
    pub async fn busy_processes(&self) -> Result<u32> {
        let row = self
            .0
            .client
            .query_one(
                "SELECT pg_catalog.count(*) AS busy FROM pg_catalog.pg_stat_activity
                 WHERE usename = current_user AND application_name IN ('kubebackup copy', 'kubebackup snapshot')
                   AND state = 'active'
                   AND wait_event_type IS DISTINCT FROM 'Client'",
                &[],
            )
            .await
            .map_err(Error::query("look for processes at work"))?;
        Ok(u32::try_from(column::<i64>(&row, "busy")?).unwrap_or(u32::MAX))
    }
}

/// The server said that it is, or is about to be, gone.
#[must_use]
pub fn is_shutdown(error: &Error) -> bool {
    matches!(
        error.sqlstate(),
        Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::ADMIN_SHUTDOWN)
    )
}
