//! A database rebuilt from the repository alone, with PostgreSQL as the oracle.

use kubebackup::repository::Repository;
use kubebackup::repository::manifest::Backup;
use kubebackup::restore::{Error, RestoreOptions, RestoreReport, restore_database};
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use crate::support::library::{cluster_options, error_chain};
use crate::support::{Ended, Program, World, oracle};

mod dying;
mod full;
mod parts;
mod refusals;
mod roles;
mod selection;
mod silence;
mod whole;
mod wiping;

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

/// The verb, by a person, into the database that the world has for it.
fn by_hand(world: &World, more: &[&str]) -> Program {
    let into = world.target.dsn(world.target.superuser(), &world.restored());
    let arguments = [&["restore", "--into", &into], more].concat();
    world.program(&arguments).env("PGPASSWORD", world.target.password())
}

/// One error, that says what is left and what comes before the next try.
#[track_caller]
fn assert_in_part(ended: &Ended, next: &str, what: &str) {
    let said = &ended.stderr;
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let left = format!("error: not restored to the end: database \"shop_restored\" holds a part at most; {next}: ");
    assert!(errors.len() == 1 && errors[0].starts_with(&left), "{what}: {said}");
    assert_eq!(said.matches("\nhint: ").count(), 1, "{what}: {said}");
    assert!(ended.stdout.is_empty(), "{what}: {}", ended.stdout);
}

/// What a restore into one database has to leave alone: the server's other databases and roles.
#[track_caller]
fn others(world: &World) -> (oracle::Contents, String) {
    let databases = "SELECT datname, datdba::regrole, datacl, datconnlimit FROM pg_database
                     WHERE datname <> 'shop_restored' ORDER BY 1;
                     SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname <> 'app_owner' ORDER BY 1";
    let contents = oracle::contents(&world.target, "neighbour");
    (contents, world.target.sql("postgres", databases).unwrap())
}

/// Another database beside the one that is restored into.
fn with_a_neighbour(world: &World) {
    world.target.sql("postgres", "CREATE DATABASE neighbour").unwrap();
    let contents = "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i; CREATE SEQUENCE s; CHECKPOINT";
    world.target.sql("neighbour", contents).unwrap();
}

#[track_caller]
fn assert_whole(world: &World) {
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, &world.restored()),
    );
}
