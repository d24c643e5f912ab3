//! Extensions that a server could install, and installing one in a given version.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{Extension, quote_identifier, quote_literal};

/// What the server's machine has of one extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Available {
    pub versions: BTreeSet<String>,
    /// What `CREATE EXTENSION` installs when it is not told.
    pub default_version: String,
}

/// Extensions that can be installed, by name.
///
/// # Errors
/// `Error::Query`.
pub async fn available_extensions(client: &Client) -> Result<BTreeMap<String, Available>> {
    let rows = client
        .query(
            "SELECT v.name::text AS name, v.version, coalesce(e.default_version, '') AS default_version
             FROM pg_catalog.pg_available_extension_versions v
             JOIN pg_catalog.pg_available_extensions e ON e.name = v.name",
            &[],
        )
        .await
        .map_err(Error::query("list the extensions that can be installed"))?;
    let mut available: BTreeMap<String, Available> = BTreeMap::new();
    for row in &rows {
        let extension = available.entry(column(row, "name")?).or_default();
        extension.versions.insert(column(row, "version")?);
        extension.default_version = column(row, "default_version")?;
    }
    Ok(available)
}

/// `CREATE EXTENSION` in its schema, in the version it had if `has_version`, else in the server's default.
///
/// # Errors
/// The server's.
pub async fn create_extension(client: &Client, extension: &Extension, has_version: bool) -> Result<()> {
    let mut statement = format!(
        "CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}",
        quote_identifier(&extension.name),
        quote_identifier(&extension.schema)
    );
    if has_version {
        statement.push_str(" VERSION ");
        statement.push_str(&quote_literal(&extension.version));
    }
    client
        .batch_execute(&statement)
        .await
        .map_err(Error::query(format!("create extension {}", extension.name)))
}
