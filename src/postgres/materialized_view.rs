//! Materialized views in the order in which they can be refreshed.
//!
//! Their contents are not stored: they are computed again from the restored tables. A view that reads a foreign table,
//! directly or through other views, is named and never refreshed, because a restore contacts nothing outside.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{MaterializedView, QualifiedName};

/// Every materialized view outside extensions, each after those it reads.
///
/// # Errors
/// `Error::Query`.
pub async fn read_materialized_views(client: &Client) -> Result<Vec<MaterializedView>> {
    let graph = read_graph(client).await?;
    let mut views = Vec::new();
    for &oid in &graph.order() {
        let Some(relation) = graph.relations.get(&oid).filter(|relation| relation.is_materialized) else {
            continue;
        };
        views.push(MaterializedView {
            name: relation.name.clone(),
            populated: relation.populated,
            reads_foreign: graph.reads_foreign(oid, &mut HashSet::new()),
            refresh_order: u32::try_from(views.len()).unwrap_or(u32::MAX),
        });
    }
    Ok(views)
}

struct Node {
    name: QualifiedName,
    is_materialized: bool,
    is_foreign: bool,
    populated: bool,
}

/// Views, materialized views and foreign tables, and who reads whom by `pg_rewrite`'s dependencies.
struct Graph {
    relations: HashMap<u32, Node>,
    reads: HashMap<u32, Vec<u32>>,
}

impl Graph {
    /// Depth first over names in order, so that the same catalogue always gives the same order.
    fn order(&self) -> Vec<u32> {
        let mut roots: Vec<(&QualifiedName, u32)> =
            self.relations.iter().map(|(&oid, node)| (&node.name, oid)).collect();
        roots.sort();
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for (_, oid) in roots {
            self.visit(oid, &mut seen, &mut order);
        }
        order
    }

    fn visit(&self, oid: u32, seen: &mut HashSet<u32>, order: &mut Vec<u32>) {
        if !seen.insert(oid) {
            return;
        }
        for &read in self.reads.get(&oid).into_iter().flatten() {
            self.visit(read, seen, order);
        }
        order.push(oid);
    }

    fn reads_foreign(&self, oid: u32, seen: &mut HashSet<u32>) -> bool {
        seen.insert(oid)
            && (self.relations.get(&oid).is_some_and(|node| node.is_foreign)
                || self
                    .reads
                    .get(&oid)
                    .into_iter()
                    .flatten()
                    .any(|&read| self.reads_foreign(read, seen)))
    }
}

async fn read_graph(client: &Client) -> Result<Graph> {
    let nodes = client
        .query(
            "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
                    c.relispopulated AS populated
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid >= 16384 AND c.relpersistence <> 't'
               AND (c.relkind IN ('v', 'm', 'f') OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
                    JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid WHERE i.inhparent = c.oid AND f.relkind IN ('f', 'p')))
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')",
            &[],
        )
        .await
        .map_err(Error::query("list the materialized views"))?;
    // A query names what it reads in its rule's dependencies; a parent reads its children, however deep.
    let edges = client
        .query(
            "SELECT DISTINCT r.ev_class AS reader, d.refobjid AS read
             FROM pg_catalog.pg_rewrite r
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
             WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
               AND r.ev_class >= 16384
             UNION
             SELECT inhparent, inhrelid FROM pg_catalog.pg_inherits
             ORDER BY 1, 2",
            &[],
        )
        .await
        .map_err(Error::query("read what the materialized views depend on"))?;
    let mut graph = Graph {
        relations: HashMap::new(),
        reads: HashMap::new(),
    };
    for row in &nodes {
        let kind: &str = column(row, "kind")?;
        graph.relations.insert(
            column(row, "oid")?,
            Node {
                name: QualifiedName::new(column::<String>(row, "schema")?, column::<String>(row, "name")?),
                is_materialized: kind == "m",
                is_foreign: kind == "f",
                populated: column(row, "populated")?,
            },
        );
    }
    for row in &edges {
        graph
            .reads
            .entry(column(row, "reader")?)
            .or_default()
            .push(column(row, "read")?);
    }
    Ok(graph)
}
