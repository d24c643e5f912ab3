//! Why a backup run ended without a backup.

use std::time::Duration;

use super::plan::Unaccounted;
use crate::repository::Occupant;
use crate::repository::id::BackupId;
use crate::{postgres, repository};

/// Result of a part of a backup run.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed run. Nothing of it is visible in the repository; where that is not known, the error says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Postgres {
        doing: String,
        #[source]
        source: postgres::Error,
    },
    #[error("write to the repository")]
    Repository(#[source] repository::Error),
    #[error(transparent)]
    Unaccounted(#[from] Unaccounted),
    /// Names in the settings that the server does not have.
    #[error("no database named {}; source.databases lists it", .names.join(", "))]
    NoSuchDatabase { names: Vec<String> },
    #[error("no database to back up: none takes connections and is no template")]
    NothingToBackUp,
    #[error("assertion '{name}' could not be evaluated")]
    Assertion {
        name: String,
        #[source]
        source: postgres::Error,
    },
    #[error("the run took longer than backup.max_duration ({}s)", .limit.as_secs())]
    TooLong { limit: Duration },
    #[error(
        "another agent ('{}') has taken over the backups of this cluster", .occupant.holder
    )]
    LeaseLost { occupant: Occupant },
    #[error("the session that holds the snapshot of database {database} was lost")]
    SnapshotLost {
        database: String,
        /// What the server said, where it said anything.
        #[source]
        source: Option<postgres::Error>,
    },
    /// It takes connections, or something in its place does, and answers nobody.
    #[error("the server has stopped answering: {looks} times in a row it did not let us look after production")]
    Silent {
        looks: u32,
        #[source]
        source: postgres::Error,
    },
    #[error("database {name} was dropped while the backup ran")]
    DatabaseDropped {
        name: String,
        #[source]
        source: postgres::Error,
    },
    /// An outcome rather than a fault: somebody asked for it.
    #[error("cancelled")]
    Cancelled,
    /// The one end of a run of which nobody knows whether it made a backup. One that exists is whole.
    #[error("cancelled, and it is not known whether backup {backup_id} exists: its manifest was on its way")]
    CancelledPublishing { backup_id: BackupId },
    /// A task ended in a way that no code path provides for.
    #[error("a worker ended unexpectedly: {0}")]
    Worker(String),
}

impl Error {
    #[allow(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn from_join(error: tokio::task::JoinError) -> Self {
        if error.is_cancelled() {
            Self::Cancelled
        } else {
            Self::Worker(error.to_string())
        }
    }

    /// Wraps a server's error with what was being done.
    pub(super) fn postgres(doing: impl Into<String>) -> impl FnOnce(postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Postgres { doing, source }
    }
}

impl From<repository::Error> for Error {
    fn from(error: repository::Error) -> Self {
        match error {
            repository::Error::LeaseLost { occupant } => Self::LeaseLost { occupant },
            repository::Error::TooLate { limit } => Self::TooLong { limit },
            error => Self::Repository(error),
        }
    }
}

impl From<postgres::Error> for Error {
    fn from(source: postgres::Error) -> Self {
        Self::Postgres {
            doing: "read from the source".to_owned(),
            source,
        }
    }
}
