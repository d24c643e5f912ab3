//! Did definitions change while they were being read? (fact 3)
//!
//! `pg_dump` and the `pg_get_*def` functions read the current catalogue, not the snapshot, and functions, views and
//! sequences cannot be locked. So the rows of every definition catalogue, by key and `xmin`, are summed inside the
//! snapshot and once more afterwards with a fresh look. Temporary objects, which come and go, are left out, and so are
//! TOAST relations but for the options that a table sets on them.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;

/// One sum a catalogue; equal sums mean that the same row versions are visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionSums(Vec<(String, String)>);

impl DefinitionSums {
    /// Catalogues whose rows are not the same, by name.
    #[must_use]
    pub fn changed_since<'sums>(&'sums self, earlier: &'sums Self) -> Vec<&'sums str> {
        let pairs = self.0.iter().zip(&earlier.0);
        pairs
            .filter(|(now, then)| now != then)
            .map(|(now, _)| now.0.as_str())
            .collect()
    }
}

/// Catalogues that hold definitions: name, key that identifies a row, and the relation that a row belongs to, where
/// temporary relations have rows in it.
const CATALOGUES: &[(&str, &str, Option<&str>)] = &[
    ("pg_attribute", "attrelid, attnum", Some("attrelid")),
    ("pg_attrdef", "oid", Some("adrelid")),
    ("pg_index", "indexrelid", Some("indrelid")),
    ("pg_inherits", "inhrelid, inhseqno", Some("inhrelid")),
    ("pg_partitioned_table", "partrelid", Some("partrelid")),
    ("pg_sequence", "seqrelid", Some("seqrelid")),
    ("pg_rewrite", "oid", Some("ev_class")),
    ("pg_trigger", "oid", Some("tgrelid")),
    ("pg_policy", "oid", Some("polrelid")),
    ("pg_statistic_ext", "oid", Some("stxrelid")),
    ("pg_publication_rel", "oid", None),
    ("pg_publication", "oid", None),
    ("pg_foreign_table", "ftrelid", None),
    ("pg_amop", "oid", None),
    ("pg_amproc", "oid", None),
    ("pg_am", "oid", None),
    ("pg_language", "oid", None),
    ("pg_event_trigger", "oid", None),
    ("pg_foreign_data_wrapper", "oid", None),
    ("pg_foreign_server", "oid", None),
    ("pg_extension", "oid", None),
    ("pg_default_acl", "oid", None),
    ("pg_transform", "oid", None),
    ("pg_ts_config_map", "mapcfg, maptokentype, mapseqno", None),
    ("pg_init_privs", "objoid, classoid, objsubid", None),
];

/// Catalogues with a namespace of their own: name, key, namespace column.
const NAMESPACED: &[(&str, &str, &str)] = &[
    ("pg_proc", "oid", "pronamespace"),
    ("pg_type", "oid", "typnamespace"),
    ("pg_constraint", "oid", "connamespace"),
    ("pg_operator", "oid", "oprnamespace"),
    ("pg_opclass", "oid", "opcnamespace"),
    ("pg_opfamily", "oid", "opfnamespace"),
    ("pg_collation", "oid", "collnamespace"),
    ("pg_conversion", "oid", "connamespace"),
    ("pg_ts_config", "oid", "cfgnamespace"),
    ("pg_ts_dict", "oid", "dictnamespace"),
    ("pg_ts_parser", "oid", "prsnamespace"),
    ("pg_ts_template", "oid", "tmplnamespace"),
    ("pg_namespace", "oid", "oid"),
];

/// Catalogues of what belongs to types or functions: name, key, the columns with their OIDs.
const OF_NAMESPACED: &[(&str, &str, &[&str])] = &[
    ("pg_enum", "oid", &["enumtypid"]),
    ("pg_range", "rngtypid", &["rngtypid"]),
    ("pg_cast", "oid", &["castsource", "casttarget"]),
    ("pg_aggregate", "aggfnoid", &["aggfnoid"]),
];

/// Takes the sums in whatever snapshot the session has.
///
/// # Errors
/// `Error::Query`.
pub async fn read_definition_sums(client: &Client) -> Result<DefinitionSums> {
    let rows = client
        .query(&query(), &[])
        .await
        .map_err(Error::query("sum the definitions"))?;
    let sums = rows
        .iter()
        .map(|row| Ok((column(row, "catalogue")?, column(row, "sum")?)));
    Ok(DefinitionSums(sums.collect::<Result<_>>()?))
}

