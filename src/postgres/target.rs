//! A database as a place to restore into: what it is, who is on it, and how to make, mark, rename and drop it.
//!
//! Columns that differ between majors are read through `to_jsonb`, so that one statement serves all of them.

use std::fmt::Write as _;

use tokio_postgres::Client;

use super::error::{Error, Result};
use crate::content::{DatabaseProperties, quote_identifier, quote_literal};

/// The database setting by which its owner says that it may be destroyed; its value is a repository's id.
pub const MARKER: &str = "kubebackup.disposable";

/// What `pg_database` and its settings say about one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFacts {
    pub oid: u32,
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    pub icu_locale: Option<String>,
    pub connection_limit: i32,
    /// Value of [`MARKER`] set on the database for all roles.
    pub marker: Option<String>,
}

impl DatabaseFacts {
    /// Whether it was created with the encoding and locale that `properties` asks for.
    #[must_use]
    pub fn has_locale_of(&self, properties: &DatabaseProperties) -> bool {
        self.encoding == properties.encoding
            && locale_key(&self.collate) == locale_key(&properties.collate)
            && locale_key(&self.ctype) == locale_key(&properties.ctype)
            && self.locale_provider == properties.locale_provider
            && self.icu_locale == properties.icu_locale
    }
}

/// Another session on a database, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSession {
    pub pid: i32,
    pub user: String,
    pub application: String,
}

/// The database called `name`, if there is one.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn read_database(client: &Client, name: &str) -> Result<Option<DatabaseFacts>> {
    let row = client
        .query_opt(
            "SELECT d.oid, pg_catalog.pg_get_userbyid(d.datdba)::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
                    d.datcollate::text, d.datctype::text,
                    CASE coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c')
                        WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
                    coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),
                    d.datconnlimit,
                    (SELECT pg_catalog.substr(c, pg_catalog.length($2) + 2)
                     FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
                     WHERE s.setdatabase = d.oid AND s.setrole = 0 AND pg_catalog.starts_with(c, $2 || '='))
             FROM pg_catalog.pg_database d WHERE d.datname = $1",
            &[&name, &MARKER],
        )
        .await
        .map_err(Error::query(format!("look for database {}", quote_identifier(name))))?;
    Ok(row.map(|row| DatabaseFacts {
        oid: row.get(0),
        owner: row.get(1),
        encoding: row.get(2),
        collate: row.get(3),
        ctype: row.get(4),
        locale_provider: row.get(5),
        icu_locale: row.get(6),
        connection_limit: row.get(7),
        marker: row.get(8),
    }))
}

/// Sessions on database `name` other than this one. Workers of the server itself (autovacuum, a subscription's) are not
/// counted: they end with what they work for.
///
/// # Errors
/// When the activity cannot be read.
pub async fn other_sessions(client: &Client, name: &str) -> Result<Vec<OtherSession>> {
    let rows = client
        .query(
            "SELECT pid, coalesce(usename::text, ''), coalesce(application_name, '') FROM pg_catalog.pg_stat_activity
             WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()
               AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender')
             ORDER BY pid",
            &[&name],
        )
        .await
        .map_err(Error::query("list the sessions on the target database"))?;
    Ok(rows
        .iter()
        .map(|row| OtherSession {
            pid: row.get(0),
            user: row.get(1),
            application: row.get(2),
        })
        .collect())
}

