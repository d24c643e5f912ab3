//! `check` before servers that keep it waiting: a finding, and an end.

use kubebackup::demo::Cluster;
use kubebackup::postgres::{Session, connect};

use crate::support::crash::Frozen;
use crate::support::library::cluster_options;
use crate::support::{World, wait};

/// A session that keeps others from reading a relation of `database`.
async fn locked(cluster: &Cluster, database: &str, relation: &str) -> Session {
    let session = connect(&cluster_options(cluster, database), "test").await.unwrap();
    let lock = format!("BEGIN; LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE");
    session.client.batch_execute(&lock).await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_server_that_falls_silent_ends_and_names_it() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let held = locked(&world.source, world.database(), "public.t").await;
    let check = world.program(&["check"]).env("PGCONNECT_TIMEOUT", "2");
    let checking = check.env("KUBEBACKUP_BACKUP_LOCK_TIMEOUT", "1h").spawn();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait::until("the check to wait", || {
        world.source.sql("postgres", waiting).unwrap() != "0"
    });
    let frozen = Frozen::new(&world.source);
    let told = checking.wait().expect(1).stdout;
    drop(frozen);
    let silent = told.lines().find(|line| line.contains("has fallen silent"));
    assert!(
        silent.is_some_and(|line| line.contains("FAIL") && line.contains("source")),
        "{told}"
    );
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_waits_for_a_lock_no_longer_than_a_backup_does_and_names_who_holds_it() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let held = locked(&world.source, world.database(), "public.t").await;
    let check = world.program(&["check"]).env("KUBEBACKUP_BACKUP_LOCK_TIMEOUT", "500ms");
    let told = tokio::task::block_in_place(|| check.run()).expect(1).stdout;
    assert!(
        told.contains("backup.lock_timeout") && told.contains("holds public.t"),
        "{told}"
    );
    drop(held);
}
