//! The guards before anything is destroyed: all of them, for machines and people alike.
//!
//! The target's server occurs in no backup of this repository, the database carries its owner's marker with this
//! repository's id, nobody else is on it nor left a prepared transaction in it, and a session-level advisory lock on its name is held in the maintenance
//! database (a lock inside would die with `DROP DATABASE`). Losing that lock cancels [`Guarded::lost`]. A physical
//! clone of a source has its system identifier and is so refused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use crate::postgres::server::{Server, read_server};
use crate::postgres::target::{
    OtherSession, mark_statement, other_sessions, prepared_transactions, read_database, try_lock_target,
};
use crate::postgres::{ConnectOptions, Session, connect};
use crate::repository::id::RepositoryId;
use crate::repository::{self, Repository};

/// How long a session may take to end that its client has left.
const LEAVING: Duration = Duration::from_secs(1);

/// The same for one of a killed run of ours, whose server process looks for its client once a second.
const LEAVING_OURS: Duration = Duration::from_secs(5);

/// Which guard refused. Nothing has been dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error(
        "server {server} has system identifier {system_identifier}, which occurs in this repository's backups: it is a \
         source or a physical copy of one; restore into a cluster made by initdb"
    )]
    SourceServer { server: String, system_identifier: String },
    /// The target could be that backup's source.
    #[error("{reason}, so nobody knows which server that backup came from; {mend}")]
    UnknownSource { reason: String, mend: &'static str },
    #[error("database '{database}' does not exist on {server}; create it and mark it: CREATE DATABASE ...; {mark}")]
    Absent {
        database: String,
        server: String,
        mark: String,
    },
    #[error(
        "database '{database}' is not marked as disposable{}; if it may be destroyed, its owner runs: {mark}",
        match .found { Some(found) => format!(" for this repository (it carries '{found}')"), None => String::new() }
    )]
    Unmarked {
        database: String,
        found: Option<String>,
        mark: String,
    },
    #[error("database '{database}' is in use by {}; end these sessions first", sessions(.others))]
    InUse {
        database: String,
        others: Vec<OtherSession>,
    },
    #[error(
        "database '{database}' has prepared transactions, which keep their locks until somebody ends them: run \
         COMMIT PREPARED or ROLLBACK PREPARED for {}", .names.join(", ")
    )]
    Prepared { database: String, names: Vec<String> },
    #[error("another restore or drill holds the lock on target '{database}'; wait for it to end")]
    Locked { database: String },
    #[error("the maintenance database must be another than the target '{database}'; name one such as 'postgres'")]
    SameDatabase { database: String },
    #[error(
        "the maintenance connection goes to {maintenance} and the target to {server}; both must be the same server"
    )]
    OtherServer { server: String, maintenance: String },
    #[error("server {server} is a standby in recovery; nothing can be restored into it")]
    Standby { server: String },
    /// After the guards had passed.
    #[error("the session that held the lock on target '{database}' was lost; nothing more was touched")]
    LockLost { database: String },
}

/// A target that passed every guard, for as long as this value lives.
#[derive(Debug)]
pub struct Guarded {
    session: Session,
    target: ConnectOptions,
    repository_id: RepositoryId,
    server: Server,
}

impl Guarded {
    /// Cancelled when the lock's session is gone: whoever destroys or loads must stop.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.session.closed
    }

    /// Does `work`, which ends in its own way once `stop` is cancelled: by the caller, or here when the lock is lost. What
    /// it says then is only the effect; [`Guarded::check`] tells the cause.
    pub async fn run<T>(&self, stop: &CancellationToken, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            () = self.lost().cancelled() => {
                stop.cancel();
                work.await
            }
        }
    }

    /// # Errors
    /// `Refusal::LockLost` once it is so.
    pub fn check(&self) -> Result<()> {
        if self.lost().is_cancelled() {
            return Err(self.lock_lost());
        }
        Ok(())
    }

    #[must_use]
    pub fn target(&self) -> &ConnectOptions {
        &self.target
    }

    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The repository whose id the target's marker carries.
    #[must_use]
    pub fn repository_id(&self) -> &RepositoryId {
        &self.repository_id
    }

    /// A name may lead to several servers: what is about to be emptied must be on the one that was checked.
    pub(super) async fn check_same_server(&self, client: &Client) -> Result<()> {
        let found = read_server(client).await?;
        if found.system_identifier == self.server.system_identifier {
            return Ok(());
        }
        Err(Refusal::OtherServer {
            server: format!("{} ({})", address(&self.target), found.system_identifier),
            maintenance: format!("{} ({})", address(&self.target), self.server.system_identifier),
        }
        .into())
    }

    /// The session in the maintenance database.
    pub(super) fn maintenance(&self) -> &Client {
        &self.session.client
    }

    pub(super) fn lock_lost(&self) -> Error {
        Error::Guard(Refusal::LockLost {
            database: self.target.database.clone(),
        })
    }
}