/// Names of the prepared transactions in database `name`. They hold locks without a session, across restarts even.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn prepared_transactions(client: &Client, name: &str) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY gid",
            &[&name],
        )
        .await
        .map_err(Error::query("list the prepared transactions of the target database"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// At most `limit` objects of a user's in the connected database, described for people; none in a fresh one.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn user_objects(client: &Client, limit: i64) -> Result<Vec<String>> {
    let catalogues = [
        "pg_class",
        "pg_proc",
        "pg_type",
        "pg_namespace",
        "pg_extension",
        "pg_operator",
        "pg_collation",
        "pg_cast",
        "pg_language",
        "pg_am",
        "pg_ts_config",
        "pg_ts_dict",
        "pg_event_trigger",
        "pg_publication",
        "pg_foreign_data_wrapper",
        "pg_default_acl",
    ];
    let mut query = String::from(
        "SELECT pg_catalog.pg_describe_object(classid, oid, 0) FROM (
             SELECT 'pg_catalog.pg_largeobject'::pg_catalog.regclass AS classid, oid
             FROM pg_catalog.pg_largeobject_metadata",
    );
    for catalogue in catalogues {
        let _ = write!(
            query,
            " UNION ALL SELECT 'pg_catalog.{catalogue}'::pg_catalog.regclass, oid FROM pg_catalog.{catalogue}
              WHERE oid >= 16384"
        );
        // Left by sessions that once had temporary tables, whose own leftovers are nobody's data.
        query.push_str(match catalogue {
            "pg_namespace" => " AND nspname !~ '^pg_(toast_)?temp_'",
            "pg_class" => " AND relpersistence <> 't' AND relkind NOT IN ('i', 'I', 't')",
            "pg_type" => " AND typelem = 0 AND typrelid = 0",
            _ => "",
        });
    }
    query.push_str(") o WHERE pg_catalog.pg_describe_object(classid, oid, 0) IS NOT NULL LIMIT $1");
    let rows = client
        .query(&query, &[&limit])
        .await
        .map_err(Error::query("look for objects in the target database"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tries to take the advisory lock on a target's name in the connected (maintenance) database, for the session's life.
///
/// # Errors
/// When the server cannot be asked; a lock held by another is `Ok(false)`.
pub async fn try_lock_target(client: &Client, name: &str) -> Result<bool> {
    client
        .query_one(
            "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('kubebackup target ' || $1, 0))",
            &[&name],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("lock the target's name"))
}

/// Whether any session holds that lock.
///
/// # Errors
/// When the server cannot be asked.
pub async fn is_target_locked(client: &Client, name: &str) -> Result<bool> {
    // A key of 64 bits stands in the view as two halves.
    client
        .query_one(
            "SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_locks
             WHERE locktype = 'advisory' AND objsubid = 1 AND granted
               AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
               AND (classid::bigint << 32) | objid::bigint
                   = pg_catalog.hashtextextended('kubebackup target ' || $1, 0)",
            &[&name],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("see who holds the target"))
}

/// `CREATE DATABASE` from `template0` with the encoding and locale of `properties`.
///
/// # Errors
/// The server's, among them an unknown locale ([`is_missing_locale`]).
pub async fn create_database(client: &Client, name: &str, properties: &DatabaseProperties, major: u32) -> Result<()> {
    let statement = create_statement(name, properties, major);
    client
        .batch_execute(&statement)
        .await
        .map_err(Error::query(format!("create database {}", quote_identifier(name))))
}

/// Whether `CREATE DATABASE` failed because the server's machine has no such locale or cannot use it.
#[must_use]
pub fn is_missing_locale(error: &Error) -> bool {
    use tokio_postgres::error::SqlState;
    let state = error.sqlstate();
    state == Some(&SqlState::WRONG_OBJECT_TYPE)
        || state == Some(&SqlState::INVALID_PARAMETER_VALUE)
        || state == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        || state == Some(&SqlState::INVALID_OBJECT_DEFINITION)
        // ICU's refusal has no SQLSTATE of its own; the word is the same in most languages.
        || (state == Some(&SqlState::INTERNAL_ERROR)
            && error.server_message().is_some_and(|message| message.to_lowercase().contains("collat")))
}

/// With the sessions that are on it: a monitor that visits every database comes to those, too, that are made for a moment.
///
/// # Errors
/// The server's, above all when a session is on the database that this role may not end.
pub async fn drop_database(client: &Client, name: &str) -> Result<()> {
    run(
        client,
        "drop",
        name,
        &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(name)),
    )
    .await
}

/// Lets database `new` take the name of database `name`, which is called `old` then: both or neither.
///
/// # Errors
/// The server's, above all when a session is on one of them.
pub async fn replace_database(client: &Client, name: &str, new: &str, old: &str) -> Result<()> {
    let (quoted, new, old) = (quote_identifier(name), quote_identifier(new), quote_identifier(old));
    let statements =
        format!("BEGIN; ALTER DATABASE {quoted} RENAME TO {old}; ALTER DATABASE {new} RENAME TO {quoted}; COMMIT");
    let replaced = run(client, "replace", name, &statements).await;
    if replaced.is_err() {
        // A refused statement leaves the session in its transaction.
        run(client, "keep", name, "ROLLBACK").await?;
    }
    replaced
}

/// Marks a database as disposable for the repository called `repository`.
///
/// # Errors
/// The server's.
pub async fn mark_database(client: &Client, name: &str, repository: &str) -> Result<()> {
    run(client, "mark", name, &mark_statement(name, repository)).await
}

/// Databases whose names begin so and that carry the marker of `repository`.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn list_marked(client: &Client, beginning: &str, repository: &str) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT d.datname::text FROM pg_catalog.pg_database d
             JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
             WHERE pg_catalog.starts_with(d.datname::text, $1) AND $2 || '=' || $3 = ANY (s.setconfig)
             ORDER BY d.datname",
            &[&beginning, &MARKER, &repository],
        )
        .await
        .map_err(Error::query("look for databases of an earlier wipe"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The statement by which a database's owner marks it.
#[must_use]
pub fn mark_statement(name: &str, repository: &str) -> String {
    format!(
        "ALTER DATABASE {} SET {MARKER} = {}",
        quote_identifier(name),
        quote_literal(repository)
    )
}

async fn run(client: &Client, verb: &str, name: &str, statement: &str) -> Result<()> {
    client
        .batch_execute(statement)
        .await
        .map_err(Error::query(format!("{verb} database {}", quote_identifier(name))))
}

fn create_statement(name: &str, properties: &DatabaseProperties, major: u32) -> String {
    let mut statement = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quote_identifier(name),
        quote_literal(&properties.encoding),
        quote_literal(&properties.collate),
        quote_literal(&properties.ctype)
    );
    if major >= 15 {
        statement.push_str(" LOCALE_PROVIDER ");
        statement.push_str(&quote_literal(&properties.locale_provider));
        if let Some(locale) = &properties.icu_locale {
            let option = if properties.locale_provider == "builtin" {
                "BUILTIN_LOCALE"
            } else {
                "ICU_LOCALE"
            };
            let _ = write!(statement, " {option} {}", quote_literal(locale));
        }
    }
    statement
}

/// `en_US.UTF-8` and `en_US.utf8` are one locale.
fn locale_key(locale: &str) -> String {
    locale.to_ascii_lowercase().replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> DatabaseProperties {
        DatabaseProperties {
            name: "shop".to_owned(),
            owner: "owner".to_owned(),
            encoding: "UTF8".to_owned(),
            collate: "en_US.UTF-8".to_owned(),
            ctype: "en_US.UTF-8".to_owned(),
            locale_provider: "libc".to_owned(),
            icu_locale: None,
            collation_version: None,
            connection_limit: -1,
            acl: Vec::new(),
            comment: None,
            settings: Vec::new(),
        }
    }

    #[test]
    fn a_database_is_created_with_the_locale_of_its_source() {
        assert_eq!(
            create_statement("sh\"op", &properties(), 14),
            "CREATE DATABASE \"sh\"\"op\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'en_US.UTF-8' LC_CTYPE \
             'en_US.UTF-8'"
        );
        let icu = DatabaseProperties {
            locale_provider: "icu".to_owned(),
            icu_locale: Some("de".to_owned()),
            ..properties()
        };
        assert!(create_statement("x", &icu, 15).ends_with("LOCALE_PROVIDER 'icu' ICU_LOCALE 'de'"));
    }

    #[test]
    fn the_spelling_of_a_codeset_makes_no_other_locale() {
        let facts = DatabaseFacts {
            oid: 1,
            owner: String::new(),
            encoding: "UTF8".to_owned(),
            collate: "en_US.utf8".to_owned(),
            ctype: "en_US.utf8".to_owned(),
            locale_provider: "libc".to_owned(),
            icu_locale: None,
            connection_limit: -1,
            marker: None,
        };
        assert!(facts.has_locale_of(&properties()));
        let other = DatabaseProperties {
            collate: "C".to_owned(),
            ..properties()
        };
        assert!(!facts.has_locale_of(&other));
    }
}
