//! A wiped database equals a fresh one, whatever was in it, and nothing outside is touched on the way.

use std::collections::BTreeSet;

use kubebackup::content::DatabaseProperties;
use kubebackup::demo::Cluster;
use kubebackup::postgres::connect;
use kubebackup::postgres::fresh::differences;
use kubebackup::repository::id::RepositoryId;
use kubebackup::restore::guard::guard_against;
use kubebackup::restore::preflight::Problem;
use kubebackup::restore::{Error, WipeReport, wipe};
use tokio_util::sync::CancellationToken;

use crate::guard::properties;
use crate::support::library::{cluster_options, error_chain};
use crate::support::world::mark_disposable;
use crate::support::{source_cluster_with, target_cluster, target_cluster_with, wait};

const DATABASE: &str = "sh\"op's";

fn marked(cluster: &Cluster) {
    let quoted = DATABASE.replace('"', "\"\"");
    cluster
        .sql(
            "postgres",
            &format!(
                "CREATE DATABASE \"{quoted}\" TEMPLATE template0;
                 ALTER DATABASE \"{quoted}\" SET kubebackup.disposable = '{}'",
                RepositoryId::new(7)
            ),
        )
        .unwrap();
}

fn sql(cluster: &Cluster, statements: &str) -> String {
    cluster.sql(&DATABASE.replace('\'', "\\'"), statements).unwrap()
}

async fn try_wipe(cluster: &Cluster, properties: &DatabaseProperties) -> Result<WipeReport, Error> {
    let target = cluster_options(cluster, DATABASE);
    let maintenance = target.with_database("postgres");
    let guarded = guard_against(&BTreeSet::new(), &RepositoryId::new(7), &target, &maintenance).await?;
    wipe(&guarded, properties, &CancellationToken::new()).await
}

async fn wiped(cluster: &Cluster) -> WipeReport {
    let report = try_wipe(cluster, &properties(DATABASE)).await;
    report.unwrap_or_else(|error| panic!("{}", error_chain(error)))
}

/// What differs from a database that this test itself creates from template0, and whether the marker survived.
async fn assert_fresh_and_marked(cluster: &Cluster) {
    cluster
        .sql("postgres", "CREATE DATABASE fresh TEMPLATE template0")
        .unwrap();
    {
        let target = connect(&cluster_options(cluster, DATABASE), "test").await.unwrap();
        let fresh = connect(&cluster_options(cluster, "fresh"), "test").await.unwrap();
        assert_eq!(
            differences(&target.client, &fresh.client).await.unwrap(),
            Vec::<String>::new()
        );
    }
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'fresh'";
    wait::until("the test's own sessions to end", || {
        cluster.sql("postgres", gone).unwrap() == "0"
    });
    cluster.sql("postgres", "DROP DATABASE fresh").unwrap();
    let marker = "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 0";
    assert_eq!(
        cluster.sql("postgres", marker).unwrap(),
        format!("{{kubebackup.disposable={}}}", RepositoryId::new(7))
    );
    let left = "SELECT string_agg(datname, ',') FROM pg_database WHERE datname LIKE 'kubebackup%'";
    assert_eq!(cluster.sql("postgres", left).unwrap(), "");
}

