//! What is there but does not work: invalid indexes, constraints not validated, enforcement switched off.
//!
//! Definitions alone do not show these. A faithful restore may have some (a constraint that is `NOT VALID` at the source,
//! an index of a partitioned table without its partitions' indexes), so they are compared with a scratch database's.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::QualifiedName;

/// Names every such object, for example `index app.i is invalid`.
///
/// # Errors
/// `Error::Query`.
pub async fn read_invalid_objects(client: &Client) -> Result<BTreeSet<String>> {
    let rows = client
        .query(
            "SELECT 'index ' || i.identity || ' is invalid' AS name
             FROM pg_catalog.pg_index x
             CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, x.indexrelid, 0) i
             WHERE NOT (x.indisvalid AND x.indisready AND x.indislive) AND i.schema !~ '^pg_(temp|toast)'
             UNION ALL
             SELECT 'constraint ' || i.identity || ' is not validated'
             FROM pg_catalog.pg_constraint c
             CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_constraint'::regclass, c.oid, 0) i
             WHERE NOT c.convalidated AND c.conparentid = 0
             UNION ALL
             SELECT DISTINCT 'foreign keys of ' || i.identity || ' are switched off'
             FROM pg_catalog.pg_trigger t
             CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, t.tgrelid, 0) i
             WHERE t.tgisinternal AND t.tgconstraint <> 0 AND t.tgenabled <> 'O' AND t.tgparentid = 0",
            &[],
        )
        .await
        .map_err(Error::query("look for invalid indexes and constraints"))?;
    rows.iter().map(|row| column(row, "name")).collect()
}

/// Foreign keys (or other constraints) in force and valid indexes of user tables, for the figures of a check.
///
/// # Errors
/// `Error::Query`.
pub async fn count_valid_objects(client: &Client) -> Result<(i64, i64)> {
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
                     WHERE x.indisvalid AND x.indexrelid >= 16384 AND t.relkind <> 't') AS indexes,
                    (SELECT count(*) FROM pg_catalog.pg_constraint WHERE convalidated AND oid >= 16384) AS constraints",
            &[],
        )
        .await
        .map_err(Error::query("count indexes and constraints"))?;
    Ok((column(&row, "indexes")?, column(&row, "constraints")?))
}

/// Indexes whose structure amcheck found broken, each with its words; none when the extension is not installed.
///
/// # Errors
/// `Error::Query` when the check itself cannot run.
pub async fn amcheck_indexes(client: &Client) -> Result<Option<(usize, Vec<(QualifiedName, String)>)>> {
    let doing = "run amcheck";
    let installed = client
        .query_opt(
            "SELECT n.nspname::text AS schema FROM pg_catalog.pg_extension e
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'",
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let Some(extension) = installed else { return Ok(None) };
    let check = QualifiedName::new(column::<String>(&extension, "schema")?, "bt_index_check");
    let indexes = client
        .query(
            "SELECT x.indexrelid::oid AS oid, n.nspname::text AS schema, c.relname::text AS name
             FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
             JOIN pg_catalog.pg_am m ON m.oid = c.relam JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE m.amname = 'btree' AND c.relkind = 'i' AND x.indisvalid AND x.indexrelid >= 16384
               AND c.relpersistence = 'p' AND n.nspname !~ '^pg_(temp|toast)'
             ORDER BY 2, 3",
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let mut broken = Vec::new();
    for row in &indexes {
        let oid: u32 = column(row, "oid")?;
        // Heap all indexed: every row of the table must be found in the index.
        let outcome = client
            .query(&format!("SELECT {check}({oid}::oid::regclass, true)"), &[])
            .await
            .map_err(Error::query(doing));
        if let Err(error) = outcome {
            // The server's message names pages and items; its detail could hold values and is left out.
            let Some(message) = error.server_message() else {
                return Err(error);
            };
            let name = QualifiedName::new(column::<String>(row, "schema")?, column::<String>(row, "name")?);
            broken.push((name, message));
        }
    }
    Ok(Some((indexes.len(), broken)))
}
