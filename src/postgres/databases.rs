//! The databases of a cluster and what `pg_dump` without `--create` leaves out of one.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{DatabaseProperties, Extension, RoleSetting};

/// Effective privileges as sorted `grantee=PRIVILEGE[*]/grantor` texts, of an `aclitem[]` expression that is not null.
pub(crate) fn acl_texts(acl: &str) -> String {
    format!(
        "ARRAY(SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
                      || '=' || a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END
                      || '/' || pg_catalog.pg_get_userbyid(a.grantor)::text
               FROM pg_catalog.aclexplode({acl}) a ORDER BY 1)"
    )
}

/// Databases that take connections and are not templates, by name.
///
/// # Errors
/// `Error::Query`.
pub async fn list_databases(client: &Client) -> Result<Vec<String>> {
    client
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datallowconn AND NOT datistemplate ORDER BY datname COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("list the databases"))?
        .iter()
        .map(|row| column(row, "datname"))
        .collect()
}

/// Databases that hold or may hold data: all but `template0` and `template1`, whether they take connections or not.
///
/// # Errors
/// `Error::Query`.
pub async fn list_all_databases(client: &Client) -> Result<Vec<String>> {
    client
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datname NOT IN ('template0', 'template1') ORDER BY datname COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("list all databases"))?
        .iter()
        .map(|row| column(row, "datname"))
        .collect()
}

/// The current database's own properties.
///
/// # Errors
/// `Error::Query`.
pub async fn read_database_properties(client: &Client) -> Result<DatabaseProperties> {
    let major = super::server::read_server(client).await?.major();
    let (icu_locale, provider, collation_version) = match major {
        ..15 => ("NULL::text", "'c'", "NULL::text"),
        15 | 16 => ("d.daticulocale", "d.datlocprovider", "d.datcollversion"),
        _ => ("d.datlocale", "d.datlocprovider", "d.datcollversion"),
    };
    let acl = acl_texts("coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))");
    let query = format!(
        "SELECT d.datname::text AS name, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
                pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
                d.datcollate::text AS collate, d.datctype::text AS ctype, {provider}::text AS provider,
                {icu_locale}::text AS icu_locale, {collation_version}::text AS collation_version,
                d.datconnlimit AS connection_limit, {acl} AS acl,
                pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
    );
    let row = client
        .query_one(&query, &[])
        .await
        .map_err(Error::query("read the database's properties"))?;
    Ok(DatabaseProperties {
        name: column(&row, "name")?,
        owner: column(&row, "owner")?,
        encoding: column(&row, "encoding")?,
        collate: column(&row, "collate")?,
        ctype: column(&row, "ctype")?,
        locale_provider: match column::<&str>(&row, "provider")? {
            "c" => "libc".to_owned(),
            "i" => "icu".to_owned(),
            "b" => "builtin".to_owned(),
            other => other.to_owned(),
        },
        icu_locale: column(&row, "icu_locale")?,
        collation_version: column(&row, "collation_version")?,
        connection_limit: column(&row, "connection_limit")?,
        acl: column(&row, "acl")?,
        comment: column(&row, "comment")?,
        settings: read_settings(client).await?,
    })
}

/// `ALTER DATABASE ... SET` and `ALTER ROLE ... IN DATABASE ... SET` of the current database. A throw-away target's own
/// marker (`kubebackup.*`) is no property of the data and is left out.
async fn read_settings(client: &Client) -> Result<Vec<RoleSetting>> {
    client
        .query(
            "SELECT CASE WHEN s.setrole <> 0 THEN pg_catalog.pg_get_userbyid(s.setrole)::text END AS role, setting
             FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS setting
             WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
               AND setting NOT LIKE 'kubebackup.%'
             ORDER BY 1 NULLS FIRST, 2",
            &[],
        )
        .await
        .map_err(Error::query("read the database's settings"))?
        .iter()
        .map(|row| Ok(RoleSetting { role: column(row, "role")?, setting: column(row, "setting")? }))
        .collect()
}

/// Installed extensions, by name.
///
/// # Errors
/// `Error::Query`.
pub async fn read_extensions(client: &Client) -> Result<Vec<Extension>> {
    client
        .query(
            "SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema
             FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
             ORDER BY e.extname COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("list the extensions"))?
        .iter()
        .map(|row| {
            Ok(Extension {
                name: column(row, "name")?,
                version: column(row, "version")?,
                schema: column(row, "schema")?,
            })
        })
        .collect()
}
