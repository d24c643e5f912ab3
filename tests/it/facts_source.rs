//! What PostgreSQL does to a backup that is being taken: facts 1 to 8 of `docs/facts.md`, where no other file has them.

use std::sync::atomic::{AtomicBool, Ordering};

use kubebackup::backup::Error;
use kubebackup::content::LedgerState;
use kubebackup::postgres;
use kubebackup::postgres::connect;
use kubebackup::postgres::program::ClientPrograms;
use kubebackup::postgres::relation::read_relations;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::consistency::{YIELDED, assert_nothing_or_certified, backup_stopped_at, superuser_session};
use crate::support::library::{
    backup_once, backup_options, blocking_checks, cluster_options, error_chain, memory_repository, restore_and_compare,
    try_backup,
};
use crate::support::{World, WorldOptions, oracle, wait};

#[test]
fn a_table_made_between_the_locks_and_the_snapshot_makes_the_backup_start_over() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let (ended, made) = backup_stopped_at(&world, "after-locks", "CREATE TABLE late AS SELECT 2 AS two");
    made.unwrap();
    assert!(ended.printed().contains("starting over"), "{}", ended.printed());
    assert!(assert_nothing_or_certified(&world, &ended));
    assert_eq!(world.restored_sql("SELECT two FROM late"), "2");
}

/// Functions, views, sequences and materialized views cannot be locked.
const CANNOT_BE_LOCKED: &str = "
CREATE TABLE t AS SELECT i, repeat('x', 10) AS text FROM generate_series(1, 100) i; ALTER TABLE t ADD PRIMARY KEY (i);
CREATE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 41'; CREATE VIEW v AS SELECT 1 AS one; CREATE SEQUENCE s;
CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n FROM t WITH NO DATA;
CREATE MATERIALIZED VIEW filled AS SELECT * FROM t; CREATE UNIQUE INDEX ON filled (i);";

#[test]
fn what_cannot_be_locked_and_changes_while_definitions_are_read_makes_the_backup_start_over() {
    let world = World::start();
    world.source_sql(CANNOT_BE_LOCKED);
    for change in [
        "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42'",
        "CREATE OR REPLACE VIEW v AS SELECT 2 AS one",
        "ALTER SEQUENCE s INCREMENT 7",
        "REFRESH MATERIALIZED VIEW later",
        "COMMENT ON FUNCTION answer() IS 'an answer'",
    ] {
        let (ended, changed) = backup_stopped_at(&world, "after-snapshot", change);
        changed.unwrap();
        assert!(
            ended.printed().contains("starting over"),
            "{change}: {}",
            ended.printed()
        );
        ended.ok();
    }
    world.mark_targets();
    world.program(&["drill", "--keep"]).run().ok();
    let question =
        "SELECT answer(), one, nextval('s'), nextval('s'), n, obj_description('answer'::regproc) FROM v, later";
    assert_eq!(world.restored_sql(question), "42|2|1|8|100|an answer");
}

#[test]
fn a_refresh_or_a_reindex_changes_no_definition_and_does_not_disturb_a_backup() {
    let world = World::start();
    world.source_sql(CANNOT_BE_LOCKED);
    for change in [
        "REFRESH MATERIALIZED VIEW filled",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY filled",
        "REINDEX TABLE t",
        "ANALYZE; VACUUM",
    ] {
        let (ended, changed) = backup_stopped_at(&world, "after-snapshot", change);
        changed.unwrap();
        assert!(
            !ended.printed().contains("starting over"),
            "{change}: {}",
            ended.printed()
        );
        ended.ok();
    }
    // Populated is part of a definition, and so are an index's options.
    for change in [
        "REFRESH MATERIALIZED VIEW later",
        "ALTER INDEX t_pkey SET (fillfactor = 50)",
    ] {
        let (ended, changed) = backup_stopped_at(&world, "after-snapshot", change);
        changed.unwrap();
        assert!(
            ended.printed().contains("starting over"),
            "{change}: {}",
            ended.printed()
        );
        ended.ok();
    }
}

