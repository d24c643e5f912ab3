//! What follows a backup where the settings want it: expiry and prune, beside whatever run is next. A failure of either is
//! said and counted, and changes nothing about the backup.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::workplace::Workplace;
use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::agent::retention::{expire_in, prune_in};
use crate::http::status::{CurrentRetention, FailedRetention, SucceededRetention};
use crate::repository::{ExpireReport, PruneReport};
use crate::telemetry::causes;

/// Expires and prunes. Told to stop, it leaves everything where it is, as it does when it is dropped: whatever is
/// interrupted is finished by the next one.
pub(super) async fn let_go(workplace: Arc<Workplace>, live: Live, cancel: CancellationToken) {
    let started = Timestamp::now();
    let work = Box::pin(expire_and_prune(&workplace, &live, started, &cancel));
    let ended = cancel.run_until_cancelled(work).await;
    let finished = Timestamp::now();
    match ended {
        None => {}
        Some(Ok((expired, pruned))) => {
            tell(&expired, &pruned);
            live.count(|counts| counts.retention.runs += 1);
            let succeeded = succeeded(&expired, &pruned, started, finished);
            live.set_retention(|retention| retention.last_succeeded = Some(succeeded));
        }
        Some(Err(error)) => {
            let hint = error.meaning().hint;
            let message = causes::chain(&error);
            tracing::error!(error = message, hint, "retention failed; the backup stands");
            live.count(|counts| counts.retention.failed_runs += 1);
            let failed = FailedRetention {
                started,
                finished,
                message,
            };
            live.set_retention(|retention| retention.last_failed = Some(failed));
        }
    }
    live.set_retention(|retention| retention.current = None);
}

/// What was done is counted at once: what comes after it may fail.
async fn expire_and_prune(
    workplace: &Workplace,
    live: &Live,
    started: Timestamp,
    cancel: &CancellationToken,
) -> Result<(ExpireReport, PruneReport)> {
    let at = |step: &str| {
        let step = step.to_owned();
        live.set_retention(|retention| retention.current = Some(CurrentRetention { started, step }));
    };
    at("expire");
    let (repository, settings) = (workplace.repository().await?, &workplace.settings);
    let expired = expire_in(repository, settings, false, cancel).await?;
    live.count(|counts| counts.retention.expired_backups += expired.expired.len() as u64);
    at("prune");
    let pruned = prune_in(repository, settings, false, cancel).await?;
    live.count(|counts| {
        counts.retention.deleted_objects += pruned.deleted.objects;
        counts.retention.deleted_bytes += pruned.deleted.bytes;
    });
    Ok((expired, pruned))
}

fn tell(expired: &ExpireReport, pruned: &PruneReport) {
    tracing::info!(
        expired = expired.expired.len(),
        deleted_objects = pruned.deleted.objects,
        deleted_bytes = pruned.deleted.bytes,
        "retention done"
    );
    if let Some(why) = &pruned.frozen {
        tracing::warn!(
            why,
            "deletion is frozen until a person accepts what is missing; no more chunks are deleted"
        );
    }
    let (backups, objects) = (expired.retained.len(), pruned.retained.objects);
    if backups > 0 || objects > 0 {
        let reason = expired.retained.first().map(|retained| retained.reason.as_str());
        tracing::warn!(
            backups,
            objects,
            reason,
            "retained: the store does not let these credentials delete; give them the right, or let a CronJob do it"
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
