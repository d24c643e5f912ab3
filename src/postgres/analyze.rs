//! Statistics for a restored database, without asking any other server for a sample.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::QualifiedName;

/// `ANALYZE` of these tables, or of the whole database when there are none.
///
/// A table with foreign tables below it, as partitions or heirs, is left out: to sample them the server would go and ask
/// other servers, and a restore contacts nothing outside.
///
/// # Errors
/// The server's.
pub async fn analyze(client: &Client, tables: &[&QualifiedName]) -> Result<()> {
    let above_foreign = read_tables_above_foreign(client).await?;
    let all;
    let tables: Vec<&QualifiedName> = if !tables.is_empty() {
        tables.to_vec()
    } else if above_foreign.is_empty() {
        return analyze_one(client, "ANALYZE").await;
    } else {
        all = read_analyzable(client).await?;
        all.iter().collect()
    };
    for table in tables.into_iter().filter(|table| !above_foreign.contains(table)) {
        analyze_one(client, &format!("ANALYZE {table}")).await?;
    }
    Ok(())
}

async fn analyze_one(client: &Client, statement: &str) -> Result<()> {
    client.batch_execute(statement).await.map_err(Error::query("analyze"))
}

/// Tables that a foreign table inherits from, at any distance.
async fn read_tables_above_foreign(client: &Client) -> Result<Vec<QualifiedName>> {
    read_names(
        client,
        "WITH RECURSIVE above AS (
             SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'f'
             UNION
             SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid
         )
         SELECT n.nspname::text AS schema, c.relname::text AS name
         FROM above JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
    )
    .await
}

/// What `ANALYZE` without names would take, but for the system's own.
async fn read_analyzable(client: &Client) -> Result<Vec<QualifiedName>> {
    read_names(
        client,
        "SELECT n.nspname::text AS schema, c.relname::text AS name
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' ORDER BY 1, 2",
    )
    .await
}

async fn read_names(client: &Client, query: &str) -> Result<Vec<QualifiedName>> {
    let rows = client
        .query(query, &[])
        .await
        .map_err(Error::query("choose what to analyze"))?;
    let name = |row| -> Result<QualifiedName> {
        Ok(QualifiedName::new(
            column::<String>(row, "schema")?,
            column::<String>(row, "name")?,
        ))
    };
    rows.iter().map(name).collect()
}
