//! A verification by what a caller chose.

use tokio_util::sync::CancellationToken;

use super::choose::{BackupChoice, choose_backup};
use super::error::{Error, Result};
use super::open::open_repository;
use crate::config::Settings;
use crate::repository::id::VerifyId;
use crate::repository::{self, VerifyOptions, VerifyReport};
use crate::telemetry::progress::Progress;

/// Chunks read at once; each is a few MiB in memory.
const CONCURRENCY: usize = 8;

/// Reads every object of the chosen backup again, or of all backups when none is chosen.
///
/// # Errors
/// Whatever kept an object from being judged. Damage is in the report.
pub async fn verify(
    settings: &Settings,
    choice: Option<&BackupChoice>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<VerifyReport> {
    let repository = open_repository(settings).await?;
    let backups = match choice {
        None => Vec::new(),
        // A damaged root is a finding of the verification, not a reason not to begin one.
        Some(BackupChoice::Id(backup_id)) => vec![backup_id.clone()],
        Some(choice) => match choose_backup(&repository, choice, settings.cluster.as_deref()).await {
            Ok(chosen) => vec![chosen.manifest.backup_id],
            Err(error) => vec![error.damaged_root().ok_or(error)?],
        },
    };
    let options = VerifyOptions {
        verify_id: VerifyId::new(crate::telemetry::clock::now(), rand::random()),
        backups,
        concurrency: CONCURRENCY,
        record: true,
    };
    let report = repository::verify(&repository, &options, progress, cancel).await?;
    // Where all roots are gone, nothing is sound.
    if report.backups.is_empty() && !cancel.is_cancelled() {
        return Err(Error::NoBackup { cluster: None });
    }
    Ok(report)
}
