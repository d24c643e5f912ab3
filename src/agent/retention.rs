//! Retention by the settings: what is expired, pruned, held.

use tokio_util::sync::CancellationToken;

use super::error::Result;
use super::open::open_repository;
use crate::config::{RetentionSettings, Settings};
use crate::repository::id::BackupId;
use crate::repository::{self, ExpireOptions, ExpireReport, HoldChange, Policy, PruneOptions, PruneReport, Repository};

/// Expires what the settings let go, of their cluster or, without one, of each.
///
/// # Errors
/// Whatever kept the decision from being made or carried out. A store that refuses to delete is in the report.
pub async fn expire(settings: &Settings, is_dry_run: bool, cancel: &CancellationToken) -> Result<ExpireReport> {
    let repository = open_repository(settings).await?;
    expire_in(&repository, settings, is_dry_run, cancel).await
}

/// The same in a repository that is open.
pub(super) async fn expire_in(
    repository: &Repository,
    settings: &Settings,
    is_dry_run: bool,
    cancel: &CancellationToken,
) -> Result<ExpireReport> {
    let options = ExpireOptions {
        policy: policy(&settings.retention),
        cluster: settings.cluster.clone(),
        dry_run: is_dry_run,
    };
    Ok(repository::expire(repository, &options, cancel).await?)
}

/// Deletes what nothing in the repository refers to.
///
/// # Errors
/// Whatever kept it from being known or done. A store that refuses to delete is in the report.
pub async fn prune(settings: &Settings, is_dry_run: bool, cancel: &CancellationToken) -> Result<PruneReport> {
    let repository = open_repository(settings).await?;
    prune_in(&repository, settings, is_dry_run, cancel).await
}

/// The same in a repository that is open.
pub(super) async fn prune_in(
    repository: &Repository,
    settings: &Settings,
    is_dry_run: bool,
    cancel: &CancellationToken,
) -> Result<PruneReport> {
    let options = PruneOptions {
        grace: settings.prune.grace.0,
        dry_run: is_dry_run,
    };
    Ok(repository::prune(repository, &options, cancel).await?)
}

/// Takes every manifest for expired that a deletion has hidden.
///
/// # Errors
/// The store's own.
pub async fn accept_hidden(settings: &Settings) -> Result<Vec<BackupId>> {
    let repository = open_repository(settings).await?;
    Ok(repository::accept_hidden(&repository).await?)
}

/// Keeps a backup from expiring.
///
/// # Errors
/// When there is no such backup, or the store's own.
pub async fn hold(settings: &Settings, backup_id: &BackupId, reason: &str) -> Result<HoldChange> {
    let repository = open_repository(settings).await?;
    Ok(repository
        .hold(backup_id, reason, crate::telemetry::clock::now())
        .await?)
}

/// Lets it expire again.
///
/// # Errors
/// The store's own.
pub async fn unhold(settings: &Settings, backup_id: &BackupId) -> Result<HoldChange> {
    let repository = open_repository(settings).await?;
    Ok(repository.unhold(backup_id, crate::telemetry::clock::now()).await?)
}

/// The rules as the repository knows them.
pub(super) fn policy(retention: &RetentionSettings) -> Policy {
    Policy {
        keep_last: retention.keep_last,
        keep_within: retention.keep_within.map(|span| span.0),
        keep_hourly: retention.keep_hourly,
        keep_daily: retention.keep_daily,
        keep_weekly: retention.keep_weekly,
        keep_monthly: retention.keep_monthly,
        keep_yearly: retention.keep_yearly,
        time_zone: retention.time_zone.0.clone(),
        keep_certified: retention.keep_certified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The rooms know nothing of each other, so what each takes for unset must not drift apart.
    #[test]
    fn settings_without_a_rule_are_a_policy_that_keeps_everything() {
        let settings = config::load(None, []).unwrap();
        assert_eq!(policy(&settings.retention), Policy::none());
        assert!(!settings.retention.has_rule());
        for rule in ["LAST", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"] {
            let variable = format!("KUBEBACKUP_RETENTION_KEEP_{rule}");
            let settings = config::load(None, [(variable, "1".to_owned())]).unwrap();
            assert!(
                settings.retention.has_rule() && policy(&settings.retention).is_set(),
                "{rule}"
            );
        }
    }
}
