//! Single connections of a drill that break, sessions that somebody ends, no connections left: nothing is known about the
//! backup then.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use kubebackup::drill::{Cause, Certificate, DrillOptions, Verdict};
use kubebackup::postgres::connect;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Ground;
use crate::support::library::cluster_options;
use crate::support::tcp_proxy::{Fault, TcpProxy, Way};
use crate::support::wait;

const ROWS: &str = "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 10) AS text FROM generate_series(1, 20000) i;
                    ALTER TABLE t ADD PRIMARY KEY (i); CREATE VIEW v AS SELECT 1 AS one;";

/// A drill's options with the target behind a proxy.
fn through(ground: &Ground, proxy: &TcpProxy) -> DrillOptions {
    let mut target = ground.target_options();
    target.port = proxy.port();
    DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), target)]),
        jobs: 1,
        ..DrillOptions::default()
    }
}

#[track_caller]
fn assert_unverified(certificate: &Certificate, cause: Cause, what: &str) {
    let summary = &certificate.summary;
    assert_eq!(certificate.verdict, Verdict::Unverified(cause), "{what}: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_target_that_breaks_leaves_a_drill_unverified_and_never_failed() {
    let ground = Ground::with(ROWS).await;
    let proxy = TcpProxy::start(ground.target.port());
    let options = through(&ground, &proxy);
    // The rows on their way in and out again, the programs that restore definitions and read them again, and the lock.
    for (purpose, number, fault) in [
        ("restore", None, Fault::Cut(Way::ToServer, 2_000_000)),
        ("compare", None, Fault::Cut(Way::ToClient, 2_000_000)),
        ("client program", Some(0), Fault::Cut(Way::ToClient, 1_000)),
        ("client program", None, Fault::Cut(Way::ToClient, 3_000)),
        ("guard", None, Fault::Cut(Way::ToClient, 3_000)),
    ] {
        let before = proxy.struck();
        proxy.on(purpose, number, fault);
        let certificate = ground.drill(&options).await;
        assert!(
            proxy.struck() > before,
            "{purpose} {fault:?} never struck: {}",
            certificate.summary
        );
        assert_unverified(&certificate, Cause::Interrupted, purpose);
        proxy.clear();
    }
    assert_eq!(ground.drill(&options).await.verdict, Verdict::Certified);
}

/// Drills while connections of `purpose` are slow, and ends the session once it is copying.
fn drill_ended_while(ground: &Ground, proxy: &TcpProxy, (purpose, way): (&'static str, Way)) -> Certificate {
    proxy.on(purpose, None, Fault::Slow(way, 4096));
    let find = format!(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
         WHERE application_name = 'kubebackup {purpose}' AND query LIKE 'COPY%public%' AND state = 'active'"
    );
    let options = through(ground, proxy);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let end = scope.spawn(|| {
                wait::until("the rows to be copied", || {
                    ground.target.sql("postgres", &find).unwrap() == "1"
                });
                proxy.clear();
            });
            let certificate = Handle::current().block_on(ground.drill(&options));
            end.join().unwrap();
            certificate
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_ends_a_session_of_a_drill_leaves_it_unverified_and_never_failed() {
    let ground = Ground::with(ROWS).await;
    let proxy = TcpProxy::start(ground.target.port());
    for copying in [("restore", Way::ToServer), ("compare", Way::ToClient)] {
        let certificate = drill_ended_while(&ground, &proxy, copying);
        assert_unverified(&certificate, Cause::Interrupted, copying.0);
    }
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_connections_are_all_taken_is_absent_for_now() {
    let mut ground = Ground::with("CREATE TABLE t (a int)").await;
    ground
        .target
        .sql("postgres", "ALTER SYSTEM SET max_connections = 10")
        .unwrap();
    ground.target.stop(nix::sys::signal::Signal::SIGINT).unwrap();
    ground.target.start_server().unwrap();
    let mut taken = Vec::new();
    while let Ok(session) = connect(&cluster_options(&ground.target, "postgres"), "taken").await {
        taken.push(session);
    }
    let certificate = ground.drill(&ground.options()).await;
    assert_unverified(&certificate, Cause::TargetAbsent, "no connection left");
    assert!(
        certificate.summary.contains("too many clients"),
        "{}",
        certificate.summary
    );
    drop(taken);
    wait::until_async("connections to be free again", async || {
        ground
            .target
            .sql(
                "postgres",
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kubebackup taken'",
            )
            .is_ok_and(|left| left == "0")
    })
    .await;
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
}

/// As an exporter does that looks into every database that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_visits_every_database_keeps_no_drill_from_its_scratch_databases() {
    let ground = Ground::with(ROWS).await;
    let over = CancellationToken::new();
    let monitor = tokio::spawn({
        let (options, over) = (cluster_options(&ground.target, "postgres"), over.clone());
        async move {
            let home = connect(&options, "monitor").await.unwrap();
            let mut visited = BTreeMap::new();
            while !over.is_cancelled() {
                let query = "SELECT datname::text FROM pg_database WHERE datname LIKE 'kubebackup%'";
                for row in home.client.query(query, &[]).await.unwrap() {
                    let name: String = row.get(0);
                    // Gone again, or still being made.
                    if let Ok(session) = connect(&options.with_database(&name), "monitor").await {
                        visited.insert(name, session);
                    }
                }
            }
            visited.len()
        }
    });
    let certificate = ground.drill(&ground.options()).await;
    over.cancel();
    assert!(monitor.await.unwrap() > 0, "it was never there in time");
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
}

/// As by the kernel of a pod that has used up its memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_program_that_is_killed_leaves_a_drill_unverified_and_never_failed() {
    let ground = Ground::with(ROWS).await;
    let real = kubebackup::demo::find_bin_directory().unwrap();
    for killed in ["pg_restore", "pg_dump"] {
        let directory = tempfile::tempdir().unwrap();
        for program in ["pg_restore", "pg_dump"] {
            let path = real.join(program);
            let script = format!(
                "#!/bin/sh\n[ {program} != {killed} ] || [ \"$1\" = --version ] || kill -9 $$\nexec {} \"$@\"\n",
                path.display()
            );
            let file = directory.path().join(program);
            std::fs::write(&file, script).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let options = DrillOptions {
            bin_directory: Some(directory.path().to_owned()),
            ..ground.options()
        };
        let certificate = ground.drill(&options).await;
        assert_unverified(&certificate, Cause::Interrupted, killed);
        assert!(certificate.summary.contains("SIGKILL"), "{}", certificate.summary);
    }
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
}
