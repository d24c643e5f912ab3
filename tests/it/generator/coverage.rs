//! What a generated database really holds, asked of the server's catalogue: coverage cannot shrink unseen.

use std::collections::BTreeSet;

use kubebackup::demo::Cluster;

use super::NOT_FOR_COLUMNS;

/// Kinds of things that every generated database must hold.
const KINDS: &[&str] = &[
    "array column",
    "array with lower bounds",
    "check constraint",
    "child table",
    "composite type",
    "default partition",
    "domain",
    "dropped column",
    "empty table",
    "enum",
    "foreign key",
    "generated column",
    "hash partition",
    "identity always",
    "identity by default",
    "large object",
    "large object, empty",
    "large object, sparse",
    "list partition",
    "materialized view",
    "nested partition",
    "null",
    "quoted name",
    "range partition",
    "range type",
    "row security",
    "sequence",
    "table of a type",
    "table without columns",
    "toasted value",
    "trigger",
    "unlogged table",
    "unpopulated materialized view",
    "view",
];

const QUERY: &str = r"
WITH relations AS (
    SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
columns AS (SELECT a.*, relkind FROM pg_attribute a JOIN relations r ON r.oid = attrelid WHERE attnum > 0)
SELECT 'child table' FROM relations JOIN pg_inherits ON inhrelid = oid WHERE NOT relispartition AND relkind = 'r'
UNION SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' END FROM relations
    WHERE relkind IN ('v', 'm', 'S')
UNION SELECT CASE partstrat WHEN 'r' THEN 'range partition' WHEN 'l' THEN 'list partition' ELSE 'hash partition' END FROM pg_partitioned_table
UNION SELECT 'default partition' FROM pg_partitioned_table WHERE partdefid <> 0
UNION SELECT 'nested partition' FROM relations WHERE relkind = 'p' AND relispartition
UNION SELECT 'row security' FROM relations WHERE relrowsecurity AND relforcerowsecurity
UNION SELECT 'unlogged table' FROM relations WHERE relpersistence = 'u' AND relkind = 'r'
UNION SELECT 'table of a type' FROM relations WHERE reloftype <> 0
UNION SELECT 'unpopulated materialized view' FROM relations WHERE NOT relispopulated
UNION SELECT 'table without columns' FROM relations WHERE relkind = 'r' AND relnatts = 0
UNION SELECT 'empty table' FROM relations WHERE relkind = 'r' AND pg_relation_size(oid) = 0
UNION SELECT 'toasted value' FROM relations WHERE reltoastrelid <> 0 AND pg_relation_size(reltoastrelid) > 0
UNION SELECT 'quoted name' FROM relations WHERE relname !~ '^[a-z0-9_]+$'
UNION SELECT 'dropped column' FROM columns WHERE attisdropped
UNION SELECT 'generated column' FROM columns WHERE attgenerated = 's'
UNION SELECT CASE attidentity WHEN 'a' THEN 'identity always' ELSE 'identity by default' END FROM columns WHERE attidentity <> ''
UNION SELECT CASE typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'r' THEN 'range type' WHEN 'c' THEN 'composite type' END
    FROM columns JOIN pg_type t ON t.oid = atttypid WHERE typtype IN ('d', 'e', 'r', 'c')
UNION SELECT 'array column' FROM columns JOIN pg_type t ON t.oid = atttypid WHERE typcategory = 'A'
UNION SELECT CASE contype WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check constraint' END FROM pg_constraint
    WHERE contype IN ('f', 'c') AND oid >= 16384
UNION SELECT 'trigger' FROM pg_trigger WHERE NOT tgisinternal
UNION SELECT 'large object' FROM pg_largeobject_metadata
UNION SELECT 'large object, empty' FROM pg_largeobject_metadata m WHERE NOT EXISTS (SELECT FROM pg_largeobject WHERE loid = m.oid)
UNION SELECT 'large object, sparse' FROM pg_largeobject GROUP BY loid HAVING count(*) <= max(pageno)
";

const TYPES_HERE: &str = "
SELECT DISTINCT typname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid AND relkind IN ('r', 'p')
JOIN pg_type t ON t.oid = atttypid
WHERE attnum > 0 AND NOT attisdropped AND typnamespace = 'pg_catalog'::regnamespace AND c.oid >= 16384";

const TYPES_OF_SERVER: &str = "
SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')
AND oid < 16384 AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid)
AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = pg_type.oid)";

/// # Panics
/// Naming every type and kind of thing that `database` lacks.
#[track_caller]
pub(crate) fn assert_complete(cluster: &Cluster, database: &str) {
    let ask = |query: &str| -> BTreeSet<String> {
        cluster
            .sql(database, query)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let here = ask(TYPES_HERE);
    let missing_types: Vec<String> = ask(TYPES_OF_SERVER)
        .into_iter()
        .filter(|name| !here.contains(name) && !NOT_FOR_COLUMNS.contains(&name.as_str()))
        .collect();
    assert!(missing_types.is_empty(), "types without a column: {missing_types:?}");
    let arrays = here.iter().filter(|name| name.starts_with('_')).count();
    assert!(arrays > 60, "only {arrays} array types");

    let mut kinds = ask(QUERY);
    kinds.extend(ask(DATA_KINDS));
    let missing_kinds: Vec<&&str> = KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(
        missing_kinds.is_empty(),
        "kinds of things that are missing: {missing_kinds:?}"
    );
}

/// What only rows tell.
const DATA_KINDS: &str = r"
SELECT format('SELECT ''null'' FROM %I.%I WHERE %I IS NULL LIMIT 1', nspname, relname, attname)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE c.oid >= 16384 AND relkind = 'r' AND attnum > 0 AND NOT attisdropped AND nspname !~ '^pg_'
\gexec
SELECT format('SELECT ''array with lower bounds'' FROM %I.%I WHERE array_lower(%I, 1) <> 1 LIMIT 1', nspname, relname, attname)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE c.oid >= 16384 AND relkind = 'r' AND attndims > 0 AND NOT attisdropped AND nspname !~ '^pg_'
\gexec
";
