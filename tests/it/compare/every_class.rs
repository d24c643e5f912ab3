//! One object of every class that `pg_identify_object` knows, altered or dropped on the restored side in turn.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_faithful_dump_and_restore_of_every_class_shows_no_difference() {
    let pair = Pair::with(EVERY_CLASS).await;
    let expected = pair.inventory("source").await;
    let found = pair.inventory("target").await;
    let checks = compare_inventory(&expected, &found);
    assert_eq!(failed(&checks), [""; 0], "{checks:#?}");
    let scratch = pair.scratch_definitions().await;
    assert_eq!(pair.differences("target", &scratch).await, []);
    assert_eq!(pair.scratch_databases(), "");
}

/// What is done to the target, and the object that the inventory (`i`) or the definitions (`d`) must name for it.
const ALTERATIONS: &[(&str, &str)] = &[
    ("DROP TABLE app.nothing_in_it", "i table app.nothing_in_it"),
    ("ALTER TABLE app.customer OWNER TO app_user", "i table app.customer"),
    (
        "ALTER TABLE app.customer ALTER COLUMN name TYPE varchar(100)",
        "d TABLE app.customer",
    ),
    (
        "ALTER TABLE app.customer ALTER COLUMN name DROP NOT NULL",
        "d TABLE app.customer",
    ),
    (
        "ALTER TABLE app.account RENAME COLUMN balance TO money",
        "i table column app.account.balance",
    ),
    (
        "REVOKE UPDATE (name) ON app.customer FROM app_user",
        "i table column app.customer.name",
    ),
    (
        "REVOKE GRANT OPTION FOR INSERT ON app.account FROM app_user",
        "i table app.account",
    ),
    ("GRANT DELETE ON app.account TO PUBLIC", "i table app.account"),
    (
        "COMMENT ON COLUMN app.customer.name IS 'other'",
        "d COMMENT app.COLUMN customer.name",
    ),
    ("DROP INDEX app.account_rich", "i index app.account_rich"),
    (
        "DROP INDEX app.account_rich; CREATE INDEX account_rich ON app.account (balance)",
        "d INDEX app.account_rich",
    ),
    ("DROP INDEX app.event_at", "i index app.event_at"),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.account_rich'::regclass",
        "i index app.account_rich",
    ),
    ("DROP SEQUENCE app.counter", "i sequence app.counter"),
    ("ALTER SEQUENCE app.counter INCREMENT 2", "d SEQUENCE app.counter"),
    ("DROP VIEW app.rich", "i view app.rich"),
    (
        "CREATE OR REPLACE VIEW app.rich AS SELECT * FROM app.account WHERE balance > 11",
        "d VIEW app.rich",
    ),
    ("DROP MATERIALIZED VIEW app.sums", "i materialized view app.sums"),
    ("DROP TYPE app.pair CASCADE", "i composite type app.pair"),
    (
        "ALTER TYPE app.pair ADD ATTRIBUTE c int",
        "i composite type column app.pair.c",
    ),
    ("DROP FOREIGN TABLE app.remote", "i foreign table app.remote"),
    ("DROP FUNCTION app.twice(int)", "i function app.twice(integer)"),
    (
        "CREATE OR REPLACE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 3 * n'",
        "d FUNCTION app.twice(integer)",
    ),
    (
        "GRANT EXECUTE ON FUNCTION app.twice(int) TO app_user",
        "i function app.twice(integer)",
    ),
    ("DROP PROCEDURE app.nothing()", "i procedure app.nothing()"),
    ("DROP AGGREGATE app.total(int)", "i aggregate app.total(integer)"),
    ("ALTER TYPE app.mood ADD VALUE 'angry'", "d TYPE app.mood"),
    ("DROP TYPE app.span", "i type app.span"),
    ("DROP DOMAIN app.positive", "i type app.positive"),
    (
        "ALTER DOMAIN app.positive DROP CONSTRAINT positive_check",
        "i domain constraint positive_check on app.positive",
    ),
    ("DROP CAST (text AS app.pair)", "i cast (pg_catalog.text AS app.pair)"),
    ("DROP COLLATION app.german", "i collation app.german"),
    (
        "ALTER TABLE app.customer DROP CONSTRAINT kind_check",
        "i table constraint kind_check on app.customer",
    ),
    (
        "ALTER TABLE app.account DROP CONSTRAINT owner_fk",
        "i table constraint owner_fk on app.account",
    ),
    (
        "ALTER TABLE app.event DROP CONSTRAINT event_customer_fkey",
        "i table constraint event_customer_fkey on app.event",
    ),
    ("DROP CONVERSION app.latin", "i conversion app.latin"),
    (
        "ALTER TABLE app.account ALTER COLUMN balance DROP DEFAULT",
        "i default value for app.account.balance",
    ),
    (
        "ALTER TABLE app.account ALTER COLUMN balance SET DEFAULT 1",
        "d TABLE app.account",
    ),
    ("DROP LANGUAGE app_language CASCADE", "i language app_language"),
    (
        "DROP OPERATOR app.=== (int, int)",
        "i operator app.===(integer,integer)",
    ),
    (
        "DROP OPERATOR CLASS app.backwards USING btree",
        "i operator class app.backwards USING btree",
    ),
    (
        "DROP OPERATOR FAMILY app.family USING btree CASCADE",
        "i operator family app.family USING btree",
    ),
    (
        "ALTER OPERATOR FAMILY app.family USING btree ADD OPERATOR 1 > (int, bigint)",
        "i operator of access method operator 1 (integer, bigint) of app.family USING btree",
    ),
    (
        "ALTER OPERATOR FAMILY app.family USING btree ADD FUNCTION 1 btint48cmp(int, bigint)",
        "i function of access method function 1 (integer, bigint) of app.family USING btree",
    ),
    ("DROP ACCESS METHOD my_heap CASCADE", "i access method my_heap"),
    (
        "UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'heap') WHERE relname = 'on_my_heap'",
        "d access method of TABLE app.on_my_heap",
    ),
    (
        "DROP RULE account_quiet ON app.account",
        "i rule account_quiet on app.account",
    ),
    (
        "DROP TRIGGER account_stamp ON app.account",
        "i trigger account_stamp on app.account",
    ),
    (
        "ALTER TABLE app.account DISABLE TRIGGER account_stamp",
        "d TRIGGER app.account account_stamp",
    ),
    ("DROP SCHEMA app CASCADE", "i schema app"),
    ("REVOKE USAGE ON SCHEMA app FROM app_user", "i schema app"),
    ("REVOKE CREATE ON SCHEMA public FROM app_owner", "i schema public"),
    ("ALTER SCHEMA public OWNER TO app_owner", "i schema public"),
    (
        "DROP STATISTICS app.account_stats",
        "i statistics object app.account_stats",
    ),
    (
        "DROP TEXT SEARCH CONFIGURATION app.configuration",
        "i text search configuration app.configuration",
    ),
    (
        "DROP TEXT SEARCH DICTIONARY app.dictionary CASCADE",
        "i text search dictionary app.dictionary",
    ),
    (
        "DROP TEXT SEARCH TEMPLATE app.template CASCADE",
        "i text search template app.template",
    ),
    (
        "DROP TEXT SEARCH PARSER app.parser CASCADE",
        "i text search parser app.parser",
    ),
    (
        "REVOKE USAGE ON FOREIGN DATA WRAPPER wrapper FROM app_user",
        "i foreign-data wrapper wrapper",
    ),
    (
        "DROP FOREIGN DATA WRAPPER wrapper CASCADE",
        "i foreign-data wrapper wrapper",
    ),
    ("DROP SERVER elsewhere CASCADE", "i server elsewhere"),
    ("ALTER SERVER elsewhere VERSION '2'", "d SERVER elsewhere"),
    (
        "DROP USER MAPPING FOR app_user SERVER elsewhere",
        "i user mapping app_user on server elsewhere",
    ),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app REVOKE SELECT ON TABLES FROM app_user",
        "i default acl for role app_owner in schema app on tables",
    ),
    ("DROP EXTENSION amcheck", "i extension amcheck"),
    ("CREATE EXTENSION hstore", "i extension hstore"),
    (
        "REVOKE ALL ON pg_catalog.pg_authid FROM app_user",
        "i table pg_catalog.pg_authid",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION public.citext_hash(citext) FROM app_user",
        "i function public.citext_hash(public.citext)",
    ),
    ("DROP EVENT TRIGGER watch_ddl", "i event trigger watch_ddl"),
    ("ALTER EVENT TRIGGER watch_ddl DISABLE", "d EVENT TRIGGER watch_ddl"),
    ("DROP PUBLICATION all_of_app", "i publication all_of_app"),
    (
        "ALTER PUBLICATION news DROP TABLE app.account",
        "i publication relation app.account in publication news",
    ),
    (
        "ALTER PUBLICATION all_of_app DROP TABLES IN SCHEMA app",
        "i publication namespace app in publication all_of_app",
    ),
    (
        "DROP POLICY account_own ON app.account",
        "i policy account_own on app.account",
    ),
    (
        "ALTER POLICY account_own ON app.account USING (owner = 2)",
        "d POLICY app.account account_own",
    ),
    (
        "ALTER TABLE app.account DISABLE ROW LEVEL SECURITY",
        "d ROW SECURITY app.account",
    ),
    (
        "DROP TRANSFORM FOR app.mood LANGUAGE app_language",
        "i transform for app.mood language app_language",
    ),
    (
        "ALTER TABLE app.event DETACH PARTITION app.event_2026",
        "d TABLE ATTACH app.event_2026",
    ),
    ("ALTER TABLE app.child NO INHERIT app.base", "d TABLE app.child"),
    ("CREATE TABLE app.stranger ()", "i table app.stranger"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_alteration_of_an_object_of_any_class_is_named() {
    let pair = Pair::with(EVERY_CLASS).await;
    let expected = pair.inventory("source").await;
    let scratch = pair.scratch_definitions().await;
    let mut missed = Vec::new();
    for (alteration, object) in ALTERATIONS {
        pair.alter(alteration);
        let (by, object) = object.split_at(2);
        let named = if by == "i " {
            failed(&compare_inventory(&expected, &pair.inventory("altered").await))
        } else {
            let differences = pair.differences("altered", &scratch).await;
            differences.into_iter().map(|difference| difference.entry).collect()
        };
        if !named.iter().any(|name| name == object) {
            missed.push(format!("{alteration}: {object} is not among {named:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The list above must grow with the server: each class of this database's dependencies is in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_has_an_object_of_every_class_and_the_documented_role_sees_them_all() {
    let pair = Pair::with(EVERY_CLASS).await;
    let inventory = pair.inventory("source").await;
    let altered: Vec<&str> = ALTERATIONS
        .iter()
        .filter_map(|(_, object)| object.strip_prefix("i "))
        .collect();
    let not_altered: std::collections::BTreeSet<&str> = inventory
        .iter()
        .map(|object| object.object_type.as_str())
        .filter(|class| !altered.iter().any(|object| object.starts_with(&format!("{class} "))))
        .collect();
    let columns_like_a_tables = ["view column", "materialized view column", "foreign table column"];
    assert_eq!(
        not_altered
            .difference(&columns_like_a_tables.into())
            .collect::<Vec<_>>(),
        [&""; 0]
    );
    assert!(
        inventory
            .iter()
            .map(|object| &object.object_type)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 40
    );
    let session = connect(&pair.as_backup_role("source"), "test").await.unwrap();
    assert_eq!(read_inventory(&session.client).await.unwrap(), inventory);
}
