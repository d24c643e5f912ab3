//! What follows a backup where the settings want it: expiry and prune. A failure of either is said and counted, and changes
//! nothing about the backup.

use tokio_util::sync::CancellationToken;

use super::workplace::Workplace;
use crate::agent::error::{Error, Result};
use crate::agent::live::Live;
use crate::agent::retention::{expire_in, prune_in};
use crate::http::status::RetentionCounts;
use crate::repository::{ExpireReport, PruneReport};
use crate::telemetry::causes;

/// Expires and prunes, if `retention.after_backup` says so. Told to stop, it leaves everything where it is: whatever is
/// interrupted here is finished by the next run.
pub(super) async fn after_backup(workplace: &Workplace, live: &Live, cancel: &CancellationToken) {
    if !workplace.settings.retention.after_backup {
        return;
    }
    match cancel.run_until_cancelled(Box::pin(let_go(workplace, cancel))).await {
        None => tracing::info!("retention interrupted; the next run goes on"),
        Some(Ok((expired, pruned))) => {
            tell("repository", &expired, &pruned);
            live.count(|counts| count(&mut counts.retention, &expired, &pruned));
        }
        Some(Err(error)) => {
            let hint = error.meaning().hint;
            tracing::error!(
                error = causes::chain(&error),
                hint,
                "retention failed; the backup stands"
            );
            live.count(|counts| counts.retention.failed_runs += 1);
        }
    }
}

async fn let_go(workplace: &Workplace, cancel: &CancellationToken) -> Result<(ExpireReport, PruneReport)> {
    let (repository, settings) = (workplace.repository().await?, &workplace.settings);
    let expired = expire_in(repository, settings, false, cancel).await?;
    let pruned = prune_in(repository, settings, false, cancel).await?;
    Ok::<_, Error>((expired, pruned))
}

/// The same of a copy, which has been let go by itself.
pub(super) fn tell_of_copy(copy: &str, let_go: &Result<(ExpireReport, PruneReport)>, live: &Live) {
    match let_go {
        Ok((expired, pruned)) => {
            tell(copy, expired, pruned);
            live.count_copy(copy, |counts| count(&mut counts.retention, expired, pruned));
        }
        Err(error) => {
            let hint = error.meaning().hint;
            tracing::error!(copy, error = causes::chain(error), hint, "retention of the copy failed");
            live.count_copy(copy, |counts| counts.retention.failed_runs += 1);
        }
    }
}

fn tell(place: &str, expired: &ExpireReport, pruned: &PruneReport) {
    if let Some(why) = &pruned.frozen {
        tracing::warn!(
            place,
            why,
            "deletion is frozen until a person accepts what is missing; nothing was deleted"
        );
        return;
    }
    tracing::info!(
        place,
        expired = expired.expired.len(),
        deleted_objects = pruned.deleted.objects,
        deleted_bytes = pruned.deleted.bytes,
        "retention done"
    );
    let (backups, objects) = (expired.retained.len(), pruned.retained.objects);
    if backups > 0 || objects > 0 {
        let reason = expired.retained.first().map(|retained| retained.reason.as_str());
        tracing::warn!(
            place,
            backups,
            objects,
            reason,
            "retained: the store does not let these credentials delete; give them the right, or let a CronJob do it"
        );
    }
}

fn count(counts: &mut RetentionCounts, expired: &ExpireReport, pruned: &PruneReport) {
    counts.runs += 1;
    counts.expired_backups += expired.expired.len() as u64;
    counts.deleted_objects += pruned.deleted.objects;
    counts.deleted_bytes += pruned.deleted.bytes;
    counts.retained_objects = pruned.retained.objects + expired.retained.len() as u64;
}
