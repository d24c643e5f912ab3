//! A database rebuilt from the repository alone, with PostgreSQL as the oracle.

use kubebackup::content::QualifiedName;
use kubebackup::demo::shop;
use kubebackup::repository::Repository;
use kubebackup::repository::manifest::Backup;
use kubebackup::restore::preflight::Problem;
use kubebackup::restore::{Error, LoadFault, RestoreOptions, RestoreReport, RolesMode, restore_database};
use kubebackup::telemetry::progress::Silent;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tokio_util::sync::CancellationToken;

use crate::generator::{self, Encoding};
use crate::support::library::{backup_once, cluster_options, error_chain, memory_repository};
use crate::support::{World, oracle};

fn creating() -> RestoreOptions {
    RestoreOptions {
        create_database: true,
        ..RestoreOptions::default()
    }
}

async fn try_restore(
    world: &World,
    repository: &Repository,
    backup: &Backup,
    into: &str,
    options: &RestoreOptions,
) -> Result<RestoreReport, Error> {
    let target = cluster_options(&world.target, into);
    let cancel = CancellationToken::new();
    restore_database(
        repository,
        backup,
        &backup.databases[0],
        &target,
        options,
        &Silent,
        &cancel,
    )
    .await
}

async fn restored(world: &World, repository: &Repository, backup: &Backup, into: &str) -> RestoreReport {
    try_restore(world, repository, backup, into, &creating())
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)))
}

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

/// Of another restore's roles nothing is changed; created ones are as they were, but for their passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_roles_come_back_with_what_they_may_and_existing_ones_stay_as_they_are() {
    let world = World::start();
    world.source_sql(
        "CREATE ROLE chief LOGIN CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';
         CREATE ROLE team NOINHERIT; GRANT team TO chief WITH ADMIN OPTION; GRANT pg_monitor TO team;
         CREATE ROLE taken CREATEROLE; GRANT team TO taken; COMMENT ON ROLE team IS 'us';
         ALTER ROLE chief SET search_path = a, \"B c\"; CREATE TABLE t (id int); ALTER TABLE t OWNER TO taken",
    );
    world.target.sql("postgres", "CREATE ROLE taken NOLOGIN").unwrap();
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let options = RestoreOptions {
        roles: RolesMode::Full,
        ..creating()
    };
    let report = try_restore(&world, &repository, &backup, "back", &options)
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)));
    assert_eq!(report.roles_created, ["chief", "kubebackup", "team"]);
    assert_eq!(report.roles_without_password, ["chief", "kubebackup"]);
    assert!(
        report
            .skipped
            .contains(&"role taken: exists already, left as it is".to_owned())
    );
    let question = "SELECT rolname, rolcanlogin, rolcreatedb, rolinherit, rolconnlimit, rolvaliduntil AT TIME ZONE 'UTC', rolconfig,
                           (SELECT array_agg(m.roleid::regrole::text || m.admin_option) FROM pg_auth_members m WHERE m.member = r.oid)
                    FROM pg_roles r WHERE rolname IN ('chief', 'team') ORDER BY 1;
                    SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'team'";
    assert_eq!(world.target.sql("back", question).unwrap(), world.source_sql(question));
    let taken = "SELECT rolcreaterole, (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r
                 WHERE rolname = 'taken'";
    assert_eq!(world.target.sql("back", taken).unwrap(), "f|0");

    let options = RestoreOptions {
        roles: RolesMode::None,
        ..creating()
    };
    world.source_sql("CREATE ROLE late; ALTER TABLE t OWNER TO late");
    let backup = backup_once(&world, &repository).await;
    let result = try_restore(&world, &repository, &backup, "other", &options).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if problems[..] == [Problem::MissingRoles(vec!["late".to_owned()])]),
        "{result:?}"
    );
    let made = "SELECT count(*) FROM pg_database WHERE datname = 'other'";
    assert_eq!(world.target.sql("postgres", made).unwrap(), "0", "nothing was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_empty_is_refused_and_so_are_missing_extensions() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let repository = memory_repository().await;
    let mut backup = backup_once(&world, &repository).await;
    world.restored_sql("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let extension = |name: &str| kubebackup::content::Extension {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        schema: "public".to_owned(),
    };
    backup.databases[0]
        .head
        .extensions
        .extend([extension("no_such"), extension("nor_this")]);
    let into = world.restored();
    let result = try_restore(&world, &repository, &backup, &into, &RestoreOptions::default()).await;
    let Err(Error::Preflight(problems)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        problems,
        [
            Problem::MissingExtensions(vec!["no_such 1.0".to_owned(), "nor_this 1.0".to_owned()]),
            Problem::NotEmpty {
                database: "\"shop_restored\"".to_owned(),
                objects: vec!["function public.mine()".to_owned()],
            },
        ]
    );
    backup.databases[0].head.extensions.clear();
    let result = try_restore(&world, &repository, &backup, &into, &creating()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[..], [Problem::DatabaseExists { .. }]))
    );
    let result = try_restore(&world, &repository, &backup, "nowhere", &RestoreOptions::default()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[..], [Problem::DatabaseAbsent { .. }]))
    );
    backup.manifest.source.server_version_num = 180_000;
    let result = try_restore(&world, &repository, &backup, "nowhere", &creating()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[0], Problem::TargetOlder { .. })),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_says_another_number_of_rows_names_its_table() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let repository = memory_repository().await;
    let mut backup = backup_once(&world, &repository).await;
    let table = &mut backup.databases[0].tables[0];
    table.segments[0].rows += 1;
    table.tally.rows += 1;
    let error = try_restore(&world, &repository, &backup, "back", &creating())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Rows { table, stored: 1001, loaded: 1000 } if table.name == "t"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fault_for_tests_drops_one_row_and_nobody_here_notices() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let options = RestoreOptions {
        fault: Some(LoadFault::DropRow(QualifiedName::new("public", "t"))),
        ..creating()
    };
    try_restore(&world, &repository, &backup, "back", &options)
        .await
        .unwrap();
    assert_eq!(world.target.sql("back", "SELECT count(*) FROM t").unwrap(), "999");
}

