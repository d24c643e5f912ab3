//! A backup through the library, for tests that look at what is stored rather than at what is printed.

use std::sync::Arc;
use std::time::Duration;

use kubebackup::backup::{BackupOptions, backup};
use kubebackup::demo::Cluster;
use kubebackup::drill::{Check, CompareOptions, Comparison, compare_database};
use kubebackup::postgres::{ConnectOptions, TlsMode};
use kubebackup::repository::id::RepositoryId;
use kubebackup::repository::manifest::Backup;
use kubebackup::repository::{Repository, StoredManifest};
use kubebackup::restore::{RestoreOptions, restore_database};
use kubebackup::storage::MemoryStore;
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use super::{BACKUP_PASSWORD, BACKUP_ROLE, World};

/// An empty repository in memory.
pub(crate) async fn memory_repository() -> Repository {
    Repository::open_or_create(Arc::new(MemoryStore::new()), RepositoryId::new(7))
        .await
        .unwrap()
}

/// The world's source as the documented role over scram.
pub(crate) fn source_options(world: &World) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: world.source.port(),
        user: BACKUP_ROLE.to_owned(),
        database: world.database().to_owned(),
        password: BACKUP_PASSWORD.into(),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

/// A cluster's database as its superuser.
pub(crate) fn cluster_options(cluster: &Cluster, database: &str) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: cluster.port(),
        user: cluster.superuser().to_owned(),
        database: database.to_owned(),
        password: cluster.password().into(),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

/// The world's databases under the name `production`.
pub(crate) fn backup_options(world: &World) -> BackupOptions {
    BackupOptions {
        databases: Some(vec![world.database().to_owned()]),
        ..BackupOptions::new("production")
    }
}

pub(crate) async fn try_backup(
    world: &World,
    repository: &Repository,
    options: &BackupOptions,
) -> kubebackup::backup::Result<StoredManifest> {
    let source = source_options(world);
    backup(
        &source,
        repository,
        options,
        Arc::new(Silent),
        &CancellationToken::new(),
    )
    .await
}

/// A backup that must work, read back from the repository.
pub(crate) async fn backup_once(world: &World, repository: &Repository) -> Backup {
    let stored = try_backup(world, repository, &backup_options(world)).await.unwrap();
    repository.read_backup(&stored.manifest.backup_id).await.unwrap()
}

/// Restores the first database of `backup` into a new database of the target, and compares it.
pub(crate) async fn restore_and_compare(
    world: &World,
    repository: &Repository,
    backup: &Backup,
    into: &str,
) -> anyhow::Result<Comparison> {
    let database = &backup.databases[0];
    let target = cluster_options(&world.target, into);
    let cancel = CancellationToken::new();
    let options = RestoreOptions {
        create_database: true,
        ..RestoreOptions::default()
    };
    restore_database(repository, backup, database, &target, &options, &Silent, &cancel).await?;
    let archive = repository.read_segments(backup, &database.head.schema_archive).await?;
    let options = CompareOptions {
        role_comment: options.role_comment,
        ..CompareOptions::default()
    };
    Ok(compare_database(backup, database, &archive, &target, &options, &Silent, &cancel).await?)
}

/// What keeps a comparison from certifying, in a line each.
pub(crate) fn blocking_checks(comparison: &Comparison) -> Vec<String> {
    let line = |check: &Check| {
        format!(
            "{} {} {:?}: expected {}, found {} ({})",
            check.name.as_str(),
            check.object.as_deref().unwrap_or_default(),
            check.outcome,
            check.expected,
            check.found,
            check.detail
        )
    };
    comparison
        .checks
        .iter()
        .filter(|check| check.blocks())
        .map(line)
        .collect()
}

/// Everything that is wrong, causes included.
pub(crate) fn error_chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
