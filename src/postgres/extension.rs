//! Extensions that a server could install.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;

/// Versions that the server's machine has, by extension.
///
/// # Errors
/// `Error::Query`.
pub async fn available_versions(client: &Client) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let rows = client
        .query(
            "SELECT name::text AS name, version FROM pg_catalog.pg_available_extension_versions",
            &[],
        )
        .await
        .map_err(Error::query("list the extensions that can be installed"))?;
    let mut available: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        available
            .entry(column(row, "name")?)
            .or_default()
            .insert(column(row, "version")?);
    }
    Ok(available)
}
