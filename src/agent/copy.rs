//! Copies of the repository's backups in the other places that the settings name.

use std::time::Duration;

use super::error::Result;
use super::open::{open_repository, open_store, probe};
use crate::config::{CopySettings, Settings};
use crate::repository::{self, CopyOptions, CopyReport, Repository};
use crate::telemetry::progress::Progress;

/// Chunks on their way at once; each is a few MiB in memory.
const CONCURRENCY: usize = 8;

/// What became of one place.
#[derive(Debug)]
pub struct Copied {
    /// Its name in the settings.
    pub name: String,
    pub result: Result<CopyReport>,
}

impl Copied {
    /// Every backup is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.result.as_ref().is_ok_and(|report| report.left.is_empty())
    }
}

/// Brings every backup of the repository to the copies named `names` (none: all), one place after the other. A place
/// that cannot be used keeps no other one from its backups.
///
/// # Errors
/// When the repository cannot be opened, or no copy has one of the names.
pub async fn copy(settings: &Settings, names: &[String], progress: &dyn Progress) -> Result<Vec<Copied>> {
    let mut chosen = Vec::new();
    for name in names {
        chosen.push(settings.copy(name)?);
    }
    if names.is_empty() {
        chosen.extend(settings.require_copies()?);
    }
    let from = open_repository(settings).await?;
    let mut copied = Vec::new();
    for place in chosen {
        copied.push(copy_to(&from, place, settings.prune.grace.0, progress).await);
    }
    Ok(copied)
}

/// Brings what one place lacks. A prune over there spares what nothing refers to for `grace`.
pub(super) async fn copy_to(
    from: &Repository,
    place: &CopySettings,
    grace: Duration,
    progress: &dyn Progress,
) -> Copied {
    let copied = async {
        let store = open_store(&place.repository).await?;
        probe(store.as_ref()).await?;
        let to = repository::open_copy(from, store).await?;
        let options = CopyOptions {
            concurrency: CONCURRENCY,
            grace,
        };
        Ok(repository::copy(from, &to, &options, progress).await?)
    };
    Copied {
        name: place.name.clone(),
        result: copied.await,
    }
}
