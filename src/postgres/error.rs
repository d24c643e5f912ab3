//! What went wrong with a server, by what can be done about it.

use super::circumstance::Circumstance;
use super::lock_holder::{LockHolder, in_the_way};
use super::said::Said;
use super::server_error::ServerError;

/// Result of anything done with a server.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of or around a PostgreSQL server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that cannot work; the text names the setting and the mend.
    #[error("{0}")]
    Settings(String),
    #[error("connect to {server}")]
    Connect {
        /// `host:port/database as user`
        server: String,
        #[source]
        source: ServerError,
    },
    /// The server, or something in its place, took the connection and did not answer.
    #[error("connect to {server}: no answer within {seconds} seconds")]
    ConnectTimeout { server: String, seconds: u64 },
    /// It keeps its connections and answers no new one: stopped, or behind a network that swallows answers.
    #[error(
        "{server} has fallen silent: it answered none of {looks} new connections in a row, each within {seconds} seconds"
    )]
    Silent { server: String, looks: u32, seconds: u64 },
    /// The server was switched over, or the address leads to more than one.
    #[error("{server} is another server now than the one whose snapshot is being read")]
    AnotherServer { server: String },
    #[error("{doing}")]
    Query {
        /// What was being done, a short verb phrase.
        doing: String,
        #[source]
        source: ServerError,
    },
    /// The server makes no database beside the target to compare it with.
    #[error("no scratch database to compare with")]
    NoScratch {
        #[source]
        source: ServerError,
    },
    /// The role cannot read everything that a backup must hold. Nothing was locked.
    #[error(
        "the role cannot read {} of the objects to back up: {}; grant it pg_read_all_data (and BYPASSRLS where row-level \
         security is on)",
        .objects.len(),
        first_of(.objects)
    )]
    Unreadable { objects: Vec<String> },
    /// Another session kept a lock in a target for longer than the load waits for it.
    #[error("{doing}: another session holds a lock{}", in_the_way(.holders))]
    Locked {
        doing: String,
        /// Who was seen in the way just afterwards.
        holders: Vec<LockHolder>,
        #[source]
        source: ServerError,
    },
    /// Other sessions kept stronger locks for longer than `backup.lock_timeout`.
    #[error("locking {tables} table(s) took longer than backup.lock_timeout{}", in_the_way(.holders))]
    LockTimeout {
        tables: usize,
        /// Who was seen in the way just afterwards.
        holders: Vec<LockHolder>,
        #[source]
        source: ServerError,
    },
    /// Definitions kept changing around the snapshot; a later run may find a quieter moment.
    #[error("definitions kept changing while the snapshot was taken: {reason}")]
    Unstable { reason: String },
    /// Somebody waits for a lock that conflicts with ours, and production goes first.
    #[error("gave way to production: {reason}")]
    Yielded { reason: String },
    /// The server is going down and waits for our sessions to leave.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// An object that neither `pg_dump` nor this program can carry.
    #[error("{object} cannot be backed up: {reason}")]
    Unsupported { object: String, reason: String },
    /// A client program could not be run, or did not exit 0.
    #[error("{program}: {message}")]
    Program { program: String, message: Said },
    /// The server said something that the protocol does not allow here.
    #[error("{0}")]
    Protocol(String),
    /// A COPY ended without the number of rows that the server has sent, which alone says that they are all.
    #[error("{doing}: the server did not say how many rows it has sent")]
    NoCount { doing: String },
}

impl Error {
    /// Wraps a query's error with what was being done.
    pub(crate) fn query(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Query {
            doing,
            source: source.into(),
        }
    }

    /// The server's own message, where it answered with a refusal; none when the connection or a program failed, or a
    /// circumstance kept the server from answering. Without the values of rows.
    #[must_use]
    pub fn server_message(&self) -> Option<String> {
        match self {
            Self::Query { .. } if Circumstance::of(self).is_some() => None,
            Self::Query { source, .. } | Self::NoScratch { source } => source.message(),
            _ => None,
        }
    }

    /// A row's text did not fit the one buffer that the server builds it in.
    #[must_use]
    pub fn is_row_too_large(&self) -> bool {
        let is_limit = self.sqlstate() == Some(&tokio_postgres::error::SqlState::PROGRAM_LIMIT_EXCEEDED);
        let message = self.server_message().unwrap_or_default();
        is_limit || message.starts_with("invalid memory alloc request size")
    }

    /// The server's SQLSTATE, where the error came from the server.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Connect { source, .. }
            | Self::Query { source, .. }
            | Self::Locked { source, .. }
            | Self::LockTimeout { source, .. }
            | Self::NoScratch { source } => source.code(),
            _ => None,
        }
    }
}

fn first_of(objects: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = objects.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if objects.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}
