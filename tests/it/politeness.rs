//! Production goes first: sessions that wait for the backup, a server going down, a run that takes too long.
//!
//! An assertion that waits for an advisory lock holds a backup at its end, with all its locks, for as long as the test
//! wants.

use std::sync::Arc;
use std::time::Duration;

use kubebackup::backup::{AssertionQuery, BackupOptions, Error, backup};
use kubebackup::postgres::{self, Session, connect};
use kubebackup::repository::{Repository, StoredManifest};
use kubebackup::telemetry::progress::Silent;
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::library::{backup_options, memory_repository, source_options};
use crate::support::{World, wait};

struct Held {
    world: World,
    repository: Repository,
    cancel: CancellationToken,
    run: JoinHandle<kubebackup::backup::Result<StoredManifest>>,
    /// Holds the advisory lock.
    holder: Session,
}

/// A backup that has copied its one table and now waits for the test.
async fn held_backup(change: impl FnOnce(&mut BackupOptions)) -> Held {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let repository = memory_repository().await;
    let holder = connect(&source_options(&world), "holder").await.unwrap();
    holder
        .client
        .batch_execute("SELECT pg_catalog.pg_advisory_lock(1)")
        .await
        .unwrap();
    let mut options = backup_options(&world);
    options.assertions = vec![AssertionQuery {
        name: "wait".to_owned(),
        database: "shop".to_owned(),
        query: "SELECT pg_catalog.pg_advisory_lock_shared(1)".to_owned(),
    }];
    change(&mut options);
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (source, repository, cancel) = (source_options(&world), repository.clone(), cancel.clone());
        async move { backup(&source, &repository, &options, Arc::new(Silent), &cancel).await }
    });
    let held = Held {
        world,
        repository,
        cancel,
        run,
        holder,
    };
    held.wait_for("application_name = 'kubebackup assertion' AND wait_event_type = 'Lock'")
        .await;
    held
}

impl Held {
    async fn sessions(&self, condition: &str) -> i64 {
        let query = format!("SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE {condition}");
        self.holder.client.query_one(&query, &[]).await.unwrap().get(0)
    }

    async fn wait_for(&self, condition: &str) {
        wait::until_async(condition, async || self.sessions(condition).await > 0).await;
    }

    /// None of the run's sessions is left, and nothing of it is visible.
    async fn leaves_nothing(&self) {
        let ours = "application_name LIKE 'kubebackup %' AND pid <> pg_catalog.pg_backend_pid() OR application_name = 'pg_dump'";
        wait::until_async("the run's sessions to be gone", async || self.sessions(ours).await == 0).await;
        assert!(self.repository.backup_ids().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smart_shutdown_which_no_open_session_is_told_of_ends_the_run() {
    let mut held = held_backup(|_| ()).await;
    held.world.source.stop(Signal::SIGTERM).unwrap();
    let error = (&mut held.run).await.unwrap().unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Postgres {
                source: postgres::Error::ShuttingDown,
                ..
            }
        ),
        "{error:?}"
    );
    held.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_waits_too_long_for_a_table_gets_it() {
    let mut held = held_backup(|options| options.max_blocking = Duration::ZERO).await;
    let superuser = held.world.source.dsn("postgres", "shop");
    let password = held.world.source.password().to_owned();
    let config = format!("{superuser} password={password}");
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("ALTER TABLE t ADD COLUMN more int").await.unwrap();
    let error = (&mut held.run).await.unwrap().unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Postgres {
                source: postgres::Error::Yielded { .. },
                ..
            }
        ),
        "{error:?}"
    );
    held.leaves_nothing().await;
    connection.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_outlives_its_maximum_ends() {
    let mut held = held_backup(|options| options.max_duration = Duration::from_secs(10)).await;
    let error = (&mut held.run).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    held.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_closes_its_sessions_and_leaves_no_backup() {
    let mut held = held_backup(|_| ()).await;
    held.cancel.cancel();
    let error = (&mut held.run).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    held.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_may_change_once_they_have_been_read() {
    let mut held = held_backup(|_| ()).await;
    held.world.source_sql(
        "CREATE TABLE staging (id int); CREATE FUNCTION late() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE INDEX ON t (n); CREATE MATERIALIZED VIEW m AS SELECT 1 AS one; REFRESH MATERIALIZED VIEW m;",
    );
    held.holder
        .client
        .batch_execute("SELECT pg_catalog.pg_advisory_unlock(1)")
        .await
        .unwrap();
    let stored = (&mut held.run).await.unwrap().unwrap();
    let read = held.repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    let inventory = &read.databases[0].inventory;
    assert!(
        !inventory
            .iter()
            .any(|object| object.identity.contains("late") || object.identity.contains("staging"))
    );
}
