//! A database rebuilt from the repository alone, with PostgreSQL as the oracle.

use kubebackup::repository::Repository;
use kubebackup::repository::manifest::Backup;
use kubebackup::restore::{Error, RestoreOptions, RestoreReport, restore_database};
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use crate::support::World;
use crate::support::library::{cluster_options, error_chain};

mod refusals;
mod roles;
mod selection;
mod silence;
mod whole;

fn creating() -> RestoreOptions {
    RestoreOptions {
        create_database: true,
        ..RestoreOptions::default()
    }
}

async fn try_restore(
    world: &World,
    repository: &Repository,
    backup: &Backup,
    into: &str,
    options: &RestoreOptions,
) -> Result<RestoreReport, Error> {
    let target = cluster_options(&world.target, into);
    let cancel = CancellationToken::new();
    restore_database(
        repository,
        backup,
        &backup.databases[0],
        &target,
        options,
        &Silent,
        &cancel,
    )
    .await
}

async fn restored(world: &World, repository: &Repository, backup: &Backup, into: &str) -> RestoreReport {
    try_restore(world, repository, backup, into, &creating())
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)))
}
