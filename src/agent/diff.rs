//! `diff`: which two backups are meant, and what changed between them.

use super::choose::{BackupChoice, choose_backup};
use super::error::Result;
use crate::repository::diff::{self, BackupDiff};
use crate::repository::{Repository, StoredManifest};

/// Two backups and what changed from the first to the second.
#[derive(Clone, Debug)]
pub struct Diffed {
    pub from: StoredManifest,
    pub to: StoredManifest,
    pub diff: BackupDiff,
}

/// Compares two backups by their indexes.
///
/// # Errors
/// As for [`choose_backup`]; `Damaged` for an index that cannot be read, or the store's own.
pub async fn diff(
    repository: &Repository,
    from: &BackupChoice,
    to: &BackupChoice,
    cluster: Option<&str>,
) -> Result<Diffed> {
    let from = choose_backup(repository, from, cluster).await?;
    let to = choose_backup(repository, to, cluster).await?;
    let diff = diff::diff(repository, &from, &to).await?;
    Ok(Diffed { from, to, diff })
}
