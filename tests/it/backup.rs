//! A backup run seen from the repository: what is stored, what is reused, what is refused.

use std::sync::Arc;

use kubebackup::content::LedgerState;
use kubebackup::repository::Repository;
use kubebackup::repository::id::RepositoryId;
use kubebackup::storage::MemoryStore;

use crate::support::library::{backup_once, backup_options, error_chain, memory_repository, try_backup};
use crate::support::{World, WorldOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_database_is_referred_to_and_not_stored_again() {
    let world = World::start();
    world.source_sql("CREATE TABLE item AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 200000) n");
    let repository = memory_repository().await;
    let options = backup_options(&world);
    let first = try_backup(&world, &repository, &options).await.unwrap();
    let read = repository.read_backup(&first.manifest.backup_id).await.unwrap();
    let table = &read.databases[0].tables[0];
    assert_eq!(table.name().to_string(), "\"public\".\"item\"");
    assert_eq!(table.tally.rows, 200_000);
    assert_eq!(first.manifest.stats.raw_bytes, table.tally.raw_bytes);
    assert_eq!(first.manifest.stats.reused_chunks, 0);

    let second = try_backup(&world, &repository, &options).await.unwrap();
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
    let repository = memory_repository().await;
    let mut options = backup_options(&world);
    options.exclude_tables = vec!["public.log_*".parse().unwrap()];
    let stored = try_backup(&world, &repository, &options).await.unwrap();
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
    let repository = memory_repository().await;
    let error = try_backup(&world, &repository, &backup_options(&world))
        .await
        .unwrap_err();
    let text = error_chain(error);
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
    let stored = try_backup(&world, &repository, &backup_options(&world)).await.unwrap();
    let after = repository.store().stats();
    assert_eq!(stored.manifest.stats.tables, 1000);
    let requests =
        after.puts + after.gets + after.heads + after.lists - before.puts - before.gets - before.heads - before.lists;
    assert!(requests < 100, "{requests} requests for 1000 tables");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_role_and_database_do_not_reach_the_stored_text() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT timestamptz '2026-01-02 03:04:05+00' AS at, interval '1 mon 2 days' AS span,
             0.1::float8 + 0.2 AS number, '\\xdeadbeef'::bytea AS bytes, 12.5::money AS price, xml '<a/>' AS tree",
    );
    let repository = memory_repository().await;
    let plain = backup_once(&world, &repository).await;
    world.source_sql(
        "ALTER DATABASE shop SET DateStyle = 'SQL, DMY'; ALTER DATABASE shop SET TimeZone = 'Asia/Tokyo';
         ALTER DATABASE shop SET IntervalStyle = 'iso_8601'; ALTER DATABASE shop SET extra_float_digits = -5;
         ALTER ROLE kubebackup SET bytea_output = 'escape'; ALTER ROLE kubebackup SET search_path = 'nowhere';
         ALTER ROLE kubebackup SET statement_timeout = '1ms'; ALTER ROLE kubebackup SET row_security = on;",
    );
    let disturbed = backup_once(&world, &repository).await;
    assert_eq!(disturbed.databases[0].tables, plain.databases[0].tables);
    let settings = &disturbed.databases[0].head.properties.settings;
    assert!(
        settings.iter().any(|setting| setting.setting == "TimeZone=Asia/Tokyo"),
        "{settings:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inheritance_parent_stores_its_own_rows_and_a_dropped_column_none() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE parent (id int, gone text, name text); CREATE TABLE child (extra int) INHERITS (parent);
         INSERT INTO parent VALUES (1, 'x', 'parent'); INSERT INTO child VALUES (2, 'y', 'child', 3), (4, 'z', 'child', 5);
         ALTER TABLE parent DROP COLUMN gone; CREATE TABLE \"no columns\" (); INSERT INTO \"no columns\" DEFAULT VALUES;",
    );
    let read = backup_once(&world, &memory_repository().await).await;
    let rows: Vec<(&str, u64, usize)> = read.databases[0]
        .tables
        .iter()
        .map(|table| {
            (
                table.name().name.as_str(),
                table.tally.rows,
                table.description.columns.len(),
            )
        })
        .collect();
    assert_eq!(rows, [("child", 2, 3), ("no columns", 1, 0), ("parent", 1, 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_of_mappings_and_subscriptions_never_reach_the_repository() {
    let world = World::with(WorldOptions {
        source_settings: &[("wal_level", "logical")],
        ..WorldOptions::default()
    });
    world.source_sql(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far');
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'u', password 'mapping-secret');
         CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'public-secret');
         CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere password=subscription-secret' PUBLICATION p
             WITH (connect = false);",
    );
    for as_superuser in [false, true] {
        let repository = memory_repository().await;
        let mut source = crate::support::library::source_options(&world);
        if as_superuser {
            source.user = world.source.superuser().to_owned();
            source.password = world.source.password().into();
        }
        let stored = kubebackup::backup::backup(
            &source,
            &repository,
            &backup_options(&world),
            Arc::new(kubebackup::telemetry::progress::Silent),
            &tokio_util::sync::CancellationToken::new(),
        )
        .await
        .unwrap();
        let read = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
        let head = &read.databases[0].head;
        assert_eq!(head.subscriptions_left_out, ["sub"]);
        assert_eq!(head.mappings_redacted, ["far/postgres", "far/public"]);
        let archive = repository.read_segments(&read, &head.schema_archive).await.unwrap();
        let archive = String::from_utf8_lossy(&archive);
        assert!(
            archive.contains("CREATE USER MAPPING"),
            "the mappings themselves are there"
        );
        assert!(!archive.contains("secret"), "a password reached the archive");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_are_stored_by_their_bytes() {
    let world = World::start();
    world.source_sql(
        "SELECT lo_from_bytea(4711, decode(repeat('00ff7f', 5000), 'hex')); SELECT lo_create(4712);
         COMMENT ON LARGE OBJECT 4711 IS 'a picture'; GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC;",
    );
    let read = backup_once(&world, &memory_repository().await).await;
    let database = &read.databases[0];
    let sizes: Vec<(u32, u64)> = database
        .large_objects
        .iter()
        .map(|object| (object.oid, object.bytes))
        .collect();
    assert_eq!(sizes, [(4711, 15_000), (4712, 0)]);
    assert_eq!(database.large_objects[0].comment.as_deref(), Some("a picture"));
    assert!(
        database.large_objects[0]
            .acl
            .contains(&"PUBLIC=SELECT/postgres".to_owned())
    );
    assert_eq!(database.head.large_objects.rows, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_that_fails_leaves_no_backup_and_one_that_writes_is_refused() {
    let world = World::start();
    world.source_sql("CREATE TABLE t (id int)");
    let repository = memory_repository().await;
    let mut options = backup_options(&world);
    let assertion = |query: &str| kubebackup::backup::AssertionQuery {
        name: "sum".to_owned(),
        database: "shop".to_owned(),
        query: query.to_owned(),
    };
    for (query, cause) in [
        ("SELECT nothing FROM public.t", "does not exist"),
        (
            "WITH x AS (INSERT INTO public.t VALUES (1) RETURNING 1) SELECT * FROM x",
            "read-only",
        ),
    ] {
        options.assertions = vec![assertion(query)];
        let text = error_chain(try_backup(&world, &repository, &options).await.unwrap_err());
        assert!(text.contains("assertion 'sum'") && text.contains(cause), "{text}");
    }
    assert!(repository.backup_ids().await.unwrap().is_empty());
    options.assertions = vec![assertion("SELECT count(*) FROM public.t;")];
    let stored = try_backup(&world, &repository, &options).await.unwrap();
    let read = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    assert_eq!(read.databases[0].head.assertions[0].result.rows, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_room_for_locks_is_told_how_to_get_it() {
    let world = World::with(WorldOptions {
        source_settings: &[
            ("max_locks_per_transaction", "10"),
            ("max_connections", "20"),
            ("max_prepared_transactions", "0"),
        ],
        ..WorldOptions::default()
    });
    world.source_sql(
        "DO $$ BEGIN FOR n IN 1..150 LOOP EXECUTE format('CREATE TABLE t%s ()', n); COMMIT; END LOOP; END $$",
    );
    let error = try_backup(&world, &memory_repository().await, &backup_options(&world))
        .await
        .unwrap_err();
    let text = error_chain(error);
    assert!(
        text.contains("has 150 tables, but the server can hold about 200 locks; set max_locks_per_transaction to 20"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_extension_declares_as_configuration_is_stored_and_the_rest_is_said() {
    let world = World::start();
    // No extension of the distribution declares any, so one is made to.
    world.source_sql(
        "CREATE EXTENSION btree_gist; CREATE SEQUENCE declared; SELECT setval('declared', 4711); CREATE TABLE kept (n int);
         INSERT INTO kept VALUES (1), (2); CREATE TABLE own (n int);
         ALTER EXTENSION btree_gist ADD SEQUENCE declared; ALTER EXTENSION btree_gist ADD TABLE kept;
         ALTER EXTENSION btree_gist ADD TABLE own;
         UPDATE pg_extension SET extconfig = ARRAY['declared'::regclass::oid, 'kept'::regclass::oid],
             extcondition = ARRAY['', 'WHERE n > 1'] WHERE extname = 'btree_gist'",
    );
    let read = backup_once(&world, &memory_repository().await).await;
    let database = &read.databases[0];
    let sequences: Vec<(&str, i64)> = database
        .sequences
        .iter()
        .map(|sequence| (sequence.name.name.as_str(), sequence.last_value))
        .collect();
    assert_eq!(sequences, [("declared", 4711)]);
    assert_eq!(
        database.tables.iter().map(|table| table.tally.rows).collect::<Vec<_>>(),
        [1]
    );
    let not_covered = kubebackup::drill::not_covered(database);
    assert_eq!(
        not_covered,
        ["table \"public\".\"own\" (of an extension, which fills it itself)"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_with_a_foreign_partition_is_never_loaded_through_its_root() {
    let world = World::start();
    world.source_sql(
        "CREATE TYPE colour AS ENUM ('red', 'green'); CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid');
         CREATE TABLE mixed (c colour) PARTITION BY HASH (c);
         CREATE TABLE mixed_0 PARTITION OF mixed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE FOREIGN TABLE mixed_1 PARTITION OF mixed FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER far;
         CREATE TABLE local (c colour) PARTITION BY HASH (c);
         CREATE TABLE local_0 PARTITION OF local FOR VALUES WITH (MODULUS 1, REMAINDER 0);",
    );
    let read = backup_once(&world, &memory_repository().await).await;
    let through: Vec<(&str, bool)> = read.databases[0]
        .tables
        .iter()
        .map(|table| (table.name().name.as_str(), table.description.load_through.is_some()))
        .collect();
    assert_eq!(through, [("local_0", true), ("mixed_0", false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_take_no_connections_are_named_as_not_included() {
    let world = World::start();
    world
        .source
        .sql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false")
        .unwrap();
    let read = backup_once(&world, &memory_repository().await).await;
    assert_eq!(read.manifest.databases_not_included, ["closed", "postgres"]);
}