/// One object of each kind that outlives a dropped schema, or that a careless order trips over.
const NASTY: &str = r#"
CREATE ROLE nasty NOLOGIN;
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
ALTER SCHEMA public OWNER TO nasty;
GRANT ALL ON SCHEMA public TO PUBLIC;
COMMENT ON SCHEMA public IS 'mine';
CREATE SCHEMA "od""d's";
CREATE TABLE "od""d's"."t'1" (id serial PRIMARY KEY, v text UNIQUE);
CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
CREATE TABLE parent (k int, v text) PARTITION BY LIST (k);
CREATE TABLE child PARTITION OF parent FOR VALUES IN (1) PARTITION BY LIST (v);
CREATE TABLE grandchild PARTITION OF child FOR VALUES IN ('x');
CREATE TABLE base_table (id int); CREATE TABLE heir (extra int) INHERITS (base_table);
CREATE VIEW v AS SELECT * FROM a; CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE agg(int) (SFUNC = int4pl, STYPE = int);
CREATE TYPE e AS ENUM ('x'); CREATE DOMAIN d AS int; CREATE TYPE r AS RANGE (SUBTYPE = int); CREATE TYPE c AS (x int);
CREATE FUNCTION shell_in(cstring) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE OPERATOR FAMILY fam USING btree;
CREATE OPERATOR CLASS cls FOR TYPE e USING btree FAMILY fam AS FUNCTION 1 enum_cmp(anyenum, anyenum);
CREATE COLLATION coll (LOCALE = 'C');
CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH CONFIGURATION tsc (COPY = pg_catalog.simple);
CREATE TEXT SEARCH DICTIONARY tsd (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH PARSER tsp (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE tst (LEXIZE = dsimple_lexize);
CREATE STATISTICS st ON id, b FROM a;
CREATE FUNCTION of_e(e) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (e AS int) WITH FUNCTION of_e(e);
"#;

const NASTY_TOO: &str = r#"
CREATE CAST (int AS oidvector) WITH INOUT;
CREATE EXTENSION postgres_fdw; CREATE EXTENSION hstore SCHEMA "od""d's"; CREATE EXTENSION pg_stat_statements;
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR PUBLIC SERVER s;
CREATE FOREIGN DATA WRAPPER own; CREATE SERVER own_server FOREIGN DATA WRAPPER own;
CREATE FOREIGN TABLE ft (id int) SERVER s;
CREATE ACCESS METHOD am TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE am_table (id int) USING am;
CREATE LANGUAGE own_language HANDLER plpgsql_call_handler;
CREATE PUBLICATION pub FOR ALL TABLES;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO nasty;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE nasty IN SCHEMA public GRANT ALL ON SEQUENCES TO PUBLIC;
SELECT lo_create(42); GRANT SELECT ON LARGE OBJECT 42 TO nasty;
CREATE FUNCTION no_drops() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not in my house'; END $$;
CREATE EVENT TRIGGER guard ON sql_drop EXECUTE FUNCTION no_drops();
ALTER EVENT TRIGGER guard ENABLE ALWAYS;
SELECT pg_create_logical_replication_slot('leftover', 'test_decoding');
"#;

/// Properties of the database itself.
const DATABASE_LEVEL: &str = r#"
ALTER DATABASE "sh""op's" SET work_mem = '1MB'; ALTER DATABASE "sh""op's" SET default_transaction_read_only = on; ALTER ROLE nasty IN DATABASE "sh""op's" SET my.setting = 'x';
ALTER DATABASE "sh""op's" OWNER TO nasty; COMMENT ON DATABASE "sh""op's" IS 'mine';
REVOKE CONNECT ON DATABASE "sh""op's" FROM PUBLIC; GRANT CREATE ON DATABASE "sh""op's" TO pg_monitor;
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_object_goes_in_place_and_the_database_ends_fresh() {
    let cluster = target_cluster_with(&[("wal_level", "logical")]);
    marked(&cluster);
    sql(&cluster, NASTY);
    sql(&cluster, NASTY_TOO);
    cluster.sql("postgres", DATABASE_LEVEL).unwrap();
    let report = wiped(&cluster).await;
    assert_eq!(report.recreated, None, "{report:?}");
    assert_fresh_and_marked(&cluster).await;
    assert!(report.dropped.iter().any(|(what, _)| what == "large objects"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_undone_in_place_is_undone_by_a_new_database() {
    let cluster = target_cluster();
    marked(&cluster);
    for change in [
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO PUBLIC",
        "DROP SCHEMA public",
        "DROP EXTENSION plpgsql",
        "COMMENT ON FUNCTION pg_catalog.now() IS 'mine'",
        "ALTER FUNCTION pg_catalog.now() COST 7",
        "UPDATE pg_catalog.pg_description SET description = 'odd' WHERE objoid = 'pg_catalog.int4'::regtype",
        "CREATE ROLE owner_of_int; ALTER SCHEMA information_schema OWNER TO owner_of_int",
    ] {
        sql(&cluster, change);
        let report = wiped(&cluster).await;
        assert!(report.recreated.is_some(), "{change}");
        assert_fresh_and_marked(&cluster).await;
    }
    // And nothing is replaced that was fresh already.
    assert_eq!(wiped(&cluster).await.recreated, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_encoding_or_locale_makes_a_new_database_and_an_unknown_one_drops_nothing() {
    let cluster = target_cluster();
    marked(&cluster);
    sql(&cluster, "CREATE TABLE precious AS SELECT 1 AS one");
    let unknown = DatabaseProperties {
        collate: "xx_XX.utf8".to_owned(),
        ctype: "xx_XX.utf8".to_owned(),
        ..properties(DATABASE)
    };
    let error = try_wipe(&cluster, &unknown).await.unwrap_err();
    assert!(matches!(error, Error::MissingLocale { .. }), "{error}");
    assert!(error.to_string().contains("xx_XX.utf8"));
    assert_eq!(sql(&cluster, "TABLE precious"), "1");

    let latin = DatabaseProperties {
        encoding: "LATIN1".to_owned(),
        collate: "C".to_owned(),
        ctype: "C".to_owned(),
        ..properties(DATABASE)
    };
    let report = try_wipe(&cluster, &latin).await.unwrap();
    assert!(report.recreated.is_some());
    assert_eq!(sql(&cluster, "SHOW server_encoding"), "LATIN1");
    assert_fresh_and_marked(&cluster).await;
}

/// Whose a database is the marker says, and not its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wipe_drops_what_a_killed_one_has_left_and_nothing_that_is_merely_called_so() {
    let cluster = target_cluster();
    marked(&cluster);
    let suffix = hex::encode(&blake3::hash(DATABASE.as_bytes()).as_bytes()[..4]);
    let name = |rest: &str| format!("kubebackup_fresh_{suffix}{rest}");
    for (rest, repository) in [
        ("", None),
        ("_0badcafe", Some(7)),
        ("_00c0ffee", Some(8)),
        ("_feedface", None),
    ] {
        let database = name(rest);
        let create = format!("CREATE DATABASE {database}");
        cluster.sql("postgres", &create).unwrap();
        if let Some(repository) = repository {
            mark_disposable(&cluster, &database, RepositoryId::new(repository).as_str());
        }
    }
    let left = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'kubebackup%'";
    let others = [name(""), name("_00c0ffee"), name("_feedface")].join(" ");
    assert_eq!(wiped(&cluster).await.recreated, None);
    assert_eq!(cluster.sql("postgres", left).unwrap(), others);
    sql(&cluster, "DROP SCHEMA public");
    assert!(wiped(&cluster).await.recreated.is_some());
    assert_eq!(cluster.sql("postgres", left).unwrap(), others);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tables_go_in_batches_that_fit_a_small_lock_table() {
    let cluster = target_cluster_with(&[("max_locks_per_transaction", "10"), ("max_connections", "20")]);
    marked(&cluster);
    sql(
        &cluster,
        "CREATE SCHEMA many;
         DO $$ BEGIN
             COMMIT;
             FOR n IN 1..10000 LOOP
                 EXECUTE format('CREATE TABLE many.t_%s (id int)', n);
                 IF n % 50 = 0 THEN COMMIT; END IF;
             END LOOP;
             FOR n IN 1..500 LOOP
                 EXECUTE format('CREATE TABLE t_%s (id int PRIMARY KEY, v text)', n);
                 EXECUTE format('CREATE FUNCTION f_%s() RETURNS int LANGUAGE sql AS ''SELECT 1''', n);
                 IF n % 10 = 0 THEN COMMIT; END IF;
             END LOOP;
         END $$",
    );
    let tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    assert_eq!(sql(&cluster, tables), "10500");
    let at_once = cluster.sql(&DATABASE.replace('\'', "\\'"), "DROP SCHEMA many CASCADE");
    let refused = at_once.unwrap_err().to_string();
    assert!(refused.contains("out of shared memory"), "{refused}");
    let report = wiped(&cluster).await;
    assert_eq!(report.recreated, None);
    assert_fresh_and_marked(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_dropped_without_a_word_to_its_publisher() {
    let publisher = source_cluster_with(&[("wal_level", "logical"), ("log_connections", "on")]);
    publisher
        .sql(
            "postgres",
            "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t;
             SELECT pg_create_logical_replication_slot('sub', 'pgoutput')",
        )
        .unwrap();
    let cluster = target_cluster();
    marked(&cluster);
    sql(
        &cluster,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY);
             CREATE SUBSCRIPTION sub CONNECTION '{} password={}' PUBLICATION pub
                 WITH (connect = false, slot_name = 'sub', enabled = false)",
            publisher.dsn(publisher.superuser(), "postgres").replace('\'', "''"),
            publisher.password()
        ),
    );
    // A table whose synchronisation has not ended has a slot of its own, which DROP SUBSCRIPTION would go and drop.
    let slot = sql(
        &cluster,
        "SET allow_system_table_mods = on;
         INSERT INTO pg_subscription_rel SELECT oid, 't'::regclass, 'd', NULL FROM pg_subscription;
         SELECT format('pg_%s_sync_%s_%s', s.oid, 't'::regclass::oid, c.system_identifier)
         FROM pg_subscription s, pg_control_system() c",
    );
    publisher
        .sql(
            "postgres",
            &format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
        )
        .unwrap();
    let connections = |log: &str| log.matches("replication connection authorized").count();
    let before = connections(&publisher.log());
    let report = wiped(&cluster).await;
    assert_eq!(report.recreated, None);
    assert_fresh_and_marked(&cluster).await;
    let slots = publisher
        .sql("postgres", "SELECT count(*) FROM pg_replication_slots")
        .unwrap();
    assert_eq!(slots, "2");
    assert_eq!(connections(&publisher.log()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_replaced_is_still_there_and_marked() {
    let cluster = target_cluster();
    marked(&cluster);
    sql(
        &cluster,
        "DROP SCHEMA public; CREATE SCHEMA mine; CREATE TABLE mine.t (a int)",
    );
    let target = cluster_options(&cluster, DATABASE);
    let maintenance = target.with_database("postgres");
    let guarded = guard_against(&BTreeSet::new(), &RepositoryId::new(7), &target, &maintenance)
        .await
        .unwrap();
    // Holds the wipe up until somebody is on the database that is to take the target's place.
    let holder = connect(&target, "test").await.unwrap();
    let lock = "BEGIN; LOCK TABLE mine.t";
    holder.client.batch_execute(lock).await.unwrap();
    let meanwhile = async {
        let fresh = "SELECT datname FROM pg_database WHERE datname LIKE 'kubebackup\\_fresh%'";
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        wait::until_async("the wipe to wait for the lock", async || {
            cluster.sql("postgres", waits).unwrap() != "0"
        })
        .await;
        let fresh = cluster.sql("postgres", fresh).unwrap();
        let stays = connect(&target.with_database(&fresh), "test").await.unwrap();
        drop(holder);
        stays
    };
    let properties = properties(DATABASE);
    let cancel = CancellationToken::new();
    let (wiped, stays) = tokio::join!(wipe(&guarded, &properties, &cancel), meanwhile);
    assert!(matches!(wiped, Err(Error::Postgres(_))), "{wiped:?}");
    assert_eq!(sql(&cluster, "SELECT 1"), "1");
    drop((stays, guarded));
    assert!(crate::wipe::wiped(&cluster).await.recreated.is_some());
    assert_fresh_and_marked(&cluster).await;
}

/// Somebody else has cleaned up meanwhile: a target that is not there any more, and nothing about the backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_dropped_between_the_guards_and_the_wipe_is_absent() {
    let cluster = target_cluster();
    marked(&cluster);
    let target = cluster_options(&cluster, DATABASE);
    let maintenance = target.with_database("postgres");
    let guarded = guard_against(&BTreeSet::new(), &RepositoryId::new(7), &target, &maintenance)
        .await
        .unwrap();
    let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", DATABASE.replace('"', "\"\""));
    cluster.sql("postgres", &drop).unwrap();
    let wiped = wipe(&guarded, &properties(DATABASE), &CancellationToken::new()).await;
    let Err(Error::Preflight(problems)) = &wiped else {
        panic!("{wiped:?}");
    };
    assert!(matches!(problems[..], [Problem::DatabaseAbsent { .. }]), "{problems:?}");
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'kubebackup%'";
    assert_eq!(cluster.sql("postgres", left).unwrap(), "0");
}
