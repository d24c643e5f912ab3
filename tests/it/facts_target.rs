//! What PostgreSQL does to a database that is being rebuilt: facts 9 to 20 and 29 of `docs/facts.md`, where no other file
//! has them.

use kubebackup::demo::Cluster;
use kubebackup::restore::{RestoreOptions, restore_database};
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use crate::support::library::{backup_once, blocking_checks, cluster_options, memory_repository};
use crate::support::{World, WorldOptions};

/// A drill of `world`'s backup, its certificate, and what it printed where it did not certify.
#[track_caller]
fn certified(world: &World) -> serde_json::Value {
    world.program(&["backup"]).run().ok();
    world.mark_targets();
    world
        .program(&["--output", "json", "drill", "--keep"])
        .run()
        .ok()
        .json()
}

/// How often anybody has come to a server that logs connections.
fn visits(cluster: &Cluster) -> usize {
    cluster.log().matches("connection received").count()
}

/// Everything by which a restored database could reach another server; here that server is the source itself.
fn tentacles(port: u16, password: &str) -> String {
    format!(
        "CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink;
         CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'shop');
         CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'postgres', password '{password}');
         CREATE TABLE near AS SELECT chr(96 + i) AS name FROM generate_series(1, 26) i;
         CREATE FOREIGN TABLE far (name text) SERVER elsewhere OPTIONS (table_name 'near');
         CREATE VIEW over_far AS SELECT * FROM far;
         CREATE MATERIALIZED VIEW a_far AS SELECT count(*) AS n FROM over_far;
         CREATE MATERIALIZED VIEW b_far AS SELECT n FROM a_far;
         CREATE MATERIALIZED VIEW z_near AS SELECT count(*) AS n FROM near;
         CREATE MATERIALIZED VIEW m_near AS SELECT n + 1 AS n FROM z_near;
         CREATE MATERIALIZED VIEW a_near AS SELECT n + 1 AS n FROM m_near;
         CREATE MATERIALIZED VIEW never AS SELECT n FROM a_near WITH NO DATA;
         CREATE TABLE tree (name text) PARTITION BY RANGE (name);
         CREATE TABLE tree_near PARTITION OF tree FOR VALUES FROM (MINVALUE) TO ('m');
         CREATE FOREIGN TABLE tree_far PARTITION OF tree FOR VALUES FROM ('m') TO (MAXVALUE)
             SERVER elsewhere OPTIONS (table_name 'near');
         INSERT INTO tree SELECT chr(97 + i % 12) FROM generate_series(1, 100) i;
         CREATE MATERIALIZED VIEW tree_names AS SELECT DISTINCT name FROM tree;
         CREATE PUBLICATION everything FOR ALL TABLES;
         CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port={port} dbname=shop user=postgres password={password}'
             PUBLICATION everything WITH (connect = false, slot_name = 'sub', enabled = false);"
    )
}

#[test]
fn a_drill_contacts_nobody_and_refreshes_what_can_be_refreshed_in_order() {
    let world = World::with(WorldOptions {
        source_settings: &[("log_connections", "on"), ("wal_level", "logical")],
        ..WorldOptions::default()
    });
    world.source_sql(&tentacles(world.source.port(), world.source.password()));
    world.program(&["backup"]).run().ok();
    world.mark_targets();
    let before = visits(&world.source);
    let drilled = world.program(&["--output", "json", "drill", "--keep"]).run();
    let after = visits(&world.source);
    let certificate = drilled.ok().json();
    assert_eq!(before, after, "somebody came to the source");
    let not_tested = certificate["not_tested"].to_string();
    for name in ["\\\"far\\\"", "tree_far"] {
        assert!(not_tested.contains(name), "{name} is not in {not_tested}");
    }
    let checks = certificate["databases"][0]["checks"].to_string();
    for name in ["a_far", "b_far", "tree_names"] {
        assert!(checks.contains(name), "{name} is not in {checks}");
    }
    let populated =
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'm' AND relispopulated";
    assert_eq!(world.restored_sql(populated), "a_near m_near z_near");
    assert_eq!(world.restored_sql("SELECT n FROM a_near"), "28");
    assert_eq!(world.restored_sql("SELECT count(*) FROM tree_near"), "100");
    assert_eq!(world.restored_sql("SELECT count(*) FROM pg_subscription"), "0");

    // Kept, the database still has it all; the wipe of the next drill goes nowhere either.
    world.program(&["drill"]).run().ok();
    assert_eq!(visits(&world.source), after);
}

