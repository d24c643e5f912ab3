//! A change of definitions that waits for a backup, seen from its own side: the backup goes on as long as
//! `backup.max_blocking` lets it, and gives way then and not before. What counts is what the server says of the change and how
//! often the backup has looked, not how long it took.
//!
//! An assertion that waits for an advisory lock holds a backup at its end, with all its locks, for as long as the test wants.

use kubebackup::postgres::Session;

use crate::consistency::{YIELDED, superuser_session};
use crate::support::{Running, World, wait};

/// The one wants a lock that the backup has, the other waits for the end of its snapshot.
const CHANGES: [&str; 2] = [
    "ALTER TABLE t ADD COLUMN more int",
    "CREATE INDEX CONCURRENTLY late ON t (n)",
];

/// What the backup says at each look that finds somebody who waits.
const WAITING: &str = "sessions wait for the backup's locks";

fn world() -> World {
    let mut world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let wait = "assertions:\n  - {name: wait, database: shop, query: SELECT pg_catalog.pg_advisory_lock_shared(1)}\n";
    world.settings_file = world.write_settings("settings.yaml", wait);
    world
}

/// A backup that has read its rows and stands at its assertion, and the session that keeps it there.
async fn held(world: &World, max_blocking: &str) -> (Running, Session) {
    let holder = superuser_session(world).await;
    let lock = "SELECT pg_catalog.pg_advisory_lock(1)";
    holder.client.batch_execute(lock).await.unwrap();
    let backup = world.program(&["backup"]);
    let backup = backup.env("KUBEBACKUP_BACKUP_MAX_BLOCKING", max_blocking).spawn();
    wait::until("the backup to stand at its assertion", || {
        waits(world, "application_name = 'kubebackup assertion'")
    });
    (backup, holder)
}

/// Whether the server says that such a session waits for a lock.
fn waits(world: &World, condition: &str) -> bool {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {condition}");
    world.source_sql(&query) == "1"
}

fn change_waits(world: &World, change: &str) -> bool {
    waits(world, &format!("query LIKE '{change}%'"))
}

/// For how many seconds somebody had waited at each look.
fn looks(printed: &str) -> Vec<u64> {
    let looks = printed.lines().filter(|line| line.contains(WAITING));
    let seconds = looks.filter_map(|line| line.rsplit_once("seconds=")?.1.trim().parse().ok());
    seconds.collect()
}

/// Lets the backup go on.
fn let_go(world: &World) {
    world.source_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kubebackup test'",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_within_the_budget_waits_and_the_backup_is_made() {
    for change in CHANGES {
        let world = world();
        let (mut backup, holder) = held(&world, "1h").await;
        let changed = std::thread::scope(|scope| {
            let changing = scope.spawn(|| world.source.sql("shop", change));
            wait::until("three looks at the change that waits", || {
                looks(&backup.printed()).len() >= 3
            });
            assert!(change_waits(&world, change), "{change} no longer waits");
            assert!(!backup.has_ended(), "{change}: {}", backup.printed());
            let_go(&world);
            backup.wait().ok();
            changing.join().unwrap()
        });
        changed.unwrap();
        drop(holder);
        assert_eq!(world.keys("manifests/").len(), 1, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_longer_than_the_budget_gets_its_turn_then_and_not_before() {
    const BUDGET: u64 = 8;
    for change in CHANGES {
        let world = world();
        let (backup, holder) = held(&world, &format!("{BUDGET}s")).await;
        let (ended, changed) = std::thread::scope(|scope| {
            let changing = scope.spawn(|| world.source.sql("shop", change));
            // Nobody lets the backup go on: it leaves by itself, and the change gets what it waits for.
            (backup.wait(), changing.join().unwrap())
        });
        changed.unwrap();
        let ended = ended.expect(YIELDED);
        let said = ended.printed();
        assert!(said.contains("longer than backup.max_blocking"), "{said}");
        let looks = looks(&said);
        let (last, before) = looks.split_last().unwrap();
        assert!(*last >= BUDGET, "{change}: it gave way after {last} s: {looks:?}");
        let within = before.iter().filter(|seconds| **seconds < BUDGET).count();
        assert!(within > 0 && within == before.len(), "{change}: {looks:?}");
        assert!(world.keys("manifests/").is_empty(), "{change}");
        drop(holder);
        world.program(&["backup"]).run().ok();
    }
}