/// A shop in small, with everything that hangs on a table.
const PARTS: &str = r"
CREATE ROLE clerk; CREATE ROLE stranger;
CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a', 'b'); CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE FUNCTION s.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TABLE customers (id serial PRIMARY KEY, name text); ALTER TABLE customers OWNER TO stranger;
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int REFERENCES customers, m s.mood DEFAULT 'a',
    amount positive, x int DEFAULT s.one(), note text, UNIQUE (note), CHECK (x > 0));
CREATE TABLE lines (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, o bigint REFERENCES orders);
CREATE INDEX orders_x ON orders (x); CREATE STATISTICS st ON x, note FROM orders;
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE POLICY p ON lines USING (id > 0); ALTER TABLE lines ENABLE ROW LEVEL SECURITY;
CREATE RULE r AS ON DELETE TO orders DO NOTHING;
COMMENT ON TABLE orders IS 'c'; COMMENT ON COLUMN orders.x IS 'cx'; COMMENT ON INDEX orders_x IS 'ci';
COMMENT ON CONSTRAINT orders_pkey ON orders IS 'cc'; COMMENT ON TRIGGER t ON orders IS 'ct';
GRANT SELECT ON orders TO clerk; GRANT SELECT (x) ON orders TO clerk;
CREATE VIEW v AS SELECT * FROM orders; CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;
CREATE TABLE part (k int, v text, PRIMARY KEY (k)) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1); CREATE TABLE part2 PARTITION OF part DEFAULT;
CREATE TABLE par (a int); CREATE TABLE chi (b int) INHERITS (par);
CREATE TABLE s.inner_table (id serial, m s.mood); INSERT INTO s.inner_table (m) VALUES ('a'), ('b');
INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 100) n;
INSERT INTO orders (customer, amount, note) SELECT n % 100 + 1, n, 'n' || n FROM generate_series(1, 1000) n;
INSERT INTO lines (o) SELECT n FROM generate_series(1, 1000) n; REFRESH MATERIALIZED VIEW mv;
INSERT INTO part SELECT n, 'v' FROM generate_series(1, 10) n;
";

fn only(tables: &[&str], schemas: &[&str]) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.selection.tables = tables.iter().map(|name| QualifiedName::new("public", *name)).collect();
    options.selection.schemas = schemas.iter().map(ToString::to_string).collect();
    options
}

