//! What is done in a place: it is filled, and lets go by its own rules. Dropped at any moment, the next one goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::CONCURRENCY;
use crate::agent::backup_agent::retention::{LetGo, Outcome, expire_and_prune};
use crate::agent::backup_agent::workplace::Workplace;
use crate::agent::copy::{copy_options, open_place};
use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::config::{CopySettings, Settings};
use crate::http::status::{CopyCounts, CurrentRetention, RetentionCounts};
use crate::repository::{self, CopyReport, KnownLocks, Repository};
use crate::storage::ObjectStore;
use crate::telemetry::progress::Progress;

/// A copy and what is kept of it between jobs. Not the repository: another volume may be mounted there by the next one.
pub(super) struct Place {
    pub(super) settings: CopySettings,
    store: OnceCell<Arc<dyn ObjectStore>>,
    known_locks: Arc<KnownLocks>,
    letting_go: Mutex<Option<CurrentRetention>>,
}

impl Place {
    pub(super) fn new(settings: CopySettings) -> Self {
        Self {
            settings,
            store: OnceCell::new(),
            known_locks: Arc::default(),
            letting_go: Mutex::default(),
        }
    }

    /// The expiry with prune that goes on there.
    pub(super) fn letting_go(&self) -> Option<CurrentRetention> {
        self.current().clone()
    }

    fn current(&self) -> MutexGuard<'_, Option<CurrentRetention>> {
        // It is replaced as a whole: a panic elsewhere leaves nothing half done.
        self.letting_go.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works in a place under one set of settings.
pub(super) struct Job {
    pub(super) place: Arc<Place>,
    pub(super) workplace: Arc<Workplace>,
    pub(super) cancel: CancellationToken,
    pub(super) live: Live,
}

impl Job {
    pub(super) async fn fill(self: Arc<Self>) -> Result<CopyReport> {
        let from = self.workplace.repository().await?;
        let mut options = copy_options(&self.place.settings, &self.workplace.settings, CONCURRENCY);
        options.known_locks = Arc::clone(&self.place.known_locks);
        let to = self.repository(from).await?;
        Ok(Box::pin(repository::copy(from, &to, &options, &*self)).await?)
    }

    /// Whether the rules of the place are applied after each backup.
    pub(super) fn lets_go(&self) -> bool {
        let rules = self.place.settings.retention(&self.workplace.settings);
        rules.after_backup
    }

    pub(super) async fn let_go(self: Arc<Self>) -> LetGo {
        let started = crate::telemetry::clock::now();
        let at = |step: &str| {
            let step = step.to_owned();
            self.show(Some(CurrentRetention { started, step }));
        };
        at("expire");
        let ended = LetGo::now(started, Box::pin(self.expire_and_prune(at)).await);
        self.show(None);
        ended
    }

    async fn expire_and_prune(&self, at: impl Fn(&str)) -> Outcome {
        let settings = self.settings_there();
        let open = async { self.repository(self.workplace.repository().await?).await };
        let to = open.await.map_err(|error| vec![error])?;
        let count = |done: &RetentionCounts| self.count(|counts| counts.retention.add(done));
        expire_and_prune(&to, &settings, &self.cancel, at, count).await
    }

    /// At once, and whenever the place is told of from here on.
    fn show(&self, current: Option<CurrentRetention>) {
        self.place.current().clone_from(&current);
        self.live.set_copy_retention(&self.place.settings.name, current);
    }

    fn count(&self, change: impl FnOnce(&mut CopyCounts)) {
        self.live.count_copy(&self.place.settings.name, change);
    }

    /// The settings as they hold in this place.
    fn settings_there(&self) -> Settings {
        let settings = &self.workplace.settings;
        Settings {
            retention: self.place.settings.retention(settings).clone(),
            prune: self.place.settings.prune(settings).clone(),
            ..settings.clone()
        }
    }

    /// As it is now: looked at by each job.
    async fn repository(&self, from: &Repository) -> Result<Repository> {
        let open = || open_place(&self.place.settings);
        let store = self.place.store.get_or_try_init(open).await?;
        Ok(repository::open_copy(from, Arc::clone(store)).await?)
    }
}

/// Counts bytes as they arrive.
impl Progress for Job {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.count(|counts| counts.copied_bytes += bytes);
    }

    fn end(&self) {}
}
