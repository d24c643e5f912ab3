//! Why a restore, a guard or a wipe stopped, by what a caller can do about it.

use super::guard::Refusal;
use super::preflight::Problem;
use crate::content::QualifiedName;
use crate::{postgres, repository};

/// Result of anything in this room.
pub type Result<T> = std::result::Result<T, Error>;

/// A restore that did not happen or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Found before anything was touched; each problem names its object and its mend.
    #[error("not restored: {}", join(.0))]
    Preflight(Vec<Problem>),
    /// A guard refused, or the lock that it held was lost.
    #[error(transparent)]
    Guard(#[from] Refusal),
    /// The target's machine cannot make a database like the source's.
    #[error(
        "the target server cannot create a database with encoding {encoding} and locale {locale}: install that locale on its machine"
    )]
    MissingLocale {
        encoding: String,
        locale: String,
        #[source]
        source: postgres::Error,
    },
    /// After the wipe something is left that a fresh database does not have.
    #[error("the wiped database does not equal a fresh copy of template0: {}", .0.join("; "))]
    Residue(Vec<String>),
    /// The server took another number of rows than the backup holds for this table.
    #[error("{table}: the backup holds {stored} rows and {loaded} were loaded")]
    Rows {
        table: QualifiedName,
        stored: u64,
        loaded: u64,
    },
    /// The selection names what the backup does not have, or what it leads to cannot be restored on its own.
    #[error("{0}")]
    Selection(String),
    /// Parts of the backup contradict each other.
    #[error("the backup contradicts itself: {0}")]
    Contradiction(String),
    /// The caller's token was cancelled. The target is incomplete.
    #[error("interrupted")]
    Interrupted,
    #[error("a worker ended early")]
    Worker(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
}

fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
