//! The repository, opened once and looked at again and again.

use std::sync::Arc;
use std::time::Instant;

use crate::agent::error::{Error, Result};
use crate::agent::live::Live;
use crate::agent::open::open_repository;
use crate::agent::view::View;
use crate::config::Settings;
use crate::http::status::RepositoryStatus;
use crate::repository::Repository;

/// The repository of these settings, and what was read of it so far.
#[derive(Debug)]
pub(super) struct Bucket {
    settings: Arc<Settings>,
    repository: Option<Repository>,
    view: View,
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
    pub(super) status: RepositoryStatus,
}

impl Bucket {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            repository: None,
            view: View::default(),
        }
    }

    /// Whether it was opened by these very settings.
    pub(super) fn is_of(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    pub(super) async fn look(mut self, live: Live) -> Look {
        let began = Instant::now();
        let seen = self.see(&live).await;
        if seen.as_ref().is_err_and(Error::is_refused_by_store) {
            // Opened anew the next time, with credentials read anew.
            self.repository = None;
        }
        Look {
            bucket: self,
            began,
            seen,
        }
    }

    async fn see(&mut self, live: &Live) -> Result<Seen> {
        let repository = match &self.repository {
            Some(repository) => repository.clone(),
            None => self.repository.insert(open_repository(&self.settings).await?).clone(),
        };
        let status = self.view.refresh(&repository, self.settings.cluster.as_deref()).await;
        live.set_store_counts((&repository.store().stats()).into());
        Ok(Seen {
            status: status?,
            repository,
        })
    }
}
