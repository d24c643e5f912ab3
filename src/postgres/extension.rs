//! Extensions that a server could install, and installing one in a given version.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{Extension, QualifiedName, quote_identifier, quote_literal};

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

/// The condition of every configuration table of an extension that is installed: which of its rows are the user's.
///
/// # Errors
/// `Error::Query`.
pub async fn configuration_conditions(client: &Client) -> Result<BTreeMap<QualifiedName, String>> {
    let rows = client
        .query(
            "SELECT n.nspname::text AS schema, c.relname::text AS name, coalesce(config.condition, '') AS condition
             FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS config(oid, condition)
             JOIN pg_catalog.pg_class c ON c.oid = config.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
            &[],
        )
        .await
        .map_err(Error::query("read the extensions' configuration tables"))?;
    let of_row = |row| -> Result<(QualifiedName, String)> {
        let name = QualifiedName::new(column::<String>(row, "schema")?, column::<String>(row, "name")?);
        Ok((name, column(row, "condition")?))
    };
    rows.iter().map(of_row).collect()
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
