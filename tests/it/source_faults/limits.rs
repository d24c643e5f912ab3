//! Limits that an administrator sets: times for statements and sessions, numbers of connections.

use std::fs;

use kubebackup::postgres::{ConnectOptions, Session, connect};
use tokio::runtime::Runtime;

use super::{Proxied, assert_failed, recovers};
use crate::support::library::cluster_options;
use crate::support::tcp_proxy::{Fault, Way};
use crate::support::{World, WorldOptions};

#[test]
fn time_limits_of_role_database_and_server_end_neither_statements_nor_idle_sessions_of_a_backup() {
    const LIMITS: [&str; 4] = [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
    ];
    let ground = Proxied::start("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 10000) i");
    for limit in LIMITS {
        for whom in [
            "ROLE kubebackup",
            "ROLE kubebackup IN DATABASE shop",
            "DATABASE shop",
            "SYSTEM",
        ] {
            let statement = format!("ALTER {whom} SET {limit} = '150ms'");
            ground.world.source.sql("postgres", &statement).unwrap();
        }
    }
    ground.world.source.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    let limited = ground
        .world
        .source
        .sql("postgres", "SELECT pg_sleep(10)")
        .unwrap_err()
        .to_string();
    assert!(limited.contains("statement timeout"), "{limited}");
    // Each statement and each pause takes longer than the limits.
    for purpose in ["copy", "client program"] {
        ground.proxy.on(purpose, None, Fault::Slow(Way::ToClient, 2 * 1024));
    }
    ground.backup().run().ok();
    assert_eq!(ground.world.keys("manifests/").len(), 1);
}

/// Takes every connection that there is.
fn take_all(runtime: &Runtime, options: &ConnectOptions) -> Vec<Session> {
    let mut sessions = Vec::new();
    while let Ok(session) = runtime.block_on(connect(options, "taken")) {
        sessions.push(session);
    }
    sessions
}

#[test]
fn a_server_whose_connections_are_all_taken_is_named_as_that_at_the_start_and_in_the_middle() {
    let world = World::with(WorldOptions {
        source_settings: &[("max_connections", "16")],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let runtime = Runtime::new().unwrap();
    let others = cluster_options(&world.source, "postgres");
    let words = ["too many clients already", "max_connections"];

    let taken = take_all(&runtime, &others);
    let ended = world.program(&["backup"]).run();
    assert_failed(&world, &ended, (1, 0), &words);
    drop(taken);

    let go = world.directory().join("go");
    let failpoint = format!("after-snapshot=go:{}", go.display());
    let mut backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_FAILPOINT", &failpoint)
        .spawn();
    backup.wait_for("failpoint after-snapshot");
    let taken = take_all(&runtime, &others);
    fs::write(go, "").unwrap();
    assert_failed(&world, &backup.wait(), (1, 0), &words);
    drop(taken);

    world
        .source
        .sql("postgres", "ALTER ROLE kubebackup CONNECTION LIMIT 0")
        .unwrap();
    let ended = world.program(&["backup"]).run();
    assert_failed(
        &world,
        &ended,
        (1, 0),
        &["too many connections for role", "CONNECTION LIMIT"],
    );
    world
        .source
        .sql("postgres", "ALTER ROLE kubebackup CONNECTION LIMIT -1")
        .unwrap();
    recovers(&world);
}
