//! What a caller chooses about a restore.

use std::path::PathBuf;
use std::time::Duration;

use crate::content::QualifiedName;

/// Which objects of one database to restore. Empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Whole schemas, with all that is in them.
    pub schemas: Vec<String>,
    /// Tables, views or sequences, with all that hangs on them.
    pub tables: Vec<QualifiedName>,
}

impl Selection {
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }
}

/// What becomes of the roles that the database refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolesMode {
    /// Missing ones are created `NOLOGIN`, so that ownership and grants can be restored.
    #[default]
    MissingNoLogin,
    /// Every missing role of the backup is created with its attributes, memberships and settings. Passwords are not in a
    /// backup: those who log in with one need a new one.
    Full,
    /// Nothing is created; a missing role is an error.
    None,
}

/// What becomes of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetUse {
    #[default]
    Kept,
    /// It is rebuilt to be looked at and destroyed: what only its rows' life on disk would gain from is left out.
    ThrownAway,
}

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Sessions that load at the same time, and `pg_restore -j`.
    pub jobs: usize,
    pub selection: Selection,
    pub roles: RolesMode,
    /// Put on every role that is created, so that whoever cleans up knows them again.
    pub role_comment: String,
    /// Create the target database, which must not exist. Needs `maintenance_database`.
    pub create_database: bool,
    /// Where to be connected while the target database does not exist.
    pub maintenance_database: String,
    /// Restore tablespace assignments; the tablespaces must exist.
    pub tablespaces: bool,
    pub analyze: bool,
    /// Longest wait for a lock while loading. The target is the restore's alone, so that somebody holds one is a fault.
    pub lock_timeout: Duration,
    pub target_use: TargetUse,
    /// Directory of `pg_restore`, else found by itself.
    pub bin_directory: Option<PathBuf>,
    /// A fault on purpose, for tests of what must notice it.
    #[cfg(any(test, feature = "demo"))]
    #[doc(hidden)]
    pub fault: Option<LoadFault>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            jobs: 2,
            selection: Selection::default(),
            roles: RolesMode::default(),
            role_comment: "created by kubebackup for a restore".to_owned(),
            create_database: false,
            maintenance_database: "postgres".to_owned(),
            tablespaces: false,
            analyze: true,
            lock_timeout: Duration::from_mins(5),
            target_use: TargetUse::Kept,
            bin_directory: None,
            #[cfg(any(test, feature = "demo"))]
            fault: None,
        }
    }
}

/// A lie told while loading: the chunks are sound, the restored table is not.
#[cfg(any(test, feature = "demo"))]
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// The last row of this table's first segment never reaches the server, and nobody counts.
    DropRow(QualifiedName),
}
