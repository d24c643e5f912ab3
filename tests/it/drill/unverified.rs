//! Drills whose target cannot prove anything, which keeps what it has.

use std::collections::BTreeMap;

use kubebackup::drill::{Cause, DrillOptions, Verdict};
use kubebackup::postgres::ConnectOptions;
use tokio_util::sync::CancellationToken;

use super::{Ground, connect_options};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_target_is_not_certified_and_stands_in_the_first_line() {
    let mut ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.source.sql("postgres", "CREATE DATABASE books").unwrap();
    ground.back_up(&["shop", "books"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Unverified(Cause::TargetAbsent));
    assert!(
        certificate.summary.contains("database books (no target)"),
        "{}",
        certificate.summary
    );
    assert!(certificate.databases[0].equal, "the other one was drilled all the same");
}

type Change<'a> = &'a dyn Fn(&mut ConnectOptions);

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_or_not_marked_or_not_open_is_unverified() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let with = |change: Change<'_>| {
        let mut target = ground.target_options();
        change(&mut target);
        DrillOptions {
            targets: BTreeMap::from([("shop".to_owned(), target)]),
            ..DrillOptions::default()
        }
    };
    ground.target.sql("postgres", "CREATE DATABASE unmarked").unwrap();
    let cases: [(Change<'_>, Cause); 4] = [
        (
            &|target| "nowhere".clone_into(&mut target.database),
            Cause::TargetAbsent,
        ),
        (
            &|target| "unmarked".clone_into(&mut target.database),
            Cause::TargetAbsent,
        ),
        (&|target| target.port = 1, Cause::TargetAbsent),
        (&|target| target.password = "wrong".into(), Cause::Credentials),
    ];
    for (change, cause) in cases {
        let certificate = ground.drill(&with(change)).await;
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(cause),
            "{}",
            certificate.summary
        );
        assert!(certificate.summary.starts_with("UNVERIFIED"), "{}", certificate.summary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_not_wiped_for_a_backup_that_cannot_be_restored_into_it() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.restored("CREATE TABLE precious AS SELECT 1 AS one");
    let without_programs = DrillOptions {
        bin_directory: Some("/nonexistent".into()),
        ..ground.options()
    };
    assert_ne!(ground.drill(&without_programs).await.verdict, Verdict::Certified);
    assert_eq!(ground.restored("TABLE precious"), "1");

    let backup = ground.repository.read_backup(&ground.backup_id).await.unwrap();
    let segment = &backup.databases[0].head.schema_archive[0];
    let key = backup.chunks[segment.chunk as usize].key.clone();
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(
        (certificate.verdict, certificate.damaged_objects),
        (Verdict::Failed, vec![key])
    );
    assert_eq!(ground.restored("TABLE precious"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_role_may_not_create_a_scratch_database_is_unverified_and_keeps_what_it_has() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let poor = "CREATE ROLE poor LOGIN PASSWORD 'poor'; ALTER DATABASE restored OWNER TO poor";
    ground.target.sql("postgres", poor).unwrap();
    ground.restored("CREATE TABLE precious AS SELECT 1 AS one");
    let target = connect_options(&ground.target, "poor", "poor", "restored");
    let options = DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), target)]),
        ..DrillOptions::default()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(
        certificate.verdict,
        Verdict::Unverified(Cause::Credentials),
        "{}",
        certificate.summary
    );
    assert!(
        certificate.summary.contains("permission denied to create database"),
        "{}",
        certificate.summary
    );
    assert_eq!(ground.restored("TABLE precious"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_makes_no_scratch_database_at_the_end_is_unverified_unless_something_else_differs() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    let options = || DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), ground.target_of("boss", "boss"))]),
        ..DrillOptions::default()
    };
    let boss = "CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'; GRANT pg_read_all_data TO boss";
    ground.target.sql("postgres", boss).unwrap();
    let demote = "ALTER ROLE boss NOSUPERUSER";
    let rename = "ALTER DATABASE template0 RENAME TO elsewhere";
    let lose_a_row = "\\c restored\nDELETE FROM t WHERE n = 50;";
    for (harm, verdict, words) in [
        (
            demote.to_owned(),
            Verdict::Unverified(Cause::Credentials),
            "permission denied to create database",
        ),
        (rename.to_owned(), Verdict::Unverified(Cause::TargetAbsent), "template0"),
        (format!("{rename};\n{lose_a_row}"), Verdict::Failed, "rows failed"),
    ] {
        let do_it = || drop(ground.target.sql("postgres", &harm).unwrap());
        let certificate = ground
            .drill_as(&options(), "compare", &do_it, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(certificate.verdict, verdict, "{}", certificate.summary);
        assert!(
            certificate.reasons.join("\n").contains(words),
            "{:?}",
            certificate.reasons
        );
        assert_eq!(certificate.databases[0].tables.len(), 1, "what was looked at is told");
        let mend = "ALTER ROLE boss SUPERUSER;
             SELECT 'ALTER DATABASE elsewhere RENAME TO template0' FROM pg_database WHERE datname = 'elsewhere' \\gexec";
        ground.target.sql("postgres", mend).unwrap();
    }
    assert_eq!(ground.drill(&options()).await.verdict, Verdict::Certified);
}

/// The role of such a drill is no superuser; whatever else it may not do, this much is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_may_not_see_the_servers_settings_says_so() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let role = "CREATE ROLE plain LOGIN CREATEDB CREATEROLE PASSWORD 'plain'; ALTER DATABASE restored OWNER TO plain";
    ground.target.sql("postgres", role).unwrap();
    let options = DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), ground.target_of("plain", "plain"))]),
        ..DrillOptions::default()
    };
    let is_said = |certificate: &kubebackup::drill::Certificate| {
        let words = "would run jobs restored into restored (needs pg_read_all_settings)";
        let listed = certificate.not_tested.iter().any(|what| what.contains(words));
        assert_eq!(
            listed, certificate.databases[0].jobs_unknown,
            "{:?}",
            certificate.not_tested
        );
        listed
    };
    assert!(is_said(&ground.drill(&options).await));
    let grant = "GRANT pg_read_all_settings TO plain";
    ground.target.sql("postgres", grant).unwrap();
    assert!(!is_said(&ground.drill(&options).await));
}
