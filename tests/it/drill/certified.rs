//! Drills that certify, what each leaves behind, and what their first line says.

use std::collections::BTreeMap;

use kubebackup::drill::{CheckName, DrillOptions, Outcome, Verdict, read_certificate, render};
use kubebackup::repository::CertificateState;
use tokio_util::sync::CancellationToken;

use super::Ground;
use crate::support::world::mark_disposable;

const EVERY_CLASS: &str = include_str!("../compare/every_class.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_every_class_certifies_and_leaves_nothing_behind() {
    let ground = Ground::with(EVERY_CLASS).await;
    let options = DrillOptions {
        amcheck: true,
        login_role: Some("app_user".to_owned()),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", render(&certificate, 100));
    println!("{}", render(&certificate, 100));
    assert_eq!(
        ground.states().await,
        [CertificateState::Started, CertificateState::Certified]
    );
    assert!(
        certificate.summary.starts_with("CERTIFIED: shop"),
        "{}",
        certificate.summary
    );
    assert!(
        certificate.summary.contains("table \"app\".\"cache\" (unlogged)"),
        "{}",
        certificate.summary
    );
    assert!(certificate.recovery_seconds.unwrap() > 0.0);
    assert!(!certificate.target.as_ref().unwrap().machine.fsync);
    let outcome = |name| {
        let checks = &certificate.databases[0].checks;
        checks.iter().find(|check| check.name == name).unwrap().outcome
    };
    assert_eq!(
        (outcome(CheckName::Login), outcome(CheckName::Amcheck)),
        (Outcome::Passed, Outcome::Passed)
    );
    let listed = ground.repository.certificates_of(&ground.backup_id).await.unwrap();
    let stored = ground
        .repository
        .read_certificate(&ground.backup_id, &listed[1], read_certificate)
        .await;
    assert_eq!(stored.unwrap(), certificate);
    assert_eq!(
        ground.restored("SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'"),
        ""
    );
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        ""
    );
}

/// What the drilled database is made of on disk is nobody's, and lz4 costs a fraction of pglz.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_compresses_long_values_quickly_unless_their_column_says_how() {
    let ground = Ground::with(
        "CREATE TABLE t (by_default text, as_told text COMPRESSION pglz);
         INSERT INTO t SELECT repeat('long ', 5000), repeat('long ', 5000)",
    )
    .await;
    let keep = DrillOptions {
        keep: true,
        ..ground.options()
    };
    let certificate = ground.drill(&keep).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", render(&certificate, 100));
    assert_eq!(
        ground.restored("SELECT pg_column_compression(by_default), pg_column_compression(as_told) FROM t"),
        "lz4|pglz"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_drill_leaves_the_database_and_the_next_one_cleans_up_after_it() {
    let ground =
        Ground::with("CREATE TABLE t (a int); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO app_owner").await;
    let keep = DrillOptions {
        keep: true,
        ..ground.options()
    };
    assert_eq!(ground.drill(&keep).await.verdict, Verdict::Certified);
    assert_eq!(ground.restored("SELECT a FROM t"), "1");
    let created = ground.drill(&ground.options()).await.databases[0].roles_created.clone();
    assert_eq!(
        created,
        ["app_owner"],
        "the role that the first drill left was dropped and made anew"
    );
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_drills_on_one_server_leave_each_other_their_roles() {
    let ground = Ground::with("CREATE TABLE t (a int); ALTER TABLE t OWNER TO app_owner").await;
    ground.target.sql("postgres", "CREATE DATABASE other").unwrap();
    mark_disposable(&ground.target, "other", ground.repository.id().as_str());
    let other = DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), ground.target_options().with_database("other"))]),
        ..DrillOptions::default()
    };
    // The first has made its roles, which own nothing yet.
    let drill_the_other = || {
        let drilled = async { ground.drill(&other).await };
        let certificate = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drilled));
        assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    };
    let certificate = ground
        .drill_and("pre-data", &drill_the_other, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        "",
        "the last one dropped them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_by_default_is_certified() {
    let ground = Ground::with(
        "CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO app_user;
         ALTER DATABASE shop SET default_transaction_read_only = on",
    )
    .await;
    let options = DrillOptions {
        login_role: Some("app_user".to_owned()),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materialized_view_that_reads_a_foreign_grandchild_is_not_refreshed() {
    let ground = Ground::with(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
         CREATE USER MAPPING FOR PUBLIC SERVER away;
         CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
         CREATE MATERIALIZED VIEW m AS SELECT a FROM parent;
         CREATE FOREIGN TABLE grandchild () INHERITS (child) SERVER away",
    )
    .await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    let remarks = certificate.databases[0].remarks.join("\n");
    assert!(
        remarks.contains("\"m\": reads a foreign table, not refreshed"),
        "{remarks}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_the_backup_left_out_stands_in_the_first_line_of_a_certified_one() {
    let mut ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.source.sql("postgres", "CREATE DATABASE books").unwrap();
    ground.back_up(&["shop"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified);
    assert!(
        certificate.summary.contains("database books (not in the backup)"),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_that_was_not_restored_stands_in_the_first_line() {
    let mut ground = Ground::with("").await;
    for statement in [
        "ALTER ROLE CURRENT_USER SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE fast LOCATION ''",
    ] {
        ground.source.sql("postgres", statement).unwrap();
    }
    let table = "CREATE TABLE t (a int) TABLESPACE fast";
    ground.source.sql("shop", table).unwrap();
    ground.back_up(&["shop"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    let not_tested = "tablespace fast (objects rebuilt in the default one)".to_owned();
    assert!(
        certificate.not_tested.contains(&not_tested),
        "{:?}",
        certificate.not_tested
    );
    assert!(certificate.summary.contains(&not_tested), "{}", certificate.summary);
}
