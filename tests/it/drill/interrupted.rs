//! Drills that end before their end.

use std::time::Duration;

use kubebackup::drill::{Cause, DrillOptions, Error, Verdict, drill};
use kubebackup::repository::CertificateState;
use kubebackup::restore::guard;
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use super::Ground;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drill_leaves_its_start_marker_and_no_certificate() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = drill(
        &ground.repository,
        &ground.backup_id,
        &ground.options(),
        &Silent,
        &cancel,
    )
    .await;
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!(ground.states().await, [CertificateState::Started]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_cancelled_in_any_phase_leaves_no_certificate_and_the_next_one_certifies() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    for phase in ["wipe", "pre-data", "data", "post-data", "compare"] {
        let cancel = CancellationToken::new();
        let ended = ground.drill_and(phase, &|| cancel.cancel(), &cancel).await;
        assert!(matches!(ended, Err(Error::Interrupted)), "{phase}: {ended:?}");
    }
    assert_eq!(ground.states().await, [CertificateState::Started; 5]);
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
    let databases = ground.target.sql(
        "postgres",
        "SELECT datname FROM pg_database WHERE datname ~ '^kubebackup'",
    );
    assert_eq!(databases.unwrap(), "", "no scratch database is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_takes_too_long_is_ended_and_unverified() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let options = DrillOptions {
        max_duration: Duration::from_millis(1),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Unverified(Cause::Interrupted));
    assert!(
        certificate.summary.contains("drill.max_duration"),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_loses_its_lock_stops_and_is_unverified() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    for phase in ["wipe", "data", "compare"] {
        let end_the_lock = || {
            let terminate = "SELECT count(pg_terminate_backend(l.pid, 10000)) FROM pg_locks l \
                             JOIN pg_stat_activity a USING (pid) \
                             WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'kubebackup guard'";
            assert_eq!(ground.target.sql("postgres", terminate).unwrap(), "1");
        };
        let certificate = ground
            .drill_and(phase, &end_the_lock, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{phase}: {}",
            certificate.summary
        );
        assert!(
            certificate.summary.contains("lock on target 'restored' was lost"),
            "{}",
            certificate.summary
        );
    }
    assert_eq!(
        ground.drill(&ground.options()).await.verdict,
        Verdict::Certified,
        "the next one is none the worse"
    );
}

/// Two agents that begin in the same moment: the lock decides, and the loser says nothing about the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_gives_way_to_who_holds_its_target_leaves_no_certificate() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let target = ground.target_options();
    let maintenance = target.with_database("postgres");
    let holder = guard(&ground.repository, &target, &maintenance).await.unwrap();
    let gives_way = DrillOptions {
        gives_way: true,
        ..ground.options()
    };
    let cancel = CancellationToken::new();
    let ended = drill(&ground.repository, &ground.backup_id, &gives_way, &Silent, &cancel).await;
    assert!(
        matches!(&ended, Err(Error::Held { database }) if database == "restored"),
        "{ended:?}"
    );
    assert_eq!(ground.states().await, [CertificateState::Started]);
    drop(holder);
    assert_eq!(ground.drill(&gives_way).await.verdict, Verdict::Certified);
}
