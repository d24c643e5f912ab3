//! Why a repository could not be read or written, in terms of what a caller can do about it.

use super::id::{BackupId, ParseIdError, RepositoryId};
use super::layout::Key;
use super::lease::Occupant;
use crate::storage;
use crate::telemetry::plain;

/// Result of a repository operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed repository operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of ours lies under this prefix: a first backup creates it, anyone else has the wrong bucket or prefix.
    #[error("there is no repository here: 'repository.json' does not exist")]
    Missing,
    /// A copy holds the backups of one repository alone.
    #[error("here lies repository {found} and not a copy of {expected}: give the copy a place of its own")]
    OtherRepository {
        expected: RepositoryId,
        found: RepositoryId,
    },
    /// Written by a newer version; update this program.
    #[error("'{key}' has format version {found}, and this version reads only {known}")]
    UnknownFormat { key: String, found: u64, known: u32 },
    #[error("there is no backup {0}: '{key}' does not exist", key = Key::Manifest(.0.clone()))]
    NoSuchBackup(BackupId),
    #[error("backup {0} is held")]
    Held(BackupId),
    /// A person holds it, and an expiry that had begun before has let its root go. Its chunks stay for as long as it is held.
    #[error(
        "backup {backup_id} is held, but an expiry that had begun before has let it go, and its manifest could not be put back"
    )]
    HeldAway {
        backup_id: BackupId,
        #[source]
        source: Box<Error>,
    },
    /// The object is not what was written, or is gone. Other backups may be sound.
    #[error("'{key}' is damaged: {reason}")]
    Damaged { key: String, reason: String },
    /// A chunk that the backup being written refers to is no longer as it was. The next run stores it anew.
    #[error("'{key}', which this backup refers to, {reason}; run the backup again")]
    LostChunk { key: String, reason: String },
    /// An object of this key exists with other contents; nothing was overwritten.
    #[error("'{key}' exists already with other contents")]
    Conflict { key: String },
    /// The root was sent, and nobody knows what became of it. A backup that exists is whole.
    #[error("it is not known whether backup {backup_id} exists: nobody says what became of its manifest")]
    PublishedOrNot {
        backup_id: BackupId,
        #[source]
        source: storage::Error,
    },
    /// What a backup needs cannot be told, so nothing is deleted that it might need.
    #[error("nothing is pruned while it cannot be told what backup {backup_id} needs")]
    Unmarked {
        backup_id: BackupId,
        #[source]
        source: Box<Error>,
    },
    /// Somebody else has taken the lease under which this was done.
    #[error(
        "the lease of the cluster's backups has gone to '{}' (generation {})",
        .occupant.holder, .occupant.generation
    )]
    LeaseLost { occupant: Occupant },
    /// So old that prune may have taken what it has stored first.
    #[error("the backup took longer than {}s by the store's clock", .limit.as_secs())]
    TooLate { limit: std::time::Duration },
    /// The root object must stay small.
    #[error(
        "the root of this backup has {bytes} bytes, at most {limit} are allowed: back up fewer databases in one run"
    )]
    RootTooLarge { bytes: usize, limit: usize },
    /// What was handed over does not fit together; a fault of this program, not of the repository.
    #[error("a backup that does not fit together is not written: {reason}")]
    Invalid { reason: String },
    #[error("zstd could not be used")]
    Zstd(#[source] std::io::Error),
    #[error("could not write JSON")]
    Json(#[source] serde_json::Error),
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Error {
    pub(crate) fn damaged(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            key: clean(&key.into()),
            reason: clean(&reason.into()),
        }
    }

    pub(super) fn unmarked(backup_id: &BackupId, source: Self) -> Self {
        match source {
            // The store is away, or does not let us: not the backup's fault, and said as such.
            Self::Storage(error) => Self::Storage(error),
            source => Self::Unmarked {
                backup_id: backup_id.clone(),
                source: Box::new(source),
            },
        }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// What a failed GET of an object that a backup refers to means: an object that is gone, or whose bytes contradict
    /// the checksum its store kept, is damage; anything else is the store's trouble.
    pub(super) fn of_get(error: storage::Error) -> Self {
        match error.kind {
            storage::ErrorKind::NotFound => Self::damaged(error.key, "missing"),
            storage::ErrorKind::Checksum => {
                let said = error
                    .source
                    .as_ref()
                    .map_or_else(String::new, |said| format!(": {said}"));
                Self::damaged(error.key, format!("its store found its bytes damaged{said}"))
            }
            storage::ErrorKind::TooLarge => {
                let size = error
                    .source
                    .as_ref()
                    .map_or_else(String::new, |size| format!(": {size}"));
                Self::damaged(error.key, format!("larger than it may be{size}"))
            }
            _ => Self::Storage(error),
        }
    }

    /// What an error of a `FrameReader` means.
    pub(super) fn of_frame(error: std::io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Zstd)
    }

    /// The backup whose root is damaged, where that is what went wrong.
    #[must_use]
    pub fn damaged_root(&self) -> Option<BackupId> {
        match self.damaged_key()?.parse() {
            Ok(Key::Manifest(backup_id)) => Some(backup_id),
            _ => None,
        }
    }

    /// Whether one object alone cannot be read: it is damaged, or a newer version of this program wrote it. Others can
    /// be read all the same.
    #[must_use]
    pub fn is_unreadable_object(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::UnknownFormat { .. })
    }

    /// Whether the store answers and keeps this object back: a policy, or a key that it was encrypted with and that is
    /// gone. Others may be read all the same; when it refuses all, the trouble is ours.
    #[must_use]
    pub fn is_refused_object(&self) -> bool {
        use storage::ErrorKind::{Denied, Other};
        matches!(self, Self::Storage(error) if matches!(error.kind, Denied | Other))
    }

    /// Whether the way to the objects is at fault and none of them: the store went away, somebody else answered for it, or
    /// another version of this program wrote what is there.
    #[must_use]
    pub fn is_circumstance(&self) -> bool {
        use storage::ErrorKind::{Other, Unsupported};
        match self {
            Self::Storage(error) => {
                error.is_unavailable() || error.is_of_place() || matches!(error.kind, Other | Unsupported)
            }
            Self::UnknownFormat { .. } => true,
            _ => false,
        }
    }

    /// The key of the object at fault, where the fault is the object's.
    #[must_use]
    pub fn damaged_key(&self) -> Option<&str> {
        match self {
            Self::Damaged { key, .. } | Self::LostChunk { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// Such words quote what lies in the bucket, which may be of any length and hold what moves a terminal or forges a line of
/// a log.
fn clean(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut clean = String::new();
    for character in text.chars() {
        if clean.len() >= LONGEST {
            clean.push_str("...");
            break;
        }
        plain::push(&mut clean, character);
    }
    clean
}

impl From<ParseIdError> for Error {
    fn from(error: ParseIdError) -> Self {
        Self::invalid(error.to_string())
    }
}
