//! Every guard refuses on its own, with its mend in the text, and before anything is dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use kubebackup::content::DatabaseProperties;
use kubebackup::demo::Cluster;
use kubebackup::postgres::connect;
use kubebackup::repository::id::RepositoryId;
use kubebackup::restore::guard::guard_against;
use kubebackup::restore::{Error, Guarded, Refusal, wipe};
use tokio_util::sync::CancellationToken;

use crate::support::library::cluster_options;
use crate::support::{target_cluster, target_cluster_with, wait};

const DATABASE: &str = "shop_restored";

fn repository_id() -> RepositoryId {
    RepositoryId::new(7)
}

/// A target with one table in it, marked for the repository.
fn marked_target() -> Cluster {
    marked_target_on(target_cluster())
}

fn marked_target_on(cluster: Cluster) -> Cluster {
    cluster.sql("postgres", &format!("CREATE DATABASE {DATABASE}")).unwrap();
    cluster
        .sql(DATABASE, "CREATE TABLE precious AS SELECT 1 AS one")
        .unwrap();
    mark(&cluster, repository_id().as_str());
    cluster
}

fn mark(cluster: &Cluster, value: &str) {
    let statement = format!("ALTER DATABASE {DATABASE} SET kubebackup.disposable = '{value}'");
    cluster.sql("postgres", &statement).unwrap();
}

async fn try_guard(cluster: &Cluster, identifiers: &[String]) -> Result<Guarded, Error> {
    let identifiers: BTreeSet<String> = identifiers.iter().cloned().collect();
    let target = cluster_options(cluster, DATABASE);
    let maintenance = target.with_database("postgres");
    guard_against(&identifiers, &repository_id(), &target, &maintenance).await
}

/// The refusal's text, after looking that the table is still there.
async fn refused(cluster: &Cluster, identifiers: &[String]) -> (Refusal, String) {
    let Err(Error::Guard(refusal)) = try_guard(cluster, identifiers).await else {
        panic!("no guard refused");
    };
    let text = refusal.to_string();
    (refusal, text)
}

fn assert_nothing_was_dropped(cluster: &Cluster) {
    assert_eq!(cluster.sql(DATABASE, "TABLE precious").unwrap(), "1");
}

fn identifier(cluster: &Cluster) -> String {
    cluster
        .sql("postgres", "SELECT system_identifier FROM pg_control_system()")
        .unwrap()
}

