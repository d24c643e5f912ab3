//! A person waits for a target that keeps its connections and answers nothing: not for ever.

use kubebackup::demo::Cluster;
use kubebackup::postgres::connect;

use crate::restore_agent::{is_creating, slow_down};
use crate::support::crash::Frozen;
use crate::support::library::cluster_options;
use crate::support::{Ended, Program, World, wait};

fn verb(world: &World, arguments: &[&str]) -> Program {
    let variables = [("PGPASSWORD", world.target.password()), ("PGCONNECT_TIMEOUT", "2")];
    world.program(arguments).envs(variables)
}

/// Told on stderr, by an exit code of its own class, and with what to look at.
fn assert_told(ended: Ended) {
    let said = ended.expect(1).stderr;
    for words in [
        "has fallen silent",
        "none of 5 new connections",
        "hint: look at the server's machine",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_restore_into_a_target_that_falls_silent_ends_and_says_so() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS n");
    slow_down(&world);
    world.back_up();
    let into = world.target.dsn(world.target.superuser(), "emergency");
    let restoring = verb(&world, &["restore", "--into", &into, "--create-database"]).spawn();
    wait::until("the index to be created", || is_creating(&world));
    let frozen = Frozen::new(&world.target);
    assert_told(restoring.wait());
    drop(frozen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_with_a_target_that_falls_silent_ends_and_says_so() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.back_up();
    let into = world.target.dsn(world.target.superuser(), "emergency");
    verb(&world, &["restore", "--into", &into, "--create-database"])
        .run()
        .ok();
    // It keeps the comparison at its work until the server stands still.
    let held = connect(&cluster_options(&world.target, "emergency"), "test")
        .await
        .unwrap();
    let lock = "BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE";
    held.client.batch_execute(lock).await.unwrap();
    let comparing = verb(&world, &["compare", "--into", &into]).spawn();
    wait::until("the comparison to wait for the table", || is_waiting(&world.target));
    let frozen = Frozen::new(&world.target);
    assert_told(comparing.wait());
    drop(frozen);
}

fn is_waiting(target: &Cluster) -> bool {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    target.sql("postgres", waiting).unwrap() != "0"
}
