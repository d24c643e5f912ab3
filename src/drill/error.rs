//! Why a comparison or a drill came to no answer. What it found wrong is no error: that is a failed check.

use super::certificate::Cause;
use crate::{postgres, repository, restore};

/// Result of anything in this room.
pub type Result<T> = std::result::Result<T, Error>;

/// No answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's token was cancelled.
    #[error("interrupted")]
    Interrupted,
    /// The target is incomplete; nothing is known about the backup.
    #[error("the drill took longer than drill.max_duration ({}s)", .limit.as_secs())]
    TooLong { limit: std::time::Duration },
    /// Only for who gives way.
    #[error("another drill or a restore holds the target '{database}'")]
    Held { database: String },
    /// A circumstance of the target kept required checks from being made; those that were made passed.
    #[error("{reason}")]
    NotCompared { cause: Cause, reason: String },
    #[error("a worker ended early")]
    Worker(#[from] tokio::task::JoinError),
    #[error("write the certificate")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
    #[error(transparent)]
    Restore(#[from] restore::Error),
}

impl Error {
    /// The key of the object of the repository that is damaged, where that is what went wrong.
    #[must_use]
    pub fn damaged_key(&self) -> Option<&str> {
        match self {
            Self::Repository(error) | Self::Restore(restore::Error::Repository(error)) => error.damaged_key(),
            _ => None,
        }
    }
}