#[test]
fn a_recovery_time_counts_neither_the_wipe_nor_the_comparison() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let certificate = certified(&world);
    let phases = certificate["databases"][0]["phases"].as_array().unwrap();
    let sum = |counts: &dyn Fn(&str) -> bool| -> f64 {
        let counted = phases.iter().filter(|phase| counts(phase["name"].as_str().unwrap()));
        counted.map(|phase| phase["seconds"].as_f64().unwrap()).sum()
    };
    let restoring = sum(&|name| !["wipe", "compare"].contains(&name));
    let (wipe, compare) = (sum(&|name| name == "wipe"), sum(&|name| name == "compare"));
    let recovery = certificate["recovery_seconds"].as_f64().unwrap();
    assert!(
        restoring <= recovery && recovery < restoring + wipe.min(compare),
        "{restoring} {recovery} {wipe} {compare}"
    );
    assert_eq!(certificate["target"]["fsync"], false, "recorded beside it");
}

#[test]
fn a_database_whose_settings_would_change_the_text_of_every_row_is_certified() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT timestamptz '2026-01-02 03:04:05+00' + i * interval '1 day' AS at, i * interval '1 mon 2 days' AS span,
             0.1::float8 + i / 3.0::float8 AS number, '\\xdeadbeef'::bytea AS bytes, 12.5::money AS price, xml '<a/>' AS tree
             FROM generate_series(1, 50) i;
         ALTER DATABASE shop SET DateStyle = 'SQL, DMY'; ALTER DATABASE shop SET TimeZone = 'Asia/Tokyo';
         ALTER DATABASE shop SET IntervalStyle = 'iso_8601'; ALTER DATABASE shop SET extra_float_digits = -5;
         ALTER DATABASE shop SET bytea_output = 'escape'; ALTER DATABASE shop SET xmlbinary = 'hex';
         ALTER DATABASE shop SET search_path = 'nowhere'; ALTER DATABASE shop SET statement_timeout = '1ms';
         ALTER DATABASE shop SET default_transaction_read_only = on; ALTER DATABASE shop SET row_security = off;
         ALTER DATABASE shop SET synchronize_seqscans = on; ALTER DATABASE shop SET client_encoding = 'LATIN1';",
    );
    let certificate = certified(&world);
    assert_eq!(certificate["verdict"], "certified");
    let question = "SELECT current_setting('DateStyle'), current_setting('TimeZone'), (SELECT at FROM public.t ORDER BY at LIMIT 1)";
    // A limit of a millisecond would end the question itself.
    let unhurried = |database: &str| format!("ALTER DATABASE {database} RESET statement_timeout");
    world.source.sql("postgres", &unhurried(world.database())).unwrap();
    world.target.sql("postgres", &unhurried(&world.restored())).unwrap();
    assert_eq!(world.restored_sql(question), world.source_sql(question));
}

