//! Every relation of a database with what decides how it is backed up.
//!
//! Read twice: once afresh, to know what to lock and whether it may be read at all, and once inside the snapshot, where
//! the answer is the truth of the backup.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::QualifiedName;

/// What a relation is, from `pg_class.relkind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
    Sequence,
}

impl RelationKind {
    /// PostgreSQL's words for it.
    #[must_use]
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::PartitionedTable => "partitioned table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::Sequence => "sequence",
        }
    }

    fn from_code(code: &str) -> Result<Self> {
        Ok(match code {
            "r" => Self::Table,
            "p" => Self::PartitionedTable,
            "v" => Self::View,
            "m" => Self::MaterializedView,
            "f" => Self::ForeignTable,
            "S" => Self::Sequence,
            other => {
                return Err(Error::Protocol(format!(
                    "pg_class has a relation of unknown kind '{other}'"
                )));
            }
        })
    }
}

/// One row of `pg_class` and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts of the catalogue")]
pub struct Relation {
    pub oid: u32,
    pub name: QualifiedName,
    pub kind: RelationKind,
    pub unlogged: bool,
    pub temporary: bool,
    /// The extension it is a member of.
    pub extension: Option<String>,
    /// For an extension's configuration table, the condition on its rows (may be empty).
    pub configuration: Option<String>,
    /// Stored columns in order, generated ones left out.
    pub columns: Vec<String>,
    pub generated_columns: Vec<String>,
    /// Blocks of its main fork now.
    pub heap_blocks: u64,
    /// Bytes of the table with TOAST, without indexes, now.
    pub table_bytes: u64,
    /// The root of its partition tree.
    pub partition_root: Option<u32>,
    /// Which leaf a row belongs to may differ on another server (fact 11).
    pub routing_is_fragile: bool,
    /// The materialized view has been populated.
    pub populated: bool,
    /// The connected role may read it.
    pub readable: bool,
    /// Row-level security would hide rows from the connected role.
    pub row_security_active: bool,
    /// Its file in this snapshot is not its file now: it was rewritten or truncated since.
    pub rewritten: bool,
}

impl Relation {
    /// A sequence whose value is stored: a user's, or one that an extension declares as configuration.
    #[must_use]
    pub fn is_stored_sequence(&self) -> bool {
        self.kind == RelationKind::Sequence
            && !self.temporary
            && (self.extension.is_none() || self.configuration.is_some())
    }

    /// Holds rows that are stored by default rules: a logged or unlogged table, not another session's temporary one.
    #[must_use]
    pub fn is_lockable(&self) -> bool {
        matches!(self.kind, RelationKind::Table | RelationKind::PartitionedTable)
            && !self.temporary
            && (self.extension.is_none() || self.configuration.is_some())
    }
}

/// Every relation outside the system's own schemas, by schema and name.
///
/// # Errors
/// `Error::Query`.
pub async fn read_relations(client: &Client) -> Result<Vec<Relation>> {
    let mut columns = read_columns(client).await?;
    let fragile = read_fragile_trees(client).await?;
    let rows = client
        .query(RELATIONS, &[])
        .await
        .map_err(Error::query("list the relations"))?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in &rows {
        let oid: u32 = column(row, "oid")?;
        let (stored, generated) = columns.remove(&oid).unwrap_or_default();
        let partition_root: Option<u32> = column(row, "root")?;
        relations.push(Relation {
            oid,
            name: QualifiedName::new(column::<String>(row, "schema")?, column::<String>(row, "name")?),
            kind: RelationKind::from_code(column(row, "kind")?)?,
            unlogged: column::<&str>(row, "persistence")? == "u",
            temporary: column::<&str>(row, "persistence")? == "t",
            extension: column(row, "extension")?,
            configuration: column(row, "configuration")?,
            columns: stored,
            generated_columns: generated,
            heap_blocks: column::<i64>(row, "heap_blocks")?.cast_unsigned(),
            table_bytes: column::<i64>(row, "table_bytes")?.cast_unsigned(),
            partition_root,
            routing_is_fragile: partition_root.is_some_and(|root| fragile.contains(&root)),
            populated: column(row, "populated")?,
            readable: column(row, "readable")?,
            row_security_active: column(row, "row_security_active")?,
            rewritten: column(row, "rewritten")?,
        });
    }
    relations.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(relations)
}