/// Checks every guard and takes the lock.
///
/// # Errors
/// `Error::Guard` with the guard that refused, or what kept one from being checked.
pub async fn guard(repository: &Repository, target: &ConnectOptions, maintenance: &ConnectOptions) -> Result<Guarded> {
    let identifiers = repository.system_identifiers().await.map_err(unknown_source)?;
    guard_against(&identifiers, repository.id(), target, maintenance).await
}

/// A root that cannot be read keeps every target from being used, and says nothing about the backup that is drilled.
fn unknown_source(error: repository::Error) -> Error {
    let mend = match &error {
        repository::Error::UnknownFormat { .. } => "update this program",
        _ => "remove that object if this server is not its source",
    };
    if error.is_unreadable_object() {
        let reason = error.to_string();
        return Refusal::UnknownSource { reason, mend }.into();
    }
    error.into()
}

/// The same for a repository whose sources' identifiers are known.
///
/// # Errors
/// As [`guard`].
pub async fn guard_against(
    identifiers: &BTreeSet<String>,
    repository_id: &RepositoryId,
    target: &ConnectOptions,
    maintenance: &ConnectOptions,
) -> Result<Guarded> {
    let database = target.database.clone();
    if maintenance.database == database {
        return Err(Refusal::SameDatabase { database }.into());
    }
    if (&maintenance.host, maintenance.port) != (&target.host, target.port) {
        return Err(Refusal::OtherServer {
            server: address(target),
            maintenance: address(maintenance),
        }
        .into());
    }
    let session = connect(maintenance, "guard").await?;
    let server = read_server(&session.client).await?;
    if identifiers.contains(&server.system_identifier) {
        return Err(Refusal::SourceServer {
            server: address(target),
            system_identifier: server.system_identifier,
        }
        .into());
    }
    if server.in_recovery {
        return Err(Refusal::Standby {
            server: address(target),
        }
        .into());
    }
    check_marker(&session.client, repository_id, target).await?;
    if !lock(&session.client, &database).await? {
        return Err(Refusal::Locked { database }.into());
    }
    let others = sessions_that_stay(&session.client, &database).await?;
    if !others.is_empty() {
        return Err(Refusal::InUse { database, others }.into());
    }
    let names = prepared_transactions(&session.client, &database).await?;
    if !names.is_empty() {
        return Err(Refusal::Prepared { database, names }.into());
    }
    tracing::info!(database = %target.database, server = %server.system_identifier, "every guard passed");
    Ok(Guarded {
        session,
        target: target.clone(),
        repository_id: repository_id.clone(),
        server,
    })
}

/// Sessions that are still there after a moment: a server takes one to end those whose client has gone.
async fn sessions_that_stay(client: &Client, database: &str) -> Result<Vec<OtherSession>> {
    let since = Instant::now();
    loop {
        let others = other_sessions(client, database).await?;
        let ours = |other: &OtherSession| {
            other.application.starts_with("kubebackup ")
                || ["pg_restore", "pg_dump"].contains(&other.application.as_str())
        };
        let limit = if others.iter().all(ours) { LEAVING_OURS } else { LEAVING };
        if others.is_empty() || since.elapsed() > limit {
            return Ok(others);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The session that held the lock before may not have ended on the server yet, though its client has left.
async fn lock(client: &Client, database: &str) -> Result<bool> {
    let since = Instant::now();
    while !try_lock_target(client, database).await? {
        if since.elapsed() > LEAVING {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

async fn check_marker(client: &Client, repository_id: &RepositoryId, target: &ConnectOptions) -> Result<()> {
    let database = target.database.clone();
    let mark = mark_statement(&database, repository_id.as_str());
    let Some(facts) = read_database(client, &database).await? else {
        return Err(Refusal::Absent {
            database,
            server: address(target),
            mark,
        }
        .into());
    };
    if facts.marker.as_deref() != Some(repository_id.as_str()) {
        return Err(Refusal::Unmarked {
            database,
            found: facts.marker,
            mark,
        }
        .into());
    }
    Ok(())
}

fn address(options: &ConnectOptions) -> String {
    format!("{}:{}", options.host, options.port)
}

fn sessions(others: &[OtherSession]) -> String {
    let names: Vec<String> = others
        .iter()
        .map(|other| format!("process {} of {} ({})", other.pid, other.user, other.application))
        .collect();
    names.join(", ")
}
