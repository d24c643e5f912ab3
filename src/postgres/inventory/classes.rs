//! Which rows of which catalogue are a user's objects.
//!
//! Each source yields `objid, objsubid, owner, acl, acl_kind, builtin, is_public`. `builtin` says that `initdb` or an
//! extension made the object, or what it hangs on; `MEMBERS(catalogue)` stands for the OIDs of that catalogue's rows which
//! belong to an extension, `NO_ACL` for the columns of a class without privileges. Objects of temporary and TOAST schemas are not user objects at all.

/// One catalogue of objects.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) catalogue: &'static str,
    /// `server_version_num` that brought it.
    pub(super) since: u32,
    pub(super) source: &'static str,
}

const fn class(catalogue: &'static str, source: &'static str) -> Class {
    Class {
        catalogue,
        since: 0,
        source,
    }
}

/// A class whose rows live in a schema and have an owner, and privileges or none.
macro_rules! in_schema {
    ($catalogue:literal, $prefix:literal, $acl:literal, $condition:literal) => {
        class(
            $catalogue,
            concat!(
                "SELECT c.oid AS objid, 0 AS objsubid, c.",
                $prefix,
                "owner AS owner, ",
                $acl,
                ", c.oid < 16384 OR c.oid IN MEMBERS(",
                $catalogue,
                ") AS builtin, false AS is_public FROM ",
                $catalogue,
                " c JOIN pg_namespace n ON n.oid = c.",
                $prefix,
                "namespace WHERE n.nspname !~ '^pg_(temp|toast)' AND ",
                $condition
            ),
        )
    };
}

/// A class without schema.
macro_rules! global {
    ($catalogue:literal, $owner:literal, $acl:literal) => {
        class(
            $catalogue,
            concat!(
                "SELECT c.oid AS objid, 0 AS objsubid, ",
                $owner,
                " AS owner, ",
                $acl,
                ", c.oid < 16384 OR c.oid IN MEMBERS(",
                $catalogue,
                ") AS builtin, false AS is_public FROM ",
                $catalogue,
                " c"
            ),
        )
    };
}

/// A class whose rows hang on a table, whose extension is then theirs too.
macro_rules! on_table {
    ($catalogue:literal, $table:literal, $condition:literal) => {
        class(
            $catalogue,
            concat!(
                "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, c.oid < 16384 OR t.oid < 16384 OR c.oid IN MEMBERS(",
                $catalogue,
                ") OR t.oid IN MEMBERS(pg_class) AS builtin, false AS is_public FROM ",
                $catalogue,
                " c JOIN pg_class t ON t.oid = c.",
                $table,
                " WHERE t.relpersistence <> 't' AND ",
                $condition
            ),
        )
    };
}