pub(crate) fn properties(name: &str) -> DatabaseProperties {
    DatabaseProperties {
        name: name.to_owned(),
        owner: "postgres".to_owned(),
        encoding: "UTF8".to_owned(),
        collate: "C.UTF-8".to_owned(),
        ctype: "C.UTF-8".to_owned(),
        locale_provider: "libc".to_owned(),
        icu_locale: None,
        collation_version: None,
        connection_limit: -1,
        acl: Vec::new(),
        comment: None,
        settings: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_and_quiet_target_of_another_server_passes() {
    let cluster = marked_target();
    let guarded = try_guard(&cluster, &["1".to_owned()]).await.unwrap();
    guarded.check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_occurs_in_any_backup_is_refused() {
    let cluster = marked_target();
    let known = ["1".to_owned(), identifier(&cluster), "2".to_owned()];
    let (refusal, text) = refused(&cluster, &known).await;
    assert!(matches!(refusal, Refusal::SourceServer { .. }), "{text}");
    assert!(text.contains(&known[1]), "{text}");
    assert_nothing_was_dropped(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_its_owners_marker_or_with_that_of_another_repository_is_refused() {
    let cluster = marked_target();
    mark(&cluster, RepositoryId::new(8).as_str());
    let (refusal, text) = refused(&cluster, &[]).await;
    assert!(matches!(refusal, Refusal::Unmarked { found: Some(_), .. }), "{text}");
    let reset = format!("ALTER DATABASE {DATABASE} RESET kubebackup.disposable");
    cluster.sql("postgres", &reset).unwrap();
    let (refusal, text) = refused(&cluster, &[]).await;
    assert!(matches!(refusal, Refusal::Unmarked { found: None, .. }), "{text}");
    assert_nothing_was_dropped(&cluster);

    // The text holds the very statement that mends it; a role's own setting of that name is none.
    cluster
        .sql(
            "postgres",
            &format!(
                "ALTER ROLE postgres IN DATABASE {DATABASE} SET kubebackup.disposable = '{}'",
                repository_id()
            ),
        )
        .unwrap();
    assert!(matches!(refused(&cluster, &[]).await.0, Refusal::Unmarked { .. }));
    let (_, statement) = text.split_once("its owner runs: ").unwrap();
    cluster.sql("postgres", statement).unwrap();
    try_guard(&cluster, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_session_on_the_target_is_refused_and_named() {
    let cluster = marked_target();
    let foreign = connect(&cluster_options(&cluster, DATABASE), "foreign").await.unwrap();
    foreign
        .client
        .batch_execute("SET application_name = 'psql'")
        .await
        .unwrap();
    let (refusal, text) = refused(&cluster, &[]).await;
    assert!(matches!(refusal, Refusal::InUse { .. }), "{text}");
    assert!(text.contains("of postgres (psql)"), "{text}");
    assert_nothing_was_dropped(&cluster);
    drop(foreign);
    wait::until("the session to be gone", || {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{DATABASE}'");
        cluster.sql("postgres", &count).unwrap() == "0"
    });
    try_guard(&cluster, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_target_the_maintenance_database_itself_and_two_at_once_are_refused() {
    let cluster = marked_target();
    let first = try_guard(&cluster, &[]).await.unwrap();
    let (refusal, text) = refused(&cluster, &[]).await;
    assert!(matches!(refusal, Refusal::Locked { .. }), "{text}");
    drop(first);

    let target = cluster_options(&cluster, "nowhere");
    let result = guard_against(
        &BTreeSet::new(),
        &repository_id(),
        &target,
        &target.with_database("postgres"),
    )
    .await;
    assert!(matches!(result, Err(Error::Guard(Refusal::Absent { .. }))));

    let target = cluster_options(&cluster, DATABASE);
    let result = guard_against(&BTreeSet::new(), &repository_id(), &target, &target).await;
    assert!(matches!(result, Err(Error::Guard(Refusal::SameDatabase { .. }))));
    assert_nothing_was_dropped(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lock_stops_the_wipe_before_anything_is_dropped() {
    let cluster = marked_target();
    let guarded = try_guard(&cluster, &[]).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kubebackup guard'";
    assert_eq!(cluster.sql("postgres", end).unwrap(), "t");
    guarded.lost().cancelled().await;
    let error = wipe(&guarded, &properties(DATABASE), &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Guard(Refusal::LockLost { .. })), "{error}");
    assert_nothing_was_dropped(&cluster);
}

const PREPARE: &str = "BEGIN; LOCK TABLE precious; PREPARE TRANSACTION 'forgotten'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_in_the_target_is_refused_and_named() {
    let cluster = marked_target_on(target_cluster_with(&[("max_prepared_transactions", "1")]));
    cluster.sql(DATABASE, PREPARE).unwrap();
    let (_, text) = refused(&cluster, &[]).await;
    assert!(text.contains("ROLLBACK PREPARED for forgotten"), "{text}");
    cluster.sql(DATABASE, "ROLLBACK PREPARED 'forgotten'").unwrap();
    try_guard(&cluster, &[]).await.unwrap();
    assert_nothing_was_dropped(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wipe_that_waits_for_a_lock_ends_when_it_is_cancelled() {
    let cluster = marked_target_on(target_cluster_with(&[("max_prepared_transactions", "1")]));
    let guarded = try_guard(&cluster, &[]).await.unwrap();
    cluster.sql(DATABASE, PREPARE).unwrap();
    let cancel = CancellationToken::new();
    let once_it_waits = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        wait::until_async("the wipe to wait for the lock", async || {
            cluster.sql("postgres", waits).unwrap() != "0"
        })
        .await;
        cancel.cancel();
    };
    let properties = properties(DATABASE);
    let both = async { tokio::join!(wipe(&guarded, &properties, &cancel), once_it_waits) };
    let (wiped, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert!(matches!(wiped, Err(Error::Interrupted)), "{wiped:?}");
}
