//! Looking after production while its sessions and ours share a server: who waits for us, and is it going down?

use tokio_postgres::error::SqlState;

use super::connect::{ConnectOptions, connect};
use super::error::{Error, Result};
use super::row::column;

/// Sessions of others that wait for a lock held by a session named `kubebackup ...` of the connected role.
///
/// It opens a fresh connection each time on purpose: a smart shutdown tells open sessions nothing and waits for them;
/// only a new connection is refused (fact 7).
///
/// # Errors
/// `Error::ShuttingDown` when the server refuses connections because it is going down, `Error::Query` otherwise.
pub async fn count_blocked_sessions(options: &ConnectOptions) -> Result<u64> {
    let session = match connect(options, "watch").await {
        Ok(session) => session,
        Err(error) if is_shutdown(&error) => return Err(Error::ShuttingDown),
        Err(error) => return Err(error),
    };
    let row = session
        .client
        .query_one(
            "SELECT pg_catalog.count(*) AS blocked FROM pg_catalog.pg_stat_activity waiting
             WHERE waiting.wait_event_type = 'Lock' AND waiting.application_name NOT LIKE 'kubebackup %'
               AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity ours
                           WHERE ours.pid = ANY (pg_catalog.pg_blocking_pids(waiting.pid))
                             AND ours.usename = current_user
                             AND (ours.application_name LIKE 'kubebackup %' OR ours.application_name = 'pg_dump'))",
            &[],
        )
        .await
        .map_err(Error::query("count the sessions that wait for the backup"))?;
    Ok(column::<i64>(&row, "blocked")?.cast_unsigned())
}

/// The server said that it is, or is about to be, gone.
#[must_use]
pub fn is_shutdown(error: &Error) -> bool {
    matches!(
        error.sqlstate(),
        Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::ADMIN_SHUTDOWN)
    )
}
