//! Copies of the repository's backups in the other places that the settings name.

use std::sync::Arc;

use super::error::Result;
use super::open::{open_repository, open_store, probe};
use super::retention::policy;
use crate::config::{CopySettings, Settings};
use crate::repository::{self, CopyOptions, CopyReport, Repository};
use crate::storage::ObjectStore;
use crate::telemetry::progress::Progress;

/// Chunks on their way at once when a person waits; each is a few MiB in memory.
const CONCURRENCY: usize = 8;

/// What became of one place.
#[derive(Debug)]
pub struct Copied {
    /// Its name in the settings.
    pub name: String,
    pub result: Result<CopyReport>,
}

impl Copied {
    /// Every backup that belongs there is there.
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
        copied.push(Copied {
            name: place.name.clone(),
            result: copy_to(&from, place, settings, progress).await,
        });
    }
    Ok(copied)
}

async fn copy_to(
    from: &Repository,
    place: &CopySettings,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<CopyReport> {
    let to = repository::open_copy(from, open_place(place).await?).await?;
    let options = copy_options(place, settings, CONCURRENCY);
    Ok(repository::copy(from, &to, &options, progress).await?)
}

/// The store of that place, if it can do what the settings promise.
pub(super) async fn open_place(place: &CopySettings) -> Result<Arc<dyn ObjectStore>> {
    let store = open_store(&place.repository).await?;
    probe(store.as_ref()).await?;
    Ok(store)
}

/// By the rules that hold in that place.
pub(super) fn copy_options(place: &CopySettings, settings: &Settings, concurrency: usize) -> CopyOptions {
    CopyOptions {
        concurrency,
        grace: place.prune(settings).grace.0,
        policy: policy(place.retention(settings)),
        known_locks: Arc::default(),
    }
}
