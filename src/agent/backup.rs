//! One backup run by the settings.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use super::open::{create_repository, source};
use crate::backup::{self, AssertionQuery, BackupOptions, ChunkSizes, DriftOptions, PaceOption, TablePattern};
use crate::config::{self, ByteSize, PaceSetting, Settings};
use crate::postgres::snapshot::SnapshotOptions;
use crate::postgres::{ConnectOptions, Environment};
use crate::repository::{Repository, StoredManifest};
use crate::telemetry::progress::Progress;

/// PostgreSQL's usual block size; parts are counted in blocks.
const BLOCK_BYTES: u64 = 8192;

/// What arguments say over the settings.
#[derive(Clone, Debug, Default)]
pub struct BackupOverrides {
    pub jobs: Option<usize>,
    pub pace: Option<PaceSetting>,
    /// Empty: as the settings say.
    pub databases: Vec<String>,
}

/// Takes one backup.
///
/// # Errors
/// Why there is no backup.
pub async fn backup(
    settings: &Settings,
    environment: &Environment,
    overrides: &BackupOverrides,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<StoredManifest> {
    let options = backup_options(settings, overrides)?;
    let source = source(settings, environment)?;
    let repository = create_repository(settings).await?;
    backup_into(&repository, &source, &options, progress, cancel).await
}

/// The same into a repository that is open.
pub(super) async fn backup_into(
    repository: &Repository,
    source: &ConnectOptions,
    options: &BackupOptions,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<StoredManifest> {
    Ok(Box::pin(backup::backup(source, repository, options, progress, cancel)).await?)
}

/// The room's options from the settings and what overrides them.
///
/// # Errors
/// When the cluster has no name or a table pattern cannot be read.
pub fn backup_options(settings: &Settings, overrides: &BackupOverrides) -> Result<BackupOptions> {
    let backup = &settings.backup;
    let databases = if overrides.databases.is_empty() {
        settings.source.databases.clone()
    } else {
        overrides.databases.clone()
    };
    Ok(BackupOptions {
        databases: (!databases.is_empty()).then_some(databases),
        exclude_tables: parse_patterns("source.exclude_tables", &settings.source.exclude_tables)?,
        include_unlogged: settings.source.include_unlogged,
        jobs: overrides.jobs.unwrap_or(backup.jobs),
        pace: match overrides.pace.or(backup.pace).unwrap_or(PaceSetting::Full) {
            PaceSetting::Polite => PaceOption::Polite,
            PaceSetting::Full => PaceOption::Full,
        },
        compression_level: backup.compression_level,
        chunks: ChunkSizes {
            min_bytes: in_memory("backup.chunk_min_bytes", backup.chunk_min_bytes)?,
            mean_bytes: in_memory("backup.chunk_mean_bytes", backup.chunk_mean_bytes)?,
            max_bytes: in_memory("backup.chunk_max_bytes", backup.chunk_max_bytes)?,
        },
        split_table_bytes: backup.split_table_bytes.0,
        part_blocks: u32::try_from(backup.part_bytes.0 / BLOCK_BYTES).unwrap_or(u32::MAX),
        snapshot: SnapshotOptions {
            lock_timeout: backup.lock_timeout.0,
            attempts: backup.attempts,
        },
        max_duration: backup.max_duration.0,
        max_blocking: backup.max_blocking.0,
        assertions: assertions(settings),
        drift: DriftOptions {
            max_loss_percent: settings.drift.max_loss_percent,
            min_rows: settings.drift.min_rows,
            ignore_tables: parse_patterns("drift.ignore_tables", &settings.drift.ignore_tables)?,
        },
        bin_directory: settings.source.bin_directory.clone(),
        ..BackupOptions::new(settings.require_cluster()?)
    })
}

fn parse_patterns(key: &str, patterns: &[String]) -> Result<Vec<TablePattern>> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|error| invalid(key, &format!("cannot be used: {error}")))
    };
    patterns.iter().map(parse).collect()
}

fn assertions(settings: &Settings) -> Vec<AssertionQuery> {
    let query = |assertion: &config::AssertionSettings| AssertionQuery {
        name: assertion.name.clone(),
        database: assertion.database.clone(),
        query: assertion.query.clone(),
    };
    settings.assertions.iter().map(query).collect()
}

fn in_memory(key: &str, size: ByteSize) -> Result<usize> {
    usize::try_from(size.0).map_err(|_| invalid(key, "is more than this machine can address"))
}

fn invalid(key: &str, problem: &str) -> Error {
    Error::Settings(config::Error::Invalid {
        key: key.to_owned(),
        problem: problem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> BackupOptions {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = config::load(None, variables).unwrap();
        backup_options(&settings, &BackupOverrides::default()).unwrap()
    }

    /// The room's own defaults and the table of settings must not drift apart.
    #[test]
    fn the_default_settings_are_the_rooms_own_defaults() {
        let from_settings = options(&[("KUBEBACKUP_CLUSTER", "c")]);
        assert_eq!(format!("{from_settings:?}"), format!("{:?}", BackupOptions::new("c")));
    }

    #[test]
    fn arguments_win_over_settings() {
        let variables = [
            ("KUBEBACKUP_CLUSTER", "c"),
            ("KUBEBACKUP_SOURCE_DATABASES", "a,b"),
            ("KUBEBACKUP_BACKUP_PACE", "polite"),
        ];
        assert_eq!(options(&variables).pace, PaceOption::Polite);
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = config::load(None, variables).unwrap();
        let overrides = BackupOverrides {
            jobs: Some(7),
            pace: Some(PaceSetting::Full),
            databases: vec!["z".to_owned()],
        };
        let options = backup_options(&settings, &overrides).unwrap();
        assert_eq!((options.jobs, options.databases.unwrap()), (7, vec!["z".to_owned()]));
        assert_eq!(options.pace, PaceOption::Full);
    }
}
