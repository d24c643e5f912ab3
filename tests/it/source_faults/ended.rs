//! The server, or a session of it, is ended in the middle: killed, crashed, by its administrator.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Proxied, assert_failed, assert_failed_or_yielded, recovers};
use crate::support::crash::{kill_server, start_again};
use crate::support::tcp_proxy::{Fault, Way};
use crate::support::{Ended, Program, World, WorldOptions, wait};

const ROWS: &str = "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) i";

fn world() -> World {
    // What is committed is to be there after the server was killed.
    let world = World::with(WorldOptions {
        source_settings: &[("synchronous_commit", "on")],
        ..WorldOptions::default()
    });
    world.source_sql(ROWS);
    world
}

/// Stops a backup at `failpoint`, does `harm`, and lets it go on.
fn harmed_at(world: &mut World, failpoint: &str, harm: impl FnOnce(&mut World)) -> Ended {
    let go = world.directory().join("go");
    // Of the stop before this one.
    let _ = fs::remove_file(&go);
    let setting = format!("{failpoint}=go:{}", go.display());
    let mut backup = world.program(&["backup"]).env("KUBEBACKUP_FAILPOINT", &setting).spawn();
    backup.wait_for(&format!("failpoint {failpoint}"));
    harm(world);
    fs::write(go, "").unwrap();
    backup.wait()
}

#[test]
fn a_server_killed_in_any_phase_leaves_no_backup_unless_everything_had_been_read() {
    let mut world = world();
    for failpoint in ["after-locks", "after-snapshot", "after-schema", "after-first-chunk"] {
        let ended = harmed_at(&mut world, failpoint, |world| kill_server(&world.source));
        assert_failed_or_yielded(&world, &ended, &[]);
        start_again(&mut world.source);
    }
    // Nothing is asked of the server any more.
    harmed_at(&mut world, "before-manifest", |world| kill_server(&world.source)).ok();
    assert_eq!(world.keys("manifests/").len(), 1);
    start_again(&mut world.source);
    recovers(&world);
}

/// The process id of the session that has this application name.
fn backend(world: &World, name: &str) -> i32 {
    let find = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'");
    wait::for_some(name, || {
        world
            .source
            .sql("postgres", &find)
            .unwrap()
            .lines()
            .next()?
            .parse()
            .ok()
    })
}

#[test]
fn a_server_that_restarts_because_a_session_crashed_leaves_no_backup() {
    let mut world = world();
    let crash = |world: &mut World| {
        let pid = backend(world, "kubebackup snapshot");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    };
    let ended = harmed_at(&mut world, "after-schema", crash);
    assert_failed(&world, &ended, (1, 0), &["holds the snapshot", "shop"]);
    wait::until("the server to be back", || {
        world.source.sql("postgres", "SELECT 1").is_ok()
    });
    recovers(&world);
}

fn terminate(world: &World, name: &str) {
    let statement = format!(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    assert_eq!(world.source.sql("postgres", &statement).unwrap(), "1", "{name}");
}

#[test]
fn an_administrator_who_ends_the_session_that_holds_the_snapshot_is_named_as_the_cause() {
    let mut world = world();
    for failpoint in ["after-snapshot", "after-schema"] {
        let ended = harmed_at(&mut world, failpoint, |world| terminate(world, "kubebackup snapshot"));
        let words = ["holds the snapshot of database shop was lost", "administrator command"];
        assert_failed(&world, &ended, (7, 0), &words);
    }
    recovers(&world);
}

#[test]
fn an_administrator_who_ends_the_session_that_reads_the_roles_at_the_end_leaves_no_backup() {
    let mut world = world();
    let ended = harmed_at(&mut world, "after-schema", |world| {
        terminate(world, "kubebackup backup");
    });
    assert_failed(&world, &ended, (1, 0), &["closed"]);
    recovers(&world);
}

/// Runs a backup whose connection of `purpose` is slow, and does `harm` to it once so many bytes have come.
fn harmed_while(ground: &Proxied, (purpose, bytes): (&'static str, u64), harm: &str) -> Ended {
    ground.proxy.on(purpose, None, Fault::Slow(Way::ToClient, 256));
    let already = ground.proxy.passed(purpose);
    let mut backup = Program::spawn(ground.backup());
    wait::until("bytes to come", || {
        ground.proxy.passed(purpose) > already + bytes || backup.has_ended()
    });
    ground.world.source.sql("postgres", harm).unwrap();
    ground.proxy.clear();
    backup.wait()
}

#[test]
fn an_administrator_who_ends_a_worker_or_a_client_program_or_cancels_it_leaves_no_backup() {
    // Far more than the kernel's buffers hold between the server and a slow reader.
    let ground =
        Proxied::start("CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 30000) i");
    for (purpose, bytes, function, words) in [
        ("copy", 20_000, "pg_terminate_backend", "copy table \"public\".\"t\""),
        ("copy", 20_000, "pg_cancel_backend", "copy table \"public\".\"t\""),
        ("client program", 1_000, "pg_terminate_backend", "pg_dump"),
    ] {
        let harm = format!(
            "SELECT count({function}(pid)) FROM pg_stat_activity WHERE application_name = 'kubebackup {purpose}'"
        );
        let ended = harmed_while(&ground, (purpose, bytes), &harm);
        assert_failed_or_yielded(&ground.world, &ended, &[words]);
    }
    ground.recovers();
}
