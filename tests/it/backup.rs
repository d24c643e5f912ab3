//! A backup run seen from the repository: what is stored, what is reused, what is refused.

use std::sync::Arc;
use std::time::Duration;

use kubebackup::backup::{BackupOptions, backup};
use kubebackup::content::LedgerState;
use kubebackup::postgres::{ConnectOptions, TlsMode};
use kubebackup::repository::id::RepositoryId;
use kubebackup::repository::{Repository, StoredManifest};
use kubebackup::storage::MemoryStore;
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, World, WorldOptions};

async fn repository() -> Repository {
    Repository::open_or_create(Arc::new(MemoryStore::new()), RepositoryId::new(7))
        .await
        .unwrap()
}

fn source(world: &World) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: world.source.port(),
        user: BACKUP_ROLE.to_owned(),
        database: world.database().to_owned(),
        password: Some(BACKUP_PASSWORD.to_owned()),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

async fn run(
    world: &World,
    repository: &Repository,
    options: &BackupOptions,
) -> kubebackup::backup::Result<StoredManifest> {
    backup(
        &source(world),
        repository,
        options,
        Arc::new(Silent),
        &CancellationToken::new(),
    )
    .await
}

fn shop_only() -> BackupOptions {
    BackupOptions {
        databases: Some(vec!["shop".to_owned()]),
        ..BackupOptions::new("production")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_database_is_referred_to_and_not_stored_again() {
    let world = World::start();
    world.source_sql("CREATE TABLE item AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 200000) n");
    let repository = repository().await;
    let options = shop_only();
    let first = run(&world, &repository, &options).await.unwrap();
    let read = repository.read_backup(&first.manifest.backup_id).await.unwrap();
    let table = &read.databases[0].tables[0];
    assert_eq!(table.name().to_string(), "\"public\".\"item\"");
    assert_eq!(table.tally.rows, 200_000);
    assert_eq!(first.manifest.stats.raw_bytes, table.tally.raw_bytes);
    assert_eq!(first.manifest.stats.reused_chunks, 0);

    let second = run(&world, &repository, &options).await.unwrap();
    assert_eq!(second.manifest.predecessor.unwrap().backup_id, first.manifest.backup_id);
    let again = repository.read_backup(&second.manifest.backup_id).await.unwrap();
    assert_eq!(again.databases[0].tables, read.databases[0].tables);
    assert!(second.manifest.stats.reused_chunks >= 2, "{:?}", second.manifest.stats);
    assert!(second.manifest.stats.new_bytes < first.manifest.stats.new_bytes / 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_relation_has_a_state_in_the_ledger() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE a (id int); CREATE UNLOGGED TABLE b (id int); CREATE VIEW c AS SELECT 1 AS one;
         CREATE MATERIALIZED VIEW d AS SELECT 1 AS one; CREATE SEQUENCE e;
         CREATE TABLE p (k int) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;
         CREATE FOREIGN TABLE f (id int) SERVER s; CREATE TABLE log_1 (id int); CREATE TABLE none ();",
    );
    let repository = repository().await;
    let mut options = shop_only();
    options.exclude_tables = vec!["public.log_*".parse().unwrap()];
    let stored = run(&world, &repository, &options).await.unwrap();
    let read = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    let states: Vec<(&str, LedgerState)> = read.databases[0]
        .ledger
        .iter()
        .map(|entry| (entry.name.name.as_str(), entry.state))
        .collect();
    assert_eq!(
        states,
        [
            ("a", LedgerState::Dumped),
            ("b", LedgerState::Unlogged),
            ("c", LedgerState::Structure),
            ("d", LedgerState::Structure),
            ("e", LedgerState::Structure),
            ("f", LedgerState::Foreign),
            ("log_1", LedgerState::Excluded),
            ("none", LedgerState::Dumped),
            ("p", LedgerState::Structure),
            ("p1", LedgerState::Dumped),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_role_cannot_read_is_refused_by_name_before_anything_is_locked() {
    let world = World::with(WorldOptions {
        bypass_rls: false,
        ..WorldOptions::default()
    });
    world.source_sql(
        "CREATE TABLE open (id int); CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;",
    );
    let repository = repository().await;
    let error = run(&world, &repository, &shop_only()).await.unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(text.contains("\"public\".\"guarded\" (row-level security)"), "{text}");
    assert!(!text.contains("open"), "{text}");
    assert!(repository.backup_ids().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_tables_share_one_request_and_more() {
    let world = World::start();
    world.source_sql(
        "DO $$ BEGIN FOR n IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT %s AS id', n, n); END LOOP; END $$",
    );
    let store = Arc::new(MemoryStore::new());
    let repository = Repository::open_or_create(store, RepositoryId::new(7)).await.unwrap();
    let before = repository.store().stats();
    let stored = run(&world, &repository, &shop_only()).await.unwrap();
    let after = repository.store().stats();
    assert_eq!(stored.manifest.stats.tables, 1000);
    let requests =
        after.puts + after.gets + after.heads + after.lists - before.puts - before.gets - before.heads - before.lists;
    assert!(requests < 100, "{requests} requests for 1000 tables");
}
