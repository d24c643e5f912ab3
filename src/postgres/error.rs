//! What went wrong with a server, by what can be done about it.

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
        source: tokio_postgres::Error,
    },
    #[error("{doing}")]
    Query {
        /// What was being done, a short verb phrase.
        doing: String,
        #[source]
        source: tokio_postgres::Error,
    },
    /// A client program could not be run, or did not exit 0.
    #[error("{program}: {message}")]
    Program { program: String, message: String },
    /// The server said something that the protocol does not allow here.
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    /// Wraps a query's error with what was being done.
    pub(crate) fn query(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Query { doing, source }
    }

    /// The server's SQLSTATE, where the error came from the server.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&tokio_postgres::error::SqlState> {
        match self {
            Self::Connect { source, .. } | Self::Query { source, .. } => source.code(),
            Self::Settings(_) | Self::Program { .. } | Self::Protocol(_) => None,
        }
    }
}
