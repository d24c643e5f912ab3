//! What a run works with under one set of settings: the repository, opened when first needed and kept, so that the
//! counts of its requests accumulate, and the server.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::agent::backup::{BackupOverrides, backup_options};
use crate::agent::error::Result;
use crate::agent::open::{open_store, prepare_repository, source};
use crate::backup::BackupOptions;
use crate::config::{PaceSetting, RunOn, Settings};
use crate::http::status::StoreCounts;
use crate::postgres::server::read_in_recovery;
use crate::postgres::{ConnectOptions, Environment, connect};
use crate::repository::{LeaseOptions, Repository};
use crate::storage::ObjectStore;
use crate::telemetry::failpoint;

/// Settings and what they open.
#[derive(Debug)]
pub(super) struct Workplace {
    pub(super) settings: Settings,
    environment: Environment,
    holder: String,
    store: OnceCell<Arc<dyn ObjectStore>>,
    repository: OnceCell<Repository>,
}

impl Workplace {
    /// `holder` names this process among all that back the cluster up.
    pub(super) fn new(settings: Settings, environment: Environment, holder: String) -> Self {
        Self {
            settings,
            environment,
            holder,
            store: OnceCell::new(),
            repository: OnceCell::new(),
        }
    }

    /// The same at the start of a pod, where the password's file may still be missing: its Secret is waited for, as the
    /// server is. An agent that ended would take production's pod out of its Service.
    pub(super) fn check_at_start(settings: &Settings, environment: &Environment) -> Result<()> {
        let mut settings = settings.clone();
        settings.source.password_file.take_if(|file| !file.exists());
        Self::check(&settings, environment)
    }

    /// What the agent needs beyond what all settings must be.
    pub(super) fn check(settings: &Settings, environment: &Environment) -> Result<()> {
        settings.repository.require_location()?;
        options_of_the_agent(settings)?;
        source(settings, environment)?;
        Ok(())
    }

    pub(super) async fn repository(&self) -> Result<&Repository> {
        let store = self
            .store
            .get_or_try_init(|| open_store(&self.settings.repository))
            .await?;
        let prepare = || prepare_repository(Arc::clone(store));
        self.repository.get_or_try_init(prepare).await
    }

    /// Requests so far; none before there is a store.
    pub(super) fn requests(&self) -> Option<StoreCounts> {
        self.store.get().map(|store| StoreCounts::from(&store.stats()))
    }

    pub(super) fn backup_options(&self) -> Result<BackupOptions> {
        options_of_the_agent(&self.settings)
    }

    pub(super) fn lease_options(&self) -> Result<LeaseOptions> {
        Ok(LeaseOptions {
            cluster: self.settings.require_cluster()?.to_owned(),
            holder: self.holder.clone(),
            duration: self.settings.backup_agent.lease_duration.0,
        })
    }

    pub(super) fn lacks_password(&self) -> bool {
        let file = self.settings.source.password_file.as_ref();
        file.is_some_and(|file| !file.exists())
    }

    /// The server as the files say now: a password that was replaced is read anew.
    pub(super) fn source(&self) -> Result<ConnectOptions> {
        source(&self.settings, &self.environment)
    }

    /// Why it is not this server that is to be backed up, if so. No run has begun that would notice a server that stands
    /// still from here on, so its answer has a time of its own.
    pub(super) async fn wrong_role(&self, source: &ConnectOptions) -> Result<Option<String>> {
        let session = connect(source, "role").await?;
        failpoint::reach("before-role").await;
        let is_standby = source.answered_in_time(read_in_recovery(&session.client)).await?;
        let (is, wanted) = match (self.settings.backup_agent.run_on, is_standby) {
            (RunOn::Primary, true) => ("a standby", "primary"),
            (RunOn::Standby, false) => ("a primary", "standby"),
            _ => return Ok(None),
        };
        Ok(Some(format!("the server is {is} and backup_agent.run_on is {wanted}")))
    }
}

/// Nobody waits for a backup of the agent, and production runs beside it: it is polite unless the settings say otherwise.
fn options_of_the_agent(settings: &Settings) -> Result<BackupOptions> {
    let overrides = BackupOverrides {
        pace: settings.backup.pace.or(Some(PaceSetting::Polite)),
        ..BackupOverrides::default()
    };
    backup_options(settings, &overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::PaceOption;
    use crate::config;

    #[test]
    fn the_agent_lets_production_go_first_unless_it_is_told_otherwise() {
        for (pace, expected) in [
            (None, PaceOption::Polite),
            (Some("full"), PaceOption::Full),
            (Some("polite"), PaceOption::Polite),
        ] {
            let cluster = ("KUBEBACKUP_CLUSTER".to_owned(), "c".to_owned());
            let variable = pace.map(|pace| ("KUBEBACKUP_BACKUP_PACE".to_owned(), pace.to_owned()));
            let settings = config::load(None, std::iter::once(cluster).chain(variable)).unwrap();
            assert_eq!(options_of_the_agent(&settings).unwrap().pace, expected, "{pace:?}");
        }
    }
}