fn query() -> String {
    let of_relations = CATALOGUES.iter().map(|(catalogue, key, relation)| {
        let condition = relation.map_or_else(
            || "true".to_owned(),
            |relation| format!("{relation} NOT IN (SELECT oid FROM passing_relation)"),
        );
        select(catalogue, key, &condition)
    });
    let namespaced = NAMESPACED.iter().map(|(catalogue, key, namespace)| {
        select(
            catalogue,
            key,
            &format!("{namespace} NOT IN (SELECT oid FROM temporary_namespace)"),
        )
    });
    let of_namespaced = OF_NAMESPACED.iter().map(|(catalogue, key, columns)| {
        let is_lasting = |column: &&str| format!("{column} NOT IN (SELECT oid FROM temporary_object)");
        let conditions: Vec<String> = columns.iter().map(is_lasting).collect();
        select(catalogue, key, &conditions.join(" AND "))
    });
    // Comments on large objects are data, and those on temporary objects nobody's.
    let comments = ["pg_description", "pg_seclabel"].map(|catalogue| {
        select(
            catalogue,
            "objoid, classoid, objsubid",
            "classoid <> 'pg_catalog.pg_largeobject'::pg_catalog.regclass
             AND (classoid, objoid) NOT IN (SELECT classoid, oid FROM temporary_object)",
        )
    });
    let relations = [select_relations()];
    let selects: Vec<String> = relations
        .into_iter()
        .chain(of_relations)
        .chain(namespaced)
        .chain(of_namespaced)
        .chain(comments)
        .collect();
    let temporary = NAMESPACED.iter().map(|(catalogue, _, namespace)| {
        format!(
            "UNION ALL SELECT 'pg_catalog.{catalogue}'::pg_catalog.regclass, oid FROM pg_catalog.{catalogue}
             WHERE {namespace} IN (SELECT oid FROM temporary_namespace)"
        )
    });
    let temporary: Vec<String> = temporary.collect();
    let temporary = temporary.join(" ");
    format!(
        "WITH temporary_namespace AS (
             SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'
         ), passing_relation AS (
             SELECT oid FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM temporary_namespace)
                OR relnamespace = 'pg_toast'::pg_catalog.regnamespace
         ), temporary_object AS (
             SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classoid, oid FROM passing_relation
             UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, oid FROM pg_catalog.pg_trigger
                       WHERE tgrelid IN (SELECT oid FROM passing_relation)
             {temporary}
         )
         {} ORDER BY 1",
        selects.join(" UNION ALL ")
    )
}

/// `pg_class` by row versions too, except where a new version need not mean a new definition: REFRESH and REINDEX give
/// materialized views and indexes new files, and REFRESH a new TOAST table of the old name. A database of which a view is
/// refreshed every few minutes could never be backed up; of these relations the columns that define them count.
fn select_relations() -> String {
    const OWN: &str = "oid, relname, relnamespace, relowner, relam, reltablespace, relpersistence, relreplident,
        relispopulated, relispartition, relacl, reloptions";
    format!(
        "SELECT 'pg_class' AS catalogue, pg_catalog.count(*)::text || ':' || coalesce(pg_catalog.sum(
             pg_catalog.hashtextextended(CASE WHEN relkind = 't' THEN ROW(relname, relowner, reloptions)::text
                 WHEN relkind IN ('m', 'i', 'I') THEN ROW({OWN})::text
                 ELSE pg_catalog.concat_ws(',', oid, xmin) END, 0)), 0)::text AS sum
         FROM pg_catalog.pg_class WHERE relkind = 't' AND relnamespace NOT IN (SELECT oid FROM temporary_namespace)
             OR oid NOT IN (SELECT oid FROM passing_relation)"
    )
}

fn select(catalogue: &str, key: &str, condition: &str) -> String {
    format!(
        "SELECT '{catalogue}' AS catalogue, pg_catalog.count(*)::text || ':' || coalesce(pg_catalog.sum(
             pg_catalog.hashtextextended(pg_catalog.concat_ws(',', {key}, xmin), 0)), 0)::text AS sum
         FROM pg_catalog.{catalogue} WHERE {condition}"
    )
}
