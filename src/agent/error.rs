//! Everything that can stop a verb: what a room below said, or a choice that leads nowhere.

use crate::repository::id::BackupId;
use crate::{backup, config, drill, postgres, repository, restore, storage};

/// Result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// A verb that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] config::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
    #[error(transparent)]
    Backup(#[from] backup::Error),
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// A restore stopped when its target was no longer as it had been found.
    #[error("not restored to the end: database {database} holds a part at most; {next}")]
    Incomplete {
        database: String,
        /// What comes before the next try.
        next: &'static str,
        #[source]
        source: Box<Self>,
    },
    #[error(transparent)]
    Drill(#[from] drill::Error),
    #[error("the repository holds no backup{}", .cluster.as_ref().map(|cluster| format!(" of cluster '{cluster}'")).unwrap_or_default())]
    NoBackup { cluster: Option<String> },
    /// Nothing keeps deletion frozen, or not that backup nor any before it.
    #[error("no drift is to be accepted{}", .0.as_ref().map(|id| format!(" of backup {id} or of any before it")).unwrap_or_default())]
    NoDrift(Option<BackupId>),
    #[error("no backup is certified")]
    NoneCertified,
    #[error(
        "every certified backup lacks something of an earlier one, or was not compared with one, and nobody has accepted that"
    )]
    NoneTrusted,
    /// `--at` before the first backup.
    #[error("no backup is as old as {time}; the oldest was complete at {oldest}")]
    NoBackupAt {
        time: jiff::Timestamp,
        oldest: jiff::Timestamp,
    },
    /// "Latest" has no meaning across clusters.
    #[error("the repository holds backups of several clusters ({}); say which by the setting 'cluster'", .0.join(", "))]
    SeveralClusters(Vec<String>),
    #[error("backup {backup_id} has no database '{name}'; it has {}", .present.join(", "))]
    NoSuchDatabase {
        backup_id: BackupId,
        name: String,
        present: Vec<String>,
    },
    #[error("backup {backup_id} has several databases ({}); choose one with --database", .present.join(", "))]
    SeveralDatabases { backup_id: BackupId, present: Vec<String> },
}

impl Error {
    /// Whether the store does not let these credentials do what the verb has to do.
    #[must_use]
    pub fn is_refused_by_store(&self) -> bool {
        match self {
            Self::Storage(error)
            | Self::Repository(repository::Error::Storage(error))
            | Self::Drill(drill::Error::Repository(repository::Error::Storage(error))) => error.is_refused(),
            _ => false,
        }
    }

    /// The backup whose root is damaged, where that is what stopped the verb.
    pub(super) fn damaged_root(&self) -> Option<BackupId> {
        match self {
            Self::Repository(error) => error.damaged_root(),
            _ => None,
        }
    }
}