/// Sizes and current file numbers are asked only of tables: the functions open the relation. Of a thousand tables
/// `pg_table_size` would open the indexes of their TOAST tables too, and look at the small files beside each. They answer NULL for one
/// that vanished meanwhile, which the lock or the rewrite check then notices.
const RELATIONS: &str = "
    WITH RECURSIVE tree AS (
        SELECT p.partrelid AS oid, p.partrelid AS root FROM pg_catalog.pg_partitioned_table p
        JOIN pg_catalog.pg_class c ON c.oid = p.partrelid WHERE NOT c.relispartition
        UNION ALL
        SELECT i.inhrelid, tree.root FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
    ), configuration AS (
        SELECT e.extname::text AS extension, config.oid, config.condition
        FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS config(oid, condition)
    )
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
           c.relpersistence::text AS persistence, x.extname::text AS extension, f.condition AS configuration,
           CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0)
                / pg_catalog.current_setting('block_size')::bigint ELSE 0 END AS heap_blocks,
           CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0)
                + coalesce(pg_catalog.pg_relation_size(c.reltoastrelid), 0) ELSE 0 END AS table_bytes,
           CASE WHEN tree.root <> c.oid THEN tree.root END AS root,
           c.relispopulated AS populated,
           coalesce(CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END
             AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), true) AS readable,
           c.relrowsecurity AND pg_catalog.row_security_active(c.oid) AS row_security_active,
           c.relkind = 'r' AND c.relfilenode <> 0
             AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid) AS rewritten
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
         AND d.objsubid = 0 AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
    LEFT JOIN configuration f ON f.oid = c.oid
    LEFT JOIN tree ON tree.oid = c.oid
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')";

type Columns = (Vec<String>, Vec<String>);

async fn read_columns(client: &Client) -> Result<HashMap<u32, Columns>> {
    let rows = client
        .query(
            "SELECT a.attrelid, a.attname::text AS name, a.attgenerated::text AS generated
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
             WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384 AND c.relkind IN ('r', 'p')
             ORDER BY a.attrelid, a.attnum",
            &[],
        )
        .await
        .map_err(Error::query("list the columns"))?;
    let mut columns: HashMap<u32, Columns> = HashMap::new();
    for row in &rows {
        let (stored, generated) = columns.entry(column(row, "attrelid")?).or_default();
        let name: String = column(row, "name")?;
        // 's' stored and, from PostgreSQL 18, 'v' virtual: neither is copied.
        if column::<&str>(row, "generated")?.is_empty() {
            stored.push(name);
        } else {
            generated.push(name);
        }
    }
    Ok(columns)
}

/// Roots of trees in which a level routes by the hash of an expression, of a type whose hash depends on OIDs (enums, and
/// containers that may hold one; a domain has its base's category) or of text under a nondeterministic collation, or by
/// the order of a collation that another C library may sort differently.
///
/// Not of trees with a foreign leaf: whoever reads or writes their root contacts another server. Such a tree is loaded
/// and compared leaf by leaf, and a leaf that does not take its rows fails and is named.
async fn read_fragile_trees(client: &Client) -> Result<std::collections::HashSet<u32>> {
    client
        .query(
            "WITH RECURSIVE tree AS (
                 SELECT p.partrelid AS oid, p.partrelid AS root FROM pg_catalog.pg_partitioned_table p
                 JOIN pg_catalog.pg_class c ON c.oid = p.partrelid WHERE NOT c.relispartition
                 UNION ALL
                 SELECT i.inhrelid, tree.root FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
             )
             SELECT DISTINCT tree.root FROM tree
             JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = tree.oid
             CROSS JOIN LATERAL unnest(p.partattrs::int2[], p.partcollation::oid[]) AS key(attnum, collation_oid)
             LEFT JOIN pg_catalog.pg_collation l ON l.oid = key.collation_oid
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = key.attnum
             LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
             WHERE ((p.partstrat = 'h' AND (key.attnum = 0 OR t.typtype IN ('e', 'c', 'r', 'm')
                                            OR t.typcategory IN ('A', 'C', 'E', 'R') OR NOT l.collisdeterministic))
                 OR (p.partstrat = 'r' AND key.collation_oid <> 0 AND l.collname NOT IN ('C', 'POSIX')))
               AND NOT EXISTS (SELECT FROM tree leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid
                               WHERE leaf.root = tree.root AND c.relkind = 'f')",
            &[],
        )
        .await
        .map_err(Error::query("look at the partition keys"))?
        .iter()
        .map(|row| column(row, "root"))
        .collect()
}