#[test]
fn a_drill_needs_no_tablespace_of_the_source() {
    let world = World::start();
    for statement in [
        "ALTER SYSTEM SET allow_in_place_tablespaces = on",
        "SELECT pg_reload_conf()",
        "CREATE TABLESPACE fast LOCATION ''",
    ] {
        world.source.sql("postgres", statement).unwrap();
    }
    world.source_sql(
        "CREATE TABLE t (id int PRIMARY KEY USING INDEX TABLESPACE fast, v text) TABLESPACE fast;
         INSERT INTO t SELECT i, i FROM generate_series(1, 100) i;
         CREATE MATERIALIZED VIEW m TABLESPACE fast AS SELECT count(*) AS n FROM t; CREATE INDEX ON t (v) TABLESPACE fast;
         CREATE TABLE p (k int) PARTITION BY LIST (k) TABLESPACE fast; CREATE TABLE p1 PARTITION OF p DEFAULT",
    );
    certified(&world);
    assert_eq!(world.restored_sql("SELECT n FROM m"), "100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_collation_routes_to_other_leaves_come_back_through_the_root() {
    let world = World::start();
    world.source.sql("postgres", "DROP DATABASE shop").unwrap();
    world
        .source
        .sql(
            "postgres",
            "CREATE DATABASE shop TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8' ENCODING 'UTF8'",
        )
        .unwrap();
    world.source_sql(
        "CREATE TABLE tree (name text, n int, doubled int GENERATED ALWAYS AS (n * 2) STORED) PARTITION BY RANGE (name);
         CREATE TABLE first PARTITION OF tree FOR VALUES FROM (MINVALUE) TO ('m');
         CREATE TABLE second (doubled_not int, n int, name text, doubled int GENERATED ALWAYS AS (n * 2) STORED);
         ALTER TABLE second DROP COLUMN doubled_not;
         ALTER TABLE tree ATTACH PARTITION second FOR VALUES FROM ('m') TO (MAXVALUE);
         INSERT INTO tree (name, n) SELECT w || i, i FROM unnest(ARRAY['apple', 'Zebra', 'zoo', 'Apple']) w, generate_series(1, 25) i",
    );
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    // The target's own database, whose locale is C: there capitals come before all small letters.
    let target = cluster_options(&world.target, &world.restored());
    let database = &backup.databases[0];
    let (options, cancel) = (RestoreOptions::default(), CancellationToken::new());
    restore_database(&repository, &backup, database, &target, &options, &Silent, &cancel)
        .await
        .unwrap();
    let leaves = "SELECT (SELECT count(*) FROM first), (SELECT count(*) FROM second)";
    assert_eq!(world.source_sql(leaves), "50|50");
    assert_eq!(world.restored_sql(leaves), "75|25");
    let archive = repository
        .read_segments(&backup, &database.head.schema_archive)
        .await
        .unwrap();
    let options = kubebackup::drill::CompareOptions {
        role_comment: options.role_comment,
        ..kubebackup::drill::CompareOptions::default()
    };
    let comparison =
        kubebackup::drill::compare_database(&backup, database, &archive, &target, &options, &Silent, &cancel)
            .await
            .unwrap();
    let problems = blocking_checks(&comparison);
    let (of_locale, others): (Vec<_>, Vec<_>) = problems.into_iter().partition(|line| line.starts_with("database "));
    assert!(!of_locale.is_empty(), "another locale is a difference of the database");
    assert_eq!(others, Vec::<String>::new());
    world.restored_sql("UPDATE tree SET n = 0 WHERE name = 'zoo7'");
    let comparison =
        kubebackup::drill::compare_database(&backup, database, &archive, &target, &options, &Silent, &cancel)
            .await
            .unwrap();
    let problems = blocking_checks(&comparison).join("\n");
    assert!(problems.contains("rows table \"public\".\"tree\""), "{problems}");
    assert!(
        problems.contains("generated_columns table \"public\".\"tree\""),
        "{problems}"
    );
}

/// The root of such a tree must not be touched, and its leaf does not take all of its rows on another server.
#[test]
fn a_tree_by_the_hash_of_an_enum_with_a_foreign_leaf_fails_by_name_and_contacts_nobody() {
    let world = World::with(WorldOptions {
        source_settings: &[("log_connections", "on")],
        ..WorldOptions::default()
    });
    world.source_sql(&format!(
        // Labels get other OIDs on the target only when others were taken here before.
        "SELECT lo_unlink(lo_create(0)) FROM generate_series(1, 7); CREATE EXTENSION postgres_fdw;
         CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{}', dbname 'shop');
         CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'postgres');
         DO $$ BEGIN EXECUTE 'CREATE TYPE label AS ENUM (' || (SELECT string_agg(quote_literal(i), ', ') FROM generate_series(1, 40) i) || ')'; END $$;
         CREATE TABLE tree (k label) PARTITION BY HASH (k);
         CREATE TABLE near_leaf PARTITION OF tree FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE FOREIGN TABLE far_leaf PARTITION OF tree FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER elsewhere;
         INSERT INTO near_leaf SELECT l FROM unnest(enum_range(NULL::label)) l WHERE satisfies_hash_partition('tree'::regclass, 2, 0, l)",
        world.source.port()
    ));
    world.program(&["backup"]).run().ok();
    world.mark_targets();
    let before = visits(&world.source);
    let drilled = world.program(&["drill"]).run().expect(3);
    assert!(drilled.stdout.contains("near_leaf"), "{}", drilled.stdout);
    assert_eq!(visits(&world.source), before);
}