/// What `psql` would show of a table, with its rows.
fn describe(cluster: &kubebackup::demo::Cluster, database: &str, table: &str) -> String {
    cluster
        .sql(
            database,
            &format!(
                "SELECT pg_get_indexdef(indexrelid), obj_description(indexrelid) FROM pg_index
                 WHERE indrelid = '{table}'::regclass ORDER BY 1;
                 SELECT conname, pg_get_constraintdef(oid), obj_description(oid) FROM pg_constraint
                 WHERE conrelid = '{table}'::regclass ORDER BY 1;
                 SELECT tgname, pg_get_triggerdef(oid), obj_description(oid) FROM pg_trigger
                 WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal ORDER BY 1;
                 SELECT attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid), attidentity, attacl,
                        col_description(attrelid, attnum)
                 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                 WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum;
                 SELECT pg_get_userbyid(relowner), relacl, relrowsecurity, obj_description(oid, 'pg_class'),
                        (SELECT array_agg(rulename::text) FROM pg_rewrite WHERE ev_class = c.oid),
                        (SELECT array_agg(stxname::text) FROM pg_statistic_ext WHERE stxrelid = c.oid),
                        (SELECT array_agg(polname::text) FROM pg_policy WHERE polrelid = c.oid),
                        pg_get_serial_sequence('{table}', 'id')
                 FROM pg_class c WHERE oid = '{table}'::regclass;
                 SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t;
                 SELECT nextval(pg_get_serial_sequence('{table}', 'id'))"
            ),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_table_comes_back_into_its_living_database_with_all_that_hung_on_it() {
    let world = World::start();
    world.source_sql(PARTS);
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    restored(&world, &repository, &backup, "shop").await;
    let before = describe(&world.target, "shop", "orders");
    world.target.sql("shop", "DROP TABLE orders CASCADE").unwrap();
    let report = try_restore(&world, &repository, &backup, "shop", &only(&["orders"], &[]))
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)));
    assert_eq!((report.tables, report.rows), (1, 1000));
    // One value of the sequence was drawn by looking.
    assert_eq!(describe(&world.target, "shop", "orders"), before);

    // Nothing is overwritten, and the refusal names what is there.
    let error = try_restore(&world, &repository, &backup, "shop", &only(&["orders", "lines"], &[]))
        .await
        .unwrap_err()
        .to_string();
    for name in [
        "table public orders",
        "table public lines",
        "sequence public orders_id_seq",
    ] {
        assert!(error.contains(name), "{error}");
    }
    world
        .target
        .sql(
            "shop",
            "DROP VIEW IF EXISTS v CASCADE; ALTER TABLE orders RENAME TO orders_old",
        )
        .unwrap();
    let error = try_restore(&world, &repository, &backup, "shop", &only(&["orders"], &[]))
        .await
        .unwrap_err()
        .to_string();
    for name in [
        "constraint public orders orders_pkey",
        "index public orders_x",
        "sequence public orders_id_seq",
    ] {
        assert!(error.contains(name), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_alone_in_a_new_database_brings_its_types_and_functions_and_says_what_it_lacks() {
    let world = World::start();
    world.source_sql(PARTS);
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let options = RestoreOptions {
        create_database: true,
        ..only(&["orders"], &[])
    };
    let report = try_restore(&world, &repository, &backup, "alone", &options)
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)));
    assert_eq!(
        report.skipped,
        ["fk constraint public orders orders_customer_fkey: public customers was not chosen and is not in the target"]
    );
    // `stranger` owns another table.
    assert_eq!(report.roles_created, ["clerk"]);
    assert_eq!(
        world
            .target
            .sql("alone", "SELECT count(*), max(m) FROM orders")
            .unwrap(),
        "1000|a"
    );
    let relations = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
                     WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'S', 'p')";
    assert_eq!(world.target.sql("alone", relations).unwrap(), "orders,orders_id_seq");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_come_with_their_root_and_heirs_want_their_parent() {
    let world = World::start();
    world.source_sql(PARTS);
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let into = world.restored();
    let restore = async |options: RestoreOptions| try_restore(&world, &repository, &backup, &into, &options).await;
    let report = restore(only(&["part", "lines"], &["s"])).await;
    let report = report.unwrap_or_else(|error| panic!("{}", error_chain(error)));
    assert_eq!(report.rows, 10 + 1000 + 2);
    assert_eq!(world.restored_sql("SELECT count(*) FROM part"), "10");
    assert_eq!(world.restored_sql("SELECT count(*) FROM ONLY part1"), "1");
    assert_eq!(world.restored_sql("SELECT nextval('s.inner_table_id_seq')"), "3");
    assert_eq!(world.restored_sql("SELECT s.one()"), "1");
    assert_eq!(world.restored_sql("SELECT polname FROM pg_policy"), "p");

    world.restored_sql("DROP TABLE part CASCADE");
    let report = restore(only(&["part1"], &[])).await.unwrap();
    assert_eq!(
        report.skipped,
        ["attaching partition public part1: its parent was not chosen"]
    );
    assert_eq!(world.restored_sql("SELECT count(*) FROM part1"), "1");

    let error = restore(only(&["chi"], &[])).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "public chi needs public par, which was not chosen and is not in the target; choose it too"
    );
    let error = restore(only(&["nowhere"], &[])).await.unwrap_err().to_string();
    assert_eq!(error, "\"public\".\"nowhere\" is not in this backup");
    let error = restore(only(&[], &["nowhere"])).await.unwrap_err().to_string();
    assert_eq!(error, "schema nowhere is not in this backup");
}
