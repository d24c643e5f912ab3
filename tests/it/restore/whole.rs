//! Whole databases, and what COPY does not carry of them.

use kubebackup::demo::shop;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::restored;
use crate::generator::{self, Encoding};
use crate::support::library::{backup_once, memory_repository};
use crate::support::{World, oracle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_comes_back_with_every_row() {
    let world = World::start();
    world.source.sql("postgres", "DROP DATABASE shop").unwrap();
    shop::create(&world.source, "shop").unwrap();
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let report = restored(&world, &repository, &backup, "back").await;
    assert_eq!(report.rows, backup.manifest.stats.rows);
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, "back"),
    );
    println!("{report:#?}");
}

async fn generated_database_comes_back(encoding: Encoding) {
    let world = World::start();
    world.source.sql("postgres", "DROP DATABASE shop").unwrap();
    world.source.sql("postgres", &encoding.create_database("shop")).unwrap();
    let case = generator::case(encoding)
        .new_tree(&mut TestRunner::new(proptest::test_runner::Config::default()))
        .unwrap()
        .current();
    world.source_sql(&case.sql());
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    restored(&world, &repository, &backup, "back").await;
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, "back"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_utf8_database_comes_back() {
    generated_database_comes_back(Encoding::Utf8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_latin1_database_comes_back() {
    generated_database_comes_back(Encoding::Latin1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_sql_ascii_database_comes_back() {
    generated_database_comes_back(Encoding::SqlAscii).await;
}

/// Roles, properties, large objects, event triggers, an empty table, and everything else that COPY does not carry.
const PROPERTIES: &str = r#"
CREATE ROLE alice; CREATE ROLE bob; CREATE ROLE root_like SUPERUSER;
ALTER DATABASE shop OWNER TO alice; GRANT CREATE ON DATABASE shop TO bob WITH GRANT OPTION;
REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC; COMMENT ON DATABASE shop IS 'it''s';
ALTER DATABASE shop SET search_path = "$user", public, "Odd, one"; ALTER DATABASE shop CONNECTION LIMIT 9;
ALTER ROLE bob IN DATABASE shop SET work_mem = '1MB'; ALTER DATABASE shop SET default_transaction_read_only = on;
SET default_transaction_read_only = off;
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (2) STORED, v text);
INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 10); ALTER TABLE t OWNER TO alice;
CREATE TABLE empty (id int); CREATE TABLE none (); INSERT INTO none DEFAULT VALUES;
CREATE MATERIALIZED VIEW first_view AS SELECT count(*) AS n FROM t;
CREATE MATERIALIZED VIEW a_second AS SELECT n + 1 AS m FROM first_view;
CREATE MATERIALIZED VIEW unpopulated AS SELECT 1 AS one WITH NO DATA;
SELECT lo_from_bytea(77, decode(repeat('00ff', 3000), 'hex')); SELECT lo_create(78); SELECT lo_create(79);
SELECT lo_put(79, 100000, 'end'); ALTER LARGE OBJECT 77 OWNER TO alice; GRANT SELECT ON LARGE OBJECT 77 TO bob;
COMMENT ON LARGE OBJECT 78 IS 'empty';
CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;
CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl();
ALTER EVENT TRIGGER no_ddl OWNER TO root_like;
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_copy_does_not_carry_comes_back_too() {
    let world = World::start();
    world.source_sql(PROPERTIES);
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let report = restored(&world, &repository, &backup, "shop").await;
    assert_eq!(report.roles_created, ["alice", "bob", "root_like"]);
    assert_eq!(report.large_objects, 3);
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, "shop"),
    );
    for question in [
        "SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database'),
                ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1) FROM pg_database WHERE datname = 'shop'",
        "SELECT setrole::regrole, c FROM pg_db_role_setting, unnest(setconfig) c WHERE setdatabase <> 0 ORDER BY 1, 2",
        "SELECT oid, pg_get_userbyid(lomowner), ARRAY(SELECT a::text FROM unnest(lomacl) a ORDER BY 1),
                obj_description(oid, 'pg_largeobject'), length(lo_get(oid))
         FROM pg_largeobject_metadata ORDER BY 1",
        "SELECT evtname, pg_get_userbyid(evtowner) FROM pg_event_trigger",
        "SELECT last_value, is_called FROM t_id_seq",
    ] {
        let (source, target) = (
            world.source.sql("shop", question).unwrap(),
            world.target.sql("shop", question).unwrap(),
        );
        assert_eq!(source, target, "{question}");
    }
    let roles =
        "SELECT rolname, rolcanlogin, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'alice'";
    assert_eq!(
        world.target.sql("postgres", roles).unwrap(),
        "alice|f|created by kubebackup for a restore"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_had_dropped_of_a_fresh_database_is_not_there_either() {
    let world = World::start();
    world
        .source_sql("DROP EXTENSION plpgsql; DROP SCHEMA public; CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS one");
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    restored(&world, &repository, &backup, "back").await;
    let left =
        "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'public') + (SELECT count(*) FROM pg_extension)";
    assert_eq!(world.target.sql("back", left).unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_come_back_in_the_version_and_schema_they_had() {
    let world = World::start();
    world.source_sql(
        "CREATE SCHEMA ext; COMMENT ON SCHEMA ext IS 'c'; CREATE EXTENSION hstore SCHEMA ext VERSION '1.4';
         CREATE EXTENSION cube; CREATE EXTENSION earthdistance VERSION '1.1';
         CREATE TABLE t AS SELECT ext.hstore('a', 'b') AS h",
    );
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    restored(&world, &repository, &backup, "back").await;
    let question = "SELECT extname, extversion, extnamespace::regnamespace FROM pg_extension ORDER BY 1;
                    SELECT obj_description('ext'::regnamespace); SELECT h::text FROM t";
    assert_eq!(world.target.sql("back", question).unwrap(), world.source_sql(question));
}
