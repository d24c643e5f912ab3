//! PostgreSQL as the oracle: what a database contains, digested by SQL that shares nothing with the crate.
//!
//! Each table is the MD5 of the sorted MD5s of its rows' text, each partition tree one table (a hash partition by enum
//! may keep its rows elsewhere after a reload), beside sequences, large objects and materialized views.

use std::collections::BTreeMap;

use kubebackup::demo::Cluster;

/// What a database contains: name to digest, such as `table "public"."t"` to `3 rows 9e107d9d...`.
pub(crate) type Contents = BTreeMap<String, String>;

const SETTINGS: &str = "
    SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; SET DateStyle = 'ISO';
    SET extra_float_digits = 3; SET lc_monetary = 'C'; SET bytea_output = 'hex'; SET row_security = off;";

/// Tables with what stands in them alone, partition trees from their root, materialized views if populated.
const RELATIONS: &str = r#"
SELECT format(
    'SELECT %L, count(*), md5(coalesce(string_agg(d, '''' ORDER BY d COLLATE "C"), '''')) FROM (SELECT md5(%s) AS d FROM %s %I.%I) s',
    format('%s %I.%I', CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END, nspname, relname),
    coalesce(format('ROW(%s)::text', columns), quote_literal('no columns')),
    CASE relkind WHEN 'r' THEN 'ONLY' ELSE '' END, nspname, relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = relnamespace
LEFT JOIN LATERAL (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE "C") AS columns
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true
WHERE relkind IN ('r', 'p', 'm') AND NOT relispartition AND relpersistence = 'p' AND relispopulated
  AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
\gexec
"#;

const REST: &str = r"
SELECT format('SELECT %L, last_value, is_called FROM %I.%I', format('sequence %I.%I', schemaname, sequencename),
    schemaname, sequencename) FROM pg_sequences
\gexec
SELECT 'large object ' || oid, octet_length(lo_get(oid)), md5(lo_get(oid)) FROM pg_largeobject_metadata;
SELECT format('unpopulated %I.%I', schemaname, matviewname), '', '' FROM pg_matviews WHERE NOT ispopulated;
";

/// Everything that `database` contains, unlogged tables left out.
#[track_caller]
pub(crate) fn contents(cluster: &Cluster, database: &str) -> Contents {
    let script = format!("{SETTINGS}{RELATIONS}{REST}");
    cluster
        .sql(database, &script)
        .unwrap()
        .lines()
        .map(|line| {
            // The name may contain any character, the two figures after it none of these.
            let mut fields = line.rsplitn(3, '|');
            let (digest, count, name) = (fields.next(), fields.next(), fields.next());
            (
                name.unwrap_or_default().to_owned(),
                format!("{} {}", count.unwrap_or_default(), digest.unwrap_or_default()),
            )
        })
        .collect()
}

/// Every difference, by name.
pub(crate) fn differences(source: &Contents, restored: &Contents) -> Vec<String> {
    let only_restored = restored.keys().filter(|name| !source.contains_key(*name));
    source
        .keys()
        .chain(only_restored)
        .filter(|name| source.get(*name) != restored.get(*name))
        .map(|name| {
            let (expected, found) = (source.get(name), restored.get(name));
            format!("{name}: expected {expected:?}, found {found:?}")
        })
        .collect()
}

/// # Panics
/// Naming what differs.
#[track_caller]
pub(crate) fn assert_same(source: &Contents, restored: &Contents) {
    let differences = differences(source, restored);
    assert!(differences.is_empty(), "contents differ:\n{}", differences.join("\n"));
}

#[test]
#[should_panic(expected = "table public.t: expected")]
fn the_oracle_sees_a_row_that_is_there_twice() {
    let cluster = super::source_cluster();
    cluster
        .sql("postgres", "CREATE TABLE t AS SELECT i FROM generate_series(1, 3) i")
        .unwrap();
    let before = contents(&cluster, "postgres");
    cluster
        .sql("postgres", "DELETE FROM t WHERE i = 3; INSERT INTO t VALUES (2)")
        .unwrap();
    assert_same(&before, &contents(&cluster, "postgres"));
}
