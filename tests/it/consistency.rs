//! The restored state is one moment of the source, whatever writes or redefines while the backup begins and runs.
//!
//! Interleavings are made with PostgreSQL's own locks and seen in `pg_locks`, so each test hits the gap that it means.

use std::time::Duration;

use kubebackup::backup::BackupOptions;
use kubebackup::demo::Cluster;
use kubebackup::postgres::{ConnectOptions, Session, connect};
use kubebackup::repository::{Repository, StoredManifest};

use crate::support::library::{
    backup_options, blocking_checks, error_chain, memory_repository, restore_and_compare, source_options, try_backup,
};
use crate::support::{Ended, World, wait};

/// Money moves from one table to another, so that two tables copied at two moments would not add up. Both are large
/// enough that different workers copy them.
const BANK: &str = "
CREATE TABLE account_a AS SELECT i AS id, 1000 AS balance, repeat(md5(i::text), 20) AS name FROM generate_series(1, 10000) i;
CREATE TABLE account_b AS TABLE account_a;
ALTER TABLE account_a ADD PRIMARY KEY (id);
ALTER TABLE account_b ADD PRIMARY KEY (id);
CREATE TABLE transfer (at bigserial PRIMARY KEY, amount integer NOT NULL);
CREATE TABLE stop ();
CREATE PROCEDURE work(worker integer) LANGUAGE plpgsql AS $$
DECLARE
    n integer := worker;
BEGIN
    WHILE NOT EXISTS (SELECT FROM stop) LOOP
        n := (n * 31 + 17) % 10000;
        UPDATE account_a SET balance = balance - n WHERE id = n + 1;
        UPDATE account_b SET balance = balance + n WHERE id = 10000 - n;
        INSERT INTO transfer (amount) VALUES (n);
        COMMIT;
    END LOOP;
END $$;";

const SUM: &str = "SELECT (SELECT sum(balance) FROM account_a) + (SELECT sum(balance) FROM account_b)";

fn transfers(cluster: &Cluster, database: &str) -> u64 {
    cluster
        .sql(database, "SELECT count(*) FROM transfer")
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_keep_writing_and_the_restored_accounts_add_up() {
    let world = World::start();
    world.source_sql(BANK);
    let repository = memory_repository().await;
    let stored = std::thread::scope(|scope| {
        for worker in 1..=3 {
            scope.spawn({
                let world = &world;
                move || world.source_sql(&format!("CALL work({worker})"))
            });
        }
        wait::until("writers to write", || transfers(&world.source, "shop") > 50);
        let before = transfers(&world.source, "shop");
        let stored = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(try_backup(&world, &repository, &backup_options(&world)))
        });
        let after = transfers(&world.source, "shop");
        world.source_sql("INSERT INTO stop DEFAULT VALUES");
        assert!(
            after > before + 50,
            "nothing was written during the backup: {before}, {after}"
        );
        stored.unwrap()
    });
    assert_certifies(&world, &repository, &stored).await;
    assert_eq!(world.target.sql("again", SUM).unwrap(), "20000000");
    assert!(transfers(&world.target, "again") > 50);
}

/// Where a change gets between the backup's first look and its locks.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// While it lists the tables: the size of `z_table` is asked of whoever locks it.
    Listing,
    /// While it locks them: a partitioned table has no size, so the first to wait for `m_gate` is `LOCK TABLE`, which
    /// has the tables before it in the alphabet by then and not those after it.
    Locking,
}

/// Lets a backup run into a lock in the gap, does `meanwhile` in the transaction that holds it, commits, and lets the
/// backup go on.
async fn backup_with_a_change(gap: Gap, meanwhile: &str) -> (World, Repository, StoredManifest) {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE a_first AS SELECT i FROM generate_series(1, 100) i;
         CREATE TABLE log (done text);
         CREATE TABLE m_gate (k integer) PARTITION BY LIST (k);
         CREATE TABLE z_table AS SELECT i FROM generate_series(1, 100) i;
         CREATE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 41';",
    );
    let repository = memory_repository().await;
    let other = superuser_session(&world).await;
    let gate = match gap {
        Gap::Listing => "z_table",
        Gap::Locking => "m_gate",
    };
    other
        .client
        .batch_execute(&format!("BEGIN; LOCK TABLE public.{gate} IN ACCESS EXCLUSIVE MODE"))
        .await
        .unwrap();
    let options = backup_options(&world);
    let change = async {
        wait_for_blocked_backup(&world).await;
        let statements = format!("SET search_path = public; {meanwhile}; INSERT INTO log VALUES ('done'); COMMIT");
        other.client.batch_execute(&statements).await.unwrap();
    };
    let (stored, ()) = tokio::join!(try_backup(&world, &repository, &options), change);
    (world, repository, stored.unwrap())
}

