//! The demo's production database: a shop of some 30 kinds of tables and 200,000 rows, the same ones every time.

use anyhow::Result;

use super::Cluster;

const DEFINITIONS: &str = include_str!("shop/definitions.sql");
const ROWS: &str = include_str!("shop/rows.sql");
const CHANGES: &str = include_str!("shop/changes.sql");

/// Creates the database `name` on `cluster` and fills it; takes a few seconds.
///
/// # Errors
/// `psql`'s own message.
pub fn create(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.sql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
    fill(cluster, name)
}

/// Fills an empty database of the cluster.
///
/// # Errors
/// `psql`'s own message.
pub fn fill(cluster: &Cluster, database: &str) -> Result<()> {
    cluster.sql(database, DEFINITIONS)?;
    cluster.sql(database, ROWS)?;
    Ok(())
}

/// A day's business: changes a few per cent of the rows.
///
/// # Errors
/// `psql`'s own message.
pub fn change(cluster: &Cluster, database: &str) -> Result<()> {
    cluster.sql(database, CHANGES)?;
    Ok(())
}
