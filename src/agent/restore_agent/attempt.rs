//! One drill of the backup that was chosen, from its root to its certificate.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::choose::Choice;
use super::target::{Target, look_at};
use crate::agent::drill::{DrillOverrides, drill_options};
use crate::agent::error::{Error, Result};
use crate::agent::live::{Live, LiveProgress};
use crate::config::Settings;
use crate::drill::{self, Certificate, DrillOptions, Verdict};
use crate::http::status::Outcome;
use crate::postgres::Environment;
use crate::repository::id::BackupId;
use crate::repository::{self, Repository};
use crate::telemetry::causes::chain;

/// A drill that is to be made.
pub(super) struct Attempt {
    pub(super) settings: Arc<Settings>,
    pub(super) environment: Environment,
    pub(super) repository: Repository,
    pub(super) live: Live,
    pub(super) progress: LiveProgress,
    pub(super) choice: Choice,
    pub(super) cancel: CancellationToken,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With a certificate in the bucket.
    Certificate(Box<Certificate>),
    /// Somebody else is at it, or the backup is gone.
    Skipped(String),
    Interrupted,
    /// Without a certificate; the backup has no part in it.
    Stopped(Error),
}

impl Attempt {
    pub(super) async fn run(self) -> Ended {
        match self.try_run().await {
            Ok(ended) => ended,
            Err(Error::Drill(drill::Error::Interrupted)) => Ended::Interrupted,
            Err(Error::Drill(drill::Error::Held { database })) => Ended::held(&database),
            Err(Error::Repository(error @ repository::Error::NoSuchBackup(_))) => Ended::Skipped(error.to_string()),
            Err(error) => Ended::Stopped(error),
        }
    }

    async fn try_run(&self) -> Result<Ended> {
        let backup_id: BackupId = self.choice.backup_id.parse().map_err(repository::Error::from)?;
        let options = self.options(&backup_id).await?;
        let patience = self.settings.restore_agent.retry_first.0;
        let looked = look_at(&options, patience, |waiting| self.live.set_waiting_for(waiting));
        match self.cancel.run_until_cancelled(looked).await {
            None => return Ok(Ended::Interrupted),
            Some(Target::Held { database }) => return Ok(Ended::held(&database)),
            Some(Target::Ready) => {}
        }
        let drilled = drill::drill(&self.repository, &backup_id, &options, &self.progress, &self.cancel);
        Ok(Ended::Certificate(Box::new(Box::pin(drilled).await?)))
    }

    async fn options(&self, backup_id: &BackupId) -> Result<DrillOptions> {
        let root = match self.repository.read_manifest(backup_id).await {
            Ok(stored) => stored,
            // The certificate says it. Nothing is rebuilt then.
            Err(repository::Error::Damaged { .. } | repository::Error::UnknownFormat { .. }) => {
                return Ok(DrillOptions::default());
            }
            Err(error) => return Err(error.into()),
        };
        let overrides = DrillOverrides::default();
        let options = drill_options(&self.settings, &self.environment, &root, &overrides)?;
        Ok(DrillOptions {
            gives_way: true,
            ..options
        })
    }
}

impl Ended {
    /// For the status: how it ended, in a word and in a line.
    pub(super) fn told(&self) -> (Outcome, String) {
        match self {
            Self::Certificate(certificate) => {
                let outcome = match certificate.verdict {
                    Verdict::Certified => Outcome::Certified,
                    Verdict::Failed => Outcome::Failed,
                    Verdict::Unverified(_) => Outcome::Unverified,
                };
                (outcome, certificate.summary.clone())
            }
            Self::Skipped(why) => (Outcome::Skipped, why.clone()),
            Self::Interrupted => (
                Outcome::Interrupted,
                "interrupted; no certificate was stored".to_owned(),
            ),
            Self::Stopped(error) => (
                Outcome::Unverified,
                format!("no certificate was stored: {}", chain(error)),
            ),
        }
    }

    fn held(database: &str) -> Self {
        Self::Skipped(format!("another drill or a restore holds the target '{database}'"))
    }
}
