//! Arguments that several verbs share: which backup, and which database of which server.

use std::path::PathBuf;

use clap::Args;

use crate::agent::{BackupChoice, RestoreTarget};

/// The ways to name a backup, wherever one is named.
pub(super) const WHICH: &str = "'latest', 'certified' (the newest certified one), 'trusted' (the newest of those that lacks nothing of an earlier \
                                one) or a backup's id";

/// Which backup.
#[derive(Debug, Args)]
pub(super) struct BackupArgument {
    #[arg(long, value_name = "BACKUP", default_value = "latest", help = WHICH)]
    pub(super) backup: BackupChoice,
}

/// Where a person's database is. The password comes from elsewhere.
#[derive(Debug, Args)]
pub(super) struct IntoArguments {
    /// File that holds the target's password and nothing else [default: PGPASSWORD or the passfile]
    #[arg(long, value_name = "FILE", requires = "into")]
    password_file: Option<PathBuf>,

    /// Database of the target's server to be connected to meanwhile
    #[arg(long, value_name = "NAME", default_value = "postgres", requires = "into")]
    maintenance_database: String,
}

impl IntoArguments {
    pub(super) fn target<'a>(&'a self, into: &'a str) -> RestoreTarget<'a> {
        RestoreTarget {
            into,
            password_file: self.password_file.as_deref(),
            maintenance_database: &self.maintenance_database,
        }
    }
}
