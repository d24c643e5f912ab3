//! The repository, opened once under one set of settings and looked at again and again.

use std::sync::Arc;
use std::time::Instant;

use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::agent::open::open_store;
use crate::agent::view::View;
use crate::config::Settings;
use crate::http::status::{RepositoryStatus, StoreCounts};
use crate::repository::Repository;
use crate::storage::ObjectStore;

/// The repository of these settings, and what was read of it so far.
#[derive(Debug)]
pub(super) struct Bucket {
    settings: Arc<Settings>,
    /// Kept, so that the counts of its requests accumulate.
    store: Option<Arc<dyn ObjectStore>>,
    repository: Option<Repository>,
    view: View,
    /// Requests to the stores of earlier settings.
    earlier: StoreCounts,
}

/// One look.
#[derive(Debug)]
pub(super) struct Look {
    /// For the next one.
    pub(super) bucket: Bucket,
    pub(super) began: Instant,
    pub(super) seen: Result<Seen>,
}

/// What was seen, and where.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) repository: Repository,
    pub(super) status: Arc<RepositoryStatus>,
}

impl Bucket {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            store: None,
            repository: None,
            view: View::default(),
            earlier: StoreCounts::default(),
        }
    }

    /// That of `settings`: this one, unless they have changed.
    pub(super) fn under(self, settings: &Arc<Settings>) -> Self {
        if self.is_of(settings) {
            return self;
        }
        Self {
            earlier: self.requests(),
            ..Self::new(Arc::clone(settings))
        }
    }

    /// Whether it was opened by these very settings.
    pub(super) fn is_of(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    pub(super) async fn look(mut self, live: Live) -> Look {
        let began = Instant::now();
        let seen = self.see().await;
        live.set_store_counts(self.requests());
        Look {
            bucket: self,
            began,
            seen,
        }
    }

    async fn see(&mut self) -> Result<Seen> {
        let store = match &self.store {
            Some(store) => store,
            None => self.store.insert(open_store(&self.settings.repository).await?),
        };
        let repository = match &self.repository {
            Some(repository) => repository.clone(),
            None => self
                .repository
                .insert(Repository::open(Arc::clone(store)).await?)
                .clone(),
        };
        let status = self.view.refresh(&repository, self.settings.cluster.as_deref()).await?;
        Ok(Seen {
            repository,
            status: Arc::new(status),
        })
    }

    /// So far, under these and earlier settings.
    fn requests(&self) -> StoreCounts {
        let mut requests = self.earlier.clone();
        if let Some(store) = &self.store {
            requests.add(&StoreCounts::from(&store.stats()));
        }
        requests
    }
}