#[test]
fn definitions_that_never_stand_still_end_the_backup_after_its_attempts() {
    let world = World::start();
    let done = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                world.source_sql("CREATE OR REPLACE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
            }
        });
        let ended = world.program(&["backup"]).env("KUBEBACKUP_BACKUP_ATTEMPTS", "2").run();
        done.store(true, Ordering::Relaxed);
        ended
    });
    assert_eq!(ended.code(), Some(YIELDED), "{}", ended.printed());
    assert!(
        ended.stderr.contains("pg_proc"),
        "it names what changes: {}",
        ended.stderr
    );
    assert!(world.keys("manifests/").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_copied_in_parts_is_the_same_table() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE large (id int, text text, bytes bytea, twice int GENERATED ALWAYS AS (id * 2) STORED);
         INSERT INTO large SELECT i, repeat(md5(i::text), i % 20), decode(repeat(md5(i::text), 300 * (i % 50 / 49)), 'hex')
             FROM generate_series(1, 12000) i;
         DELETE FROM large WHERE id BETWEEN 3000 AND 5000; UPDATE large SET text = 'moved' WHERE id % 7 = 0;
         CREATE TABLE heir () INHERITS (large); INSERT INTO heir VALUES (1, 'not a row of the large table');",
    );
    let whole = backup_once(&world, &memory_repository().await).await;
    let repository = memory_repository().await;
    let mut options = backup_options(&world);
    (options.split_table_bytes, options.part_blocks) = (1, 13);
    let stored = try_backup(&world, &repository, &options).await.unwrap();
    let parts = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    let large = |backup: &kubebackup::repository::manifest::Backup| {
        let tables = backup.databases[0].tables.clone();
        tables.into_iter().find(|table| table.name().name == "large").unwrap()
    };
    assert!(
        large(&parts).segments.len() > 20,
        "{} segments",
        large(&parts).segments.len()
    );
    assert_eq!(large(&parts).tally, large(&whole).tally);
    assert_eq!(large(&parts).generated, large(&whole).generated);
    let comparison = restore_and_compare(&world, &repository, &parts, "again").await.unwrap();
    assert_eq!(blocking_checks(&comparison), Vec::<String>::new());
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, "again"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_more_than_a_gigabyte_of_text_is_refused_and_its_table_named() {
    for (table, made) in [
        (
            "long_row",
            "CREATE TABLE one AS SELECT repeat('\\', 140000000) AS v;
             CREATE TABLE long_row AS SELECT v AS a, v AS b, v AS c, v AS d FROM one; DROP TABLE one",
        ),
        (
            "long_value",
            "CREATE TABLE long_value AS SELECT convert_to(repeat('x', 540000000), 'UTF8') AS v",
        ),
    ] {
        let world = World::start();
        world.source_sql(made);
        let repository = memory_repository().await;
        let mut options = backup_options(&world);
        let error = try_backup(&world, &repository, &options).await.unwrap_err();
        let is_refused = matches!(
            &error,
            Error::Postgres {
                source: postgres::Error::Unsupported { .. },
                ..
            }
        );
        let text = error_chain(error);
        assert!(is_refused && text.contains(table) && text.contains("1 GB"), "{text}");
        assert!(repository.backup_ids().await.unwrap().is_empty());
        options.exclude_tables = vec![format!("public.{table}").parse().unwrap()];
        try_backup(&world, &repository, &options).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_of_another_session_stands_in_the_ledger_and_disturbs_nothing() {
    let world = World::start();
    let other = superuser_session(&world).await;
    let make = "CREATE TABLE public.t AS SELECT 1 AS one; CREATE TEMPORARY TABLE passing AS SELECT 1 AS one;
                CREATE TEMPORARY SEQUENCE passing_numbers; CREATE TEMPORARY VIEW passing_view AS SELECT 1 AS one";
    other.client.batch_execute(make).await.unwrap();
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let temporary: Vec<&str> = backup.databases[0]
        .ledger
        .iter()
        .filter(|entry| entry.state == LedgerState::Temporary)
        .map(|entry| entry.name.name.as_str())
        .collect();
    assert_eq!(temporary, ["passing", "passing_numbers", "passing_view"]);
    let comparison = restore_and_compare(&world, &repository, &backup, "again")
        .await
        .unwrap();
    assert_eq!(blocking_checks(&comparison), Vec::<String>::new());
}

/// What a tree is partitioned by, and whether another server may route its rows to other leaves.
const TREES: &[(&str, &str, bool)] = &[
    ("(k int)", "HASH (k)", false),
    ("(k text)", "HASH (k)", false),
    ("(k mood)", "HASH (k)", true),
    ("(k mood)", "LIST (k)", false),
    ("(k mood)", "RANGE (k)", false),
    ("(k mood_of_mood)", "HASH (k)", true),
    ("(k mood[])", "HASH (k)", true),
    ("(k text COLLATE blind)", "HASH (k)", true),
    ("(k int)", "HASH (abs(k))", true),
    ("(k text)", "RANGE (k)", true),
    ("(k text COLLATE \"C\")", "RANGE (k)", false),
    ("(k int)", "RANGE (k)", false),
    ("(k text)", "LIST (k)", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_whose_rows_another_server_may_route_elsewhere_are_known() {
    let world = World::start();
    world.source_sql(
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN of_mood AS mood; CREATE DOMAIN mood_of_mood AS of_mood;
         CREATE COLLATION blind (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
         CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
    );
    for (number, (columns, key, _)) in TREES.iter().enumerate() {
        world.source_sql(&format!("CREATE TABLE tree_{number} {columns} PARTITION BY {key}"));
        let leaf = if key.starts_with("HASH") {
            "FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
        } else {
            "DEFAULT"
        };
        world.source_sql(&format!("CREATE TABLE leaf_{number} PARTITION OF tree_{number} {leaf}"));
    }
    // A level below decides too, and a foreign leaf keeps everybody from the root.
    world.source_sql(
        "CREATE TABLE upper (k mood) PARTITION BY LIST (k); CREATE TABLE below PARTITION OF upper DEFAULT PARTITION BY HASH (k);
         CREATE TABLE lower_leaf PARTITION OF below FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         CREATE TABLE partly_far (k text) PARTITION BY RANGE (k); CREATE TABLE near_leaf PARTITION OF partly_far DEFAULT;
         CREATE FOREIGN TABLE far_leaf PARTITION OF partly_far FOR VALUES FROM ('a') TO ('b') SERVER far",
    );
    let session = connect(&cluster_options(&world.source, "shop"), "test").await.unwrap();
    let relations = read_relations(&session.client).await.unwrap();
    let is_fragile = |name: &str| {
        relations
            .iter()
            .find(|one| one.name.name == name)
            .unwrap()
            .routing_is_fragile
    };
    for (number, (columns, key, expected)) in TREES.iter().enumerate() {
        assert_eq!(is_fragile(&format!("leaf_{number}")), *expected, "{columns} by {key}");
    }
    assert!(is_fragile("lower_leaf"));
    assert!(!is_fragile("near_leaf"));
}

/// Bytes that are no UTF-8 are contents like any other; in a name they are refused, because a manifest is text.
#[test]
fn bytes_that_are_no_utf8_come_back_and_a_name_of_them_is_refused() {
    let world = World::start();
    for encoding in ["SQL_ASCII", "LATIN1"] {
        world.source.sql("postgres", "DROP DATABASE shop").unwrap();
        let create = format!("CREATE DATABASE shop TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'");
        world.source.sql("postgres", &create).unwrap();
        // Within the server: no client's encoding has a say.
        world.source_sql(
            "CREATE TABLE t (id int, text text, CHECK (text <> 'n'));
             INSERT INTO t SELECT i, convert_from(decode('61ff5cfe09e9' || lpad(to_hex(i), 2, '0'), 'hex'), getdatabaseencoding())
             FROM generate_series(128, 255) i;
             DO $do$ BEGIN
                 EXECUTE format('CREATE FUNCTION bytes() RETURNS text LANGUAGE sql AS %L',
                     convert_from('\\x53454c4543542027e9ff27', getdatabaseencoding()));
                 EXECUTE format('COMMENT ON TABLE t IS %L', convert_from('\\xe9ff', getdatabaseencoding()));
             END $do$",
        );
        world.program(&["backup"]).run().ok();
        world.mark_targets();
        world.program(&["drill", "--keep"]).run().ok();
        let question = "SELECT getdatabaseencoding(), count(*), md5(string_agg(encode(convert_to(text, getdatabaseencoding()), 'hex'), ',' ORDER BY id)),
                               encode(convert_to(bytes(), getdatabaseencoding()), 'hex'),
                               encode(convert_to(obj_description('t'::regclass), getdatabaseencoding()), 'hex') FROM t";
        assert_eq!(world.restored_sql(question), world.source_sql(question), "{encoding}");
        assert!(world.restored_sql(question).ends_with("|e9ff|e9ff"), "{encoding}");
        // In LATIN1 the bytes are letters, and so may be a name.
        let name = "DO $do$ BEGIN EXECUTE format('CREATE TABLE %I ()', convert_from('\\xe9ff', getdatabaseencoding())); END $do$";
        world.source_sql(name);
        let ended = world.program(&["backup"]).run();
        if encoding == "LATIN1" {
            ended.ok();
        } else {
            assert!(
                ended.stderr.contains("is no UTF-8") && ended.stderr.contains("list the relations"),
                "{}",
                ended.stderr
            );
            ended.expect(6);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_programs_of_another_major_are_refused_and_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    let directory = world.directory().join("bin");
    std::fs::create_dir(&directory).unwrap();
    for program in ["pg_dump", "pg_restore"] {
        let path = directory.join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) 16.3'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(ClientPrograms::find(16, Some(&directory)).await.unwrap().major, 16);
    for major in [15, 17] {
        let refused = ClientPrograms::find(major, Some(&directory))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(&format!("PostgreSQL {major}")) && refused.contains("16.3"),
            "{refused}"
        );
    }
    let repository = memory_repository().await;
    let mut options = backup_options(&world);
    let made = try_backup(&world, &repository, &options).await.unwrap();
    let made = &made.manifest.source;
    let own = made.server_version_num / 10_000;
    let version = &made.pg_dump_version;
    assert!(version.starts_with(&format!("pg_dump (PostgreSQL) {own}")), "{version}");
    options.bin_directory = Some(directory);
    let refused = error_chain(try_backup(&world, &repository, &options).await.unwrap_err());
    let wanted = format!("no pg_dump and pg_restore of PostgreSQL {own}");
    assert!(refused.contains(&wanted), "{refused}");
}

/// Other sessions make and drop temporary objects of every kind all the time.
#[test]
fn temporary_objects_that_appear_meanwhile_are_no_change_of_definitions() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let go = world.directory().join("go");
    let mut backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_FAILPOINT", &format!("after-snapshot=go:{}", go.display()))
        .spawn();
    backup.wait_for("failpoint after-snapshot");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = runtime.block_on(superuser_session(&world));
    let make =
        "CREATE TEMPORARY TABLE x (id serial PRIMARY KEY, v text DEFAULT 'a' CHECK (v <> 'b'), EXCLUDE (id WITH =));
         CREATE INDEX ON x (v); COMMENT ON COLUMN x.v IS 'c'; COMMENT ON CONSTRAINT x_pkey ON x IS 'c';
         CREATE TEMPORARY VIEW y AS SELECT * FROM x; CREATE STATISTICS pg_temp.st ON id, v FROM x;
         CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         COMMENT ON FUNCTION pg_temp.f() IS 'c'; CREATE TRIGGER g AFTER INSERT ON x EXECUTE FUNCTION pg_temp.f();
         COMMENT ON TRIGGER g ON x IS 'c'; CREATE TYPE pg_temp.e AS ENUM ('a'); CREATE TYPE pg_temp.c AS (a int);
         COMMENT ON TYPE pg_temp.e IS 'c'; CREATE TYPE pg_temp.r AS RANGE (SUBTYPE = int);
         CREATE DOMAIN pg_temp.d AS int CHECK (value > 0); CREATE TEMPORARY SEQUENCE s;
         CREATE TEMPORARY TABLE p (k int) PARTITION BY LIST (k); CREATE TEMPORARY TABLE p1 PARTITION OF p DEFAULT";
    runtime.block_on(other.client.batch_execute(make)).unwrap();
    std::fs::write(&go, "").unwrap();
    let ended = backup.wait().ok();
    assert!(!ended.printed().contains("starting over"), "{}", ended.printed());
}

/// The sum of the row versions of `t`, which ADR 0031 would have taken for unchanged rows, and the guards that it named.
const VERSIONS: &str = "SELECT (SELECT sum(hashtextextended(ctid::text || ':' || xmin::text, 0)) FROM t),
    relfilenode, pg_postmaster_start_time(), system_identifier, timeline_id
    FROM pg_class, pg_control_system(), pg_control_checkpoint() WHERE oid = 't'::regclass";

#[test]
fn row_versions_are_equal_over_other_rows_after_a_crash_that_lost_a_commit() {
    let world = World::with(WorldOptions {
        source_settings: &[
            ("synchronous_commit", "off"),
            ("wal_writer_delay", "10s"),
            ("autovacuum", "off"),
        ],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT n, 'old' AS state FROM generate_series(1, 100) n; CHECKPOINT");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let session = runtime.block_on(superuser_session(&world));
    let backend = runtime.block_on(session.client.query_one("SELECT pg_backend_pid()", &[]));
    let backend: i32 = backend.unwrap().get(0);
    let insert = |state: &str| world.source_sql(&format!("INSERT INTO t VALUES (101, '{state}')"));
    insert("paid");
    let before = world.source_sql(VERSIONS);
    kill(Pid::from_raw(backend), Signal::SIGKILL).unwrap();
    wait::until("the server to have lost the row", || {
        let count = world.source.sql(world.database(), "SELECT count(*) FROM t");
        count.is_ok_and(|count| count == "100")
    });
    insert("FREE");
    assert_eq!(world.source_sql(VERSIONS), before);
    assert_eq!(world.source_sql("SELECT state FROM t WHERE n = 101"), "FREE");
}

#[test]
fn row_versions_are_equal_over_other_rows_after_a_column_was_dropped_and_added_again() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS n;
         ALTER TABLE t ADD c int DEFAULT 1; ALTER TABLE t ALTER c SET DEFAULT 2",
    );
    let columns = "SELECT attname, atttypid, pg_get_expr(adbin, adrelid) FROM pg_attribute
        LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";
    let look = || (world.source_sql(VERSIONS), world.source_sql(columns));
    let before = look();
    assert_eq!(world.source_sql("SELECT sum(c) FROM t"), "100");
    world.source_sql("ALTER TABLE t DROP c; ALTER TABLE t ADD c int DEFAULT 2");
    assert_eq!(look(), before);
    assert_eq!(world.source_sql("SELECT sum(c) FROM t"), "200");
}