pub(crate) async fn superuser_session(world: &World) -> Session {
    let options = ConnectOptions {
        user: world.source.superuser().to_owned(),
        password: world.source.password().into(),
        ..source_options(world)
    };
    connect(&options, "test").await.unwrap()
}

/// Until a session of the backup waits for a lock.
async fn wait_for_blocked_backup(world: &World) {
    let session = superuser_session(world).await;
    let waiting = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND application_name LIKE 'kubebackup%'";
    let blocked = async {
        while session.client.query(waiting, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(wait::DEADLINE, blocked)
        .await
        .expect("the backup waits for a lock");
}

async fn assert_certifies(world: &World, repository: &Repository, stored: &StoredManifest) {
    let backup = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    let comparison = restore_and_compare(world, repository, &backup, "again").await.unwrap();
    let problems = blocking_checks(&comparison);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What happens in a gap is committed before the snapshot, so it is there, and all of it.
async fn assert_restored(meanwhile: &str, question: &str, answer: &str) {
    for gap in [Gap::Listing, Gap::Locking] {
        let (world, repository, stored) = backup_with_a_change(gap, meanwhile).await;
        assert_certifies(&world, &repository, &stored).await;
        assert_eq!(world.target.sql("again", "TABLE log").unwrap(), "done", "{gap:?}");
        assert_eq!(world.target.sql("again", question).unwrap(), answer, "{gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncate_before_the_locks_is_seen_as_truncated() {
    assert_restored("TRUNCATE z_table", "SELECT count(*) FROM z_table", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewriting_alter_before_the_locks_is_seen_with_its_rows() {
    assert_restored(
        "ALTER TABLE z_table ADD COLUMN r float8 NOT NULL DEFAULT random(), ALTER COLUMN i TYPE bigint",
        "SELECT count(*), count(DISTINCT r) FROM z_table",
        "100|100",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_appears_before_the_locks_is_locked_and_stored_too() {
    assert_restored(
        "CREATE TABLE b_new AS SELECT i FROM generate_series(1, 7) i",
        "SELECT count(*) FROM b_new",
        "7",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_vanishes_before_the_locks_is_no_error() {
    assert_restored(
        "DROP TABLE z_table",
        "SELECT to_regclass('public.z_table') IS NULL",
        "t",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_swapped_for_another_of_its_name_is_the_new_one() {
    assert_restored(
        "DROP TABLE z_table; CREATE TABLE z_table AS SELECT 'new' AS t",
        "SELECT string_agg(t, ',') FROM z_table",
        "new",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_replaced_before_the_locks_is_stored_as_it_is_in_the_snapshot() {
    assert_restored(
        "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42'",
        "SELECT answer()",
        "42",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_never_given_ends_the_backup_within_its_lock_timeout() {
    let world = World::start();
    world.source_sql("CREATE TABLE t ()");
    let other = superuser_session(&world).await;
    other
        .client
        .batch_execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let repository = memory_repository().await;
    let mut options: BackupOptions = backup_options(&world);
    options.snapshot.lock_timeout = Duration::from_millis(300);
    let ended = tokio::time::timeout(wait::DEADLINE, try_backup(&world, &repository, &options)).await;
    let text = error_chain(ended.expect("it does not hang").unwrap_err());
    assert!(text.contains("lock"), "{text}");
    assert!(repository.backup_ids().await.unwrap().is_empty());
}

/// Fact 2: an ALTER that queues behind the coordinator's lock would block the backup's own workers for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_that_queues_behind_the_backup_is_given_way_to_or_waits_but_nothing_hangs() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE a_first AS SELECT i, repeat(md5(i::text), 8) AS text FROM generate_series(1, 60000) i;
         CREATE TABLE queued AS SELECT i FROM generate_series(1, 100) i;",
    );
    let repository = memory_repository().await;
    let other = superuser_session(&world).await;
    let mut options = backup_options(&world);
    options.snapshot.lock_timeout = Duration::from_millis(500);
    let change = async {
        let locked = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE granted AND mode = 'AccessShareLock' AND relation = 'public.queued'::regclass
              AND application_name LIKE 'kubebackup%'";
        while other.client.query(locked, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        other
            .client
            .batch_execute("ALTER TABLE public.queued ADD COLUMN late integer DEFAULT 1")
            .await
    };
    let both = async { tokio::join!(try_backup(&world, &repository, &options), change) };
    let (stored, changed) = tokio::time::timeout(wait::DEADLINE, both).await.expect("nothing hangs");
    changed.unwrap();
    match stored {
        Ok(stored) => assert_certifies(&world, &repository, &stored).await,
        Err(error) => {
            let text = error_chain(error).to_lowercase();
            assert!(text.contains("lock") || text.contains("gave way"), "{text}");
            assert!(repository.backup_ids().await.unwrap().is_empty());
        }
    }
}

/// A backup by the program that stops at `failpoint`, and goes on once `meanwhile` is done or waits for a lock.
pub(crate) fn backup_stopped_at(world: &World, failpoint: &str, meanwhile: &str) -> (Ended, Result<String, String>) {
    let go = world.directory().join("go");
    // Of the stop before this one.
    let _ = std::fs::remove_file(&go);
    let setting = format!("{failpoint}=go:{}", go.display());
    let mut backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_FAILPOINT", &setting)
        .env("KUBEBACKUP_BACKUP_LOCK_TIMEOUT", "1s")
        .spawn();
    backup.wait_for(&format!("failpoint {failpoint}"));
    std::thread::scope(|scope| {
        let changed = scope.spawn(|| {
            world
                .source
                .sql(world.database(), meanwhile)
                .map_err(|error| error.to_string())
        });
        let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        wait::until("the change to be done or to wait", || {
            changed.is_finished() || world.source_sql(blocked) != "0"
        });
        std::fs::write(&go, "").unwrap();
        (backup.wait(), changed.join().unwrap())
    })
}

/// What is in the repository after a race is either nothing or something that a drill certifies.
pub(crate) fn assert_nothing_or_certified(world: &World, ended: &Ended) -> bool {
    if world.keys("manifests/").is_empty() {
        assert_eq!(ended.code(), Some(YIELDED), "{}", ended.printed());
        return false;
    }
    assert_eq!(ended.code(), Some(0), "{}", ended.printed());
    world.mark_targets();
    world.program(&["drill", "--keep"]).run().ok();
    true
}

/// The exit code of a backup that gave way.
pub(crate) const YIELDED: i32 = 7;

#[test]
fn a_function_replaced_after_the_snapshot_makes_the_backup_start_over_and_later_disturbs_nothing() {
    for (failpoint, stored) in [("after-snapshot", "42"), ("after-schema", "41")] {
        let world = World::start();
        world.source_sql("CREATE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 41'");
        let replace = "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42'";
        let (ended, changed) = backup_stopped_at(&world, failpoint, replace);
        changed.unwrap();
        assert!(assert_nothing_or_certified(&world, &ended), "{failpoint}");
        assert_eq!(world.restored_sql("SELECT answer()"), stored, "{failpoint}");
    }
}

#[test]
fn ddl_against_a_backup_that_holds_its_locks_waits_or_wins_but_neither_hangs_nor_lies() {
    for (failpoint, ddl) in [
        ("after-locks", "TRUNCATE t"),
        ("after-snapshot", "TRUNCATE t"),
        ("after-schema", "ALTER TABLE t ALTER COLUMN i TYPE bigint"),
        ("after-schema", "DROP TABLE t"),
        ("before-manifest", "TRUNCATE t"),
    ] {
        let world = World::start();
        world.source_sql("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i");
        let (ended, changed) = backup_stopped_at(&world, failpoint, ddl);
        changed.unwrap();
        if assert_nothing_or_certified(&world, &ended) {
            assert_eq!(
                world.restored_sql("SELECT count(*) FROM t"),
                "1000",
                "{failpoint}: {ddl}"
            );
        }
    }
}