/// Every class that `pg_identify_object` knows and that belongs to one database.
pub(super) const CLASSES: &[Class] = &[
    // An invalid index is not dumped, so it is not expected either; one of a partitioned table is.
    class(
        "pg_class",
        "SELECT c.oid AS objid, 0 AS objsubid, c.relowner AS owner, \
                CASE WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') THEN c.relacl END AS acl, \
                CASE WHEN c.relkind = 'S' THEN 's'::\"char\" \
                     WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN 'r'::\"char\" END AS acl_kind, \
                c.oid < 16384 OR c.oid IN MEMBERS(pg_class) OR c.reltype IN MEMBERS(pg_type) \
                    OR coalesce(x.indrelid IN MEMBERS(pg_class), false) AS builtin, \
                false AS is_public \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index x ON x.indexrelid = c.oid \
         WHERE n.nspname !~ '^pg_(temp|toast)' AND c.relpersistence <> 't' AND c.relkind <> 't' \
           AND (x.indexrelid IS NULL OR c.relkind = 'I' OR x.indisvalid AND x.indisready)",
    ),
    class(
        "pg_class",
        "SELECT c.oid AS objid, a.attnum::int AS objsubid, c.relowner AS owner, a.attacl AS acl, \
                'c'::\"char\" AS acl_kind, \
                c.oid < 16384 OR c.oid IN MEMBERS(pg_class) OR c.reltype IN MEMBERS(pg_type) AS builtin, \
                false AS is_public \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE n.nspname !~ '^pg_(temp|toast)' AND c.relpersistence <> 't' \
           AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND NOT a.attisdropped \
           AND (a.attnum > 0 OR a.attacl IS NOT NULL)",
    ),
    in_schema!("pg_proc", "pro", "c.proacl AS acl, 'f'::\"char\" AS acl_kind", "true"),
    // A row type comes with its table, an array type with its element type, a multirange with its range (and a restore
    // gives the owner of the range to the range alone).
    in_schema!(
        "pg_type",
        "typ",
        "c.typacl AS acl, 'T'::\"char\" AS acl_kind",
        "c.typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = c.typrelid AND r.relkind <> 'c') \
         AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = c.typelem AND e.typarray = c.oid)"
    ),
    global!("pg_cast", "NULL::oid", "NO_ACL"),
    in_schema!("pg_collation", "coll", "NO_ACL", "true"),
    // Inherited constraints and those of partitions come with their parent's and are renamed by a restore.
    on_table!(
        "pg_constraint",
        "conrelid",
        "c.coninhcount = 0 AND c.conparentid = 0 AND c.contype <> 'n'"
    ),
    class(
        "pg_constraint",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.oid < 16384 OR c.contypid IN MEMBERS(pg_type) AS builtin, false AS is_public \
         FROM pg_constraint c JOIN pg_type t ON t.oid = c.contypid JOIN pg_namespace n ON n.oid = t.typnamespace \
         WHERE c.contypid <> 0 AND c.contype <> 'n' AND n.nspname !~ '^pg_(temp|toast)'",
    ),
    in_schema!("pg_conversion", "con", "NO_ACL", "true"),
    on_table!("pg_attrdef", "adrelid", "true"),
    global!(
        "pg_language",
        "c.lanowner",
        "c.lanacl AS acl, 'l'::\"char\" AS acl_kind"
    ),
    in_schema!("pg_operator", "opr", "NO_ACL", "true"),
    in_schema!("pg_opclass", "opc", "NO_ACL", "true"),
    in_schema!("pg_opfamily", "opf", "NO_ACL", "true"),
    global!("pg_am", "NULL::oid", "NO_ACL"),
    class(
        "pg_amop",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.oid < 16384 OR c.amopfamily IN MEMBERS(pg_opfamily) OR c.amopopr IN MEMBERS(pg_operator) AS builtin, \
                false AS is_public \
         FROM pg_amop c",
    ),
    class(
        "pg_amproc",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.oid < 16384 OR c.amprocfamily IN MEMBERS(pg_opfamily) OR c.amproc::oid IN MEMBERS(pg_proc) AS builtin, \
                false AS is_public \
         FROM pg_amproc c",
    ),
    // A view's own rule comes with the view.
    on_table!("pg_rewrite", "ev_class", "c.rulename <> '_RETURN'"),
    // A partition's clone of its parent's trigger comes with that.
    on_table!("pg_trigger", "tgrelid", "NOT c.tgisinternal AND c.tgparentid = 0"),
    // `public` is always there in a fresh database, made by initdb or by a wipe: its OID says nothing.
    class(
        "pg_namespace",
        "SELECT c.oid AS objid, 0 AS objsubid, c.nspowner AS owner, c.nspacl AS acl, 'n'::\"char\" AS acl_kind, \
                c.nspname <> 'public' AND (c.oid < 16384 OR c.oid IN MEMBERS(pg_namespace)) AS builtin, \
                c.nspname = 'public' AS is_public \
         FROM pg_namespace c WHERE c.nspname !~ '^pg_(temp|toast)'",
    ),
    in_schema!("pg_statistic_ext", "stx", "NO_ACL", "true"),
    class(
        "pg_ts_parser",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.oid < 16384 OR c.oid IN MEMBERS(pg_ts_parser) AS builtin, false AS is_public FROM pg_ts_parser c",
    ),
    in_schema!("pg_ts_dict", "dict", "NO_ACL", "true"),
    class(
        "pg_ts_template",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.oid < 16384 OR c.oid IN MEMBERS(pg_ts_template) AS builtin, false AS is_public FROM pg_ts_template c",
    ),
    in_schema!("pg_ts_config", "cfg", "NO_ACL", "true"),
    global!(
        "pg_foreign_data_wrapper",
        "c.fdwowner",
        "c.fdwacl AS acl, 'F'::\"char\" AS acl_kind"
    ),
    global!(
        "pg_foreign_server",
        "c.srvowner",
        "c.srvacl AS acl, 'S'::\"char\" AS acl_kind"
    ),
    // The view, because the catalogue itself is closed to most roles for its options.
    class(
        "pg_user_mapping",
        "SELECT c.umid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                c.umid IN MEMBERS(pg_user_mapping) AS builtin, false AS is_public FROM pg_user_mappings c",
    ),
    global!(
        "pg_default_acl",
        "c.defaclrole",
        "c.defaclacl AS acl, NULL::\"char\" AS acl_kind"
    ),
    // Every extension counts, also plpgsql of initdb; whoever creates one owns it, so its owner says nothing.
    class(
        "pg_extension",
        "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, \
                false AS builtin, false AS is_public FROM pg_extension c",
    ),
    global!("pg_event_trigger", "c.evtowner", "NO_ACL"),
    global!("pg_publication", "c.pubowner", "NO_ACL"),
    on_table!("pg_publication_rel", "prrelid", "true"),
    Class {
        catalogue: "pg_publication_namespace",
        since: 150_000,
        source: "SELECT c.oid AS objid, 0 AS objsubid, NULL::oid AS owner, NO_ACL, false AS builtin, false AS is_public FROM pg_publication_namespace c",
    },
    on_table!("pg_policy", "polrelid", "true"),
    global!("pg_transform", "NULL::oid", "NO_ACL"),
];
