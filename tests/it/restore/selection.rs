//! Chosen tables and schemas, with all that hangs on them.

use kubebackup::content::QualifiedName;
use kubebackup::restore::RestoreOptions;

use super::{restored, try_restore};
use crate::support::World;
use crate::support::library::{backup_once, error_chain, memory_repository};

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
