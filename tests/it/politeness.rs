//! Production goes first: sessions that wait for the backup, a server going down, a run that takes too long.
//!
//! An assertion that waits for an advisory lock holds a backup at its end, with all its locks, for as long as the test
//! wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kubebackup::backup::{AssertionQuery, BackupOptions, Error, backup};
use kubebackup::postgres::{self, Session, connect};
use kubebackup::repository::{Repository, StoredManifest};
use kubebackup::telemetry::progress::Progress;
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::library::{backup_options, memory_repository, source_options};
use crate::support::{World, wait};

/// Sees how many sessions the run has found waiting for it.
#[derive(Default)]
struct Blocked(AtomicU64);

impl Progress for Blocked {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}

    fn blocked_sessions(&self, sessions: u64) {
        self.0.store(sessions, Ordering::Relaxed);
    }
}

struct Held {
    world: World,
    blocked: Arc<Blocked>,
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
    let blocked = Arc::new(Blocked::default());
    let run = tokio::spawn({
        let (source, repository, cancel) = (source_options(&world), repository.clone(), cancel.clone());
        let progress = Arc::clone(&blocked);
        async move { backup(&source, &repository, &options, progress, &cancel).await }
    });
    let held = Held {
        world,
        blocked,
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

    /// Waits for the run's locks, and is over once it has had them.
    fn migration(&self) -> JoinHandle<()> {
        let superuser = self.world.source.dsn("postgres", "shop");
        let config = format!("{superuser} password={}", self.world.source.password());
        tokio::spawn(async move {
            let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            client.batch_execute("ALTER TABLE t ADD COLUMN more int").await.unwrap();
            connection.abort();
        })
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
    let migration = held.migration();
    migration.await.unwrap();
    let error = (&mut held.run).await.unwrap().unwrap_err();
    assert!(is_yielded(&error), "{error:?}");
    held.leaves_nothing().await;
}

/// Those that wait behind the migration make their pool open more, until there are no more to be had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_others_wait_for_gives_way_also_when_it_can_no_longer_look_at_them() {
    let mut held = held_backup(|options| options.max_blocking = Duration::from_secs(5)).await;
    let migration = held.migration();
    wait::until_async("the run to see that somebody waits", async || {
        held.blocked.0.load(Ordering::Relaxed) > 0
    })
    .await;
    let mut pool = Vec::new();
    while let Ok(session) = connect(&source_options(&held.world), "pool").await {
        pool.push(session);
    }
    let error = tokio::time::timeout(wait::DEADLINE, &mut held.run).await;
    let error = error.expect("it gives way").unwrap().unwrap_err();
    assert!(is_yielded(&error), "{error:?}");
    let said = format!("{error:?}");
    assert!(said.contains("last looked at"), "{said}");
    migration.await.unwrap();
    drop(pool);
    held.leaves_nothing().await;
}

fn is_yielded(error: &Error) -> bool {
    matches!(
        error,
        Error::Postgres {
            source: postgres::Error::Yielded { .. },
            ..
        }
    )
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
