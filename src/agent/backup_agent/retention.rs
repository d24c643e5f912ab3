//! What follows a backup where the settings want it: expiry and prune, in the repository and in its copies, beside whatever
//! run is next. A failure of either is said and counted, and changes nothing about the backup.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::workplace::Workplace;
use crate::agent::error::Error;
use crate::agent::live::Live;
use crate::agent::retention::{expire_in, prune_in};
use crate::config::Settings;
use crate::http::status::{CurrentRetention, FailedRetention, RetentionCounts, RetentionStatus, SucceededRetention};
use crate::repository::{ExpireReport, PruneReport, Repository};
use crate::telemetry::causes;

/// Expires and prunes the repository. Told to stop, it leaves everything where it is, as it does when it is dropped:
/// whatever is interrupted is finished by the next one.
pub(super) async fn let_go(workplace: Arc<Workplace>, live: Live, cancel: CancellationToken) {
    let started = crate::telemetry::clock::now();
    let at = |step: &str| {
        let step = step.to_owned();
        live.set_retention(|retention| retention.current = Some(CurrentRetention { started, step }));
    };
    let count = |done: &RetentionCounts| live.count(|counts| counts.retention.add(done));
    let work = Box::pin(async {
        at("expire");
        let repository = workplace.repository().await.map_err(|error| vec![error])?;
        expire_and_prune(repository, &workplace.settings, &cancel, at, count).await
    });
    if let Some(result) = cancel.run_until_cancelled(work).await {
        let ended = LetGo::now(started, result);
        ended.tell("repository");
        count(&ended.run());
        live.set_retention(|retention| ended.note(retention));
    }
    live.set_retention(|retention| retention.current = None);
}

/// Both reports, or what went wrong with either.
pub(super) type Outcome = std::result::Result<(ExpireReport, PruneReport), Vec<Error>>;

/// By `settings`, as they hold in that place. What was done is counted at once: what comes after it may fail. A prune decides
/// by what there is and trusts no expiry before it: one that failed, for the sake of a single backup perhaps, keeps it
/// from nothing.
pub(super) async fn expire_and_prune(
    repository: &Repository,
    settings: &Settings,
    cancel: &CancellationToken,
    at: impl Fn(&str),
    count: impl Fn(&RetentionCounts),
) -> Outcome {
    at("expire");
    let expired = expire_in(repository, settings, false, cancel).await;
    if let Ok(expired) = &expired {
        count(&RetentionCounts {
            expired_backups: expired.expired.len() as u64,
            ..RetentionCounts::default()
        });
    }
    at("prune");
    let pruned = prune_in(repository, settings, false, cancel).await;
    if let Ok(pruned) = &pruned {
        count(&RetentionCounts {
            deleted_objects: pruned.deleted.objects,
            deleted_bytes: pruned.deleted.bytes,
            ..RetentionCounts::default()
        });
    }
    match (expired, pruned) {
        (Ok(expired), Ok(pruned)) => Ok((expired, pruned)),
        (expired, pruned) => Err(expired.err().into_iter().chain(pruned.err()).collect()),
    }
}

/// How an expiry with prune of one place ended.
pub(super) struct LetGo {
    started: Timestamp,
    finished: Timestamp,
    result: Outcome,
}

impl LetGo {
    /// One that has just ended.
    pub(super) fn now(started: Timestamp, result: Outcome) -> Self {
        Self {
            started,
            finished: crate::telemetry::clock::now(),
            result,
        }
    }

    /// It, counted.
    pub(super) fn run(&self) -> RetentionCounts {
        RetentionCounts {
            runs: u64::from(self.result.is_ok()),
            failed_runs: u64::from(self.result.is_err()),
            ..RetentionCounts::default()
        }
    }

    /// In the log, once each.
    pub(super) fn tell(&self, place: &str) {
        match &self.result {
            Ok((expired, pruned)) => tell(place, expired, pruned),
            Err(errors) => {
                for error in errors {
                    let hint = error.meaning().hint;
                    let error = causes::chain(error);
                    tracing::error!(place, error, hint, "retention failed; the backups stand");
                }
            }
        }
    }

    /// In what the agent shows.
    pub(super) fn note(&self, retention: &mut RetentionStatus) {
        let (started, finished) = (self.started, self.finished);
        match &self.result {
            Ok((expired, pruned)) => retention.last_succeeded = Some(succeeded(expired, pruned, started, finished)),
            Err(errors) => {
                let messages: Vec<String> = errors.iter().map(|error| causes::chain(error)).collect();
                retention.last_failed = Some(FailedRetention {
                    started,
                    finished,
                    message: messages.join("; "),
                });
            }
        }
    }
}

fn tell(place: &str, expired: &ExpireReport, pruned: &PruneReport) {
    tracing::info!(
        place,
        expired = expired.expired.len(),
        deleted_objects = pruned.deleted.objects,
        deleted_bytes = pruned.deleted.bytes,
        "retention done"
    );
    if let Some(why) = &pruned.frozen {
        tracing::warn!(
            place,
            why,
            "deletion is frozen until a person accepts what is missing; no more chunks are deleted"
        );
    }
    let (backups, objects) = (expired.retained.len(), pruned.retained.objects);
    if backups > 0 || objects > 0 {
        let reason = expired.retained.first().map(|retained| retained.reason.as_str());
        tracing::warn!(
            place,
            backups,
            objects,
            reason,
            "retained: some of what was to go stays; where the store does not let these credentials delete, give them the right, or let a CronJob do it"
        );
    }
}

fn succeeded(
    expired: &ExpireReport,
    pruned: &PruneReport,
    started: Timestamp,
    finished: Timestamp,
) -> SucceededRetention {
    let frozen = pruned.frozen.as_ref().map(|why| format!("deletion is frozen: {why}"));
    let refused = || expired.retained.first().map(|retained| retained.reason.clone());
    SucceededRetention {
        started,
        finished,
        expired_backups: expired.expired.len() as u64,
        deleted_objects: pruned.deleted.objects,
        retained_objects: pruned.retained.objects + pruned.leftovers.retained + expired.retained.len() as u64,
        message: frozen.or_else(refused),
    }
}
