//! What a database has already, by the names that an archive's table of contents uses.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::archive::{TocEntry, sanitized};
use super::error::{Error, Result};
use super::row::column;

/// Labels `schema name` (`- name` without a schema) by class of object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    labels: BTreeMap<&'static str, BTreeSet<String>>,
}

/// A class and the kinds of entries that belong to it.
const CLASSES: &[(&str, &[&str])] = &[
    ("schema", &["SCHEMA"]),
    ("extension", &["EXTENSION"]),
    (
        "relation",
        &[
            "TABLE",
            "VIEW",
            "MATERIALIZED VIEW",
            "FOREIGN TABLE",
            "SEQUENCE",
            "INDEX",
        ],
    ),
    ("type", &["TYPE", "DOMAIN", "SHELL TYPE"]),
    ("routine", &["FUNCTION", "PROCEDURE", "AGGREGATE"]),
    ("collation", &["COLLATION"]),
    ("conversion", &["CONVERSION"]),
    ("operator", &["OPERATOR"]),
    ("operator class", &["OPERATOR CLASS"]),
    ("operator family", &["OPERATOR FAMILY"]),
    ("text search configuration", &["TEXT SEARCH CONFIGURATION"]),
    ("text search dictionary", &["TEXT SEARCH DICTIONARY"]),
    ("text search parser", &["TEXT SEARCH PARSER"]),
    ("text search template", &["TEXT SEARCH TEMPLATE"]),
    ("language", &["PROCEDURAL LANGUAGE"]),
    ("access method", &["ACCESS METHOD"]),
    ("server", &["FOREIGN SERVER"]),
    ("wrapper", &["FOREIGN DATA WRAPPER"]),
];

const QUERY: &str = "
    SELECT 'schema' AS class, '-' AS schema, nspname::text AS name FROM pg_catalog.pg_namespace
    UNION ALL SELECT 'extension', '-', extname FROM pg_catalog.pg_extension
    UNION ALL SELECT 'language', '-', lanname FROM pg_catalog.pg_language
    UNION ALL SELECT 'access method', '-', amname FROM pg_catalog.pg_am
    UNION ALL SELECT 'server', '-', srvname FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 'wrapper', '-', fdwname FROM pg_catalog.pg_foreign_data_wrapper
    UNION ALL
    SELECT o.class, n.nspname, o.name FROM (
        SELECT 'relation' AS class, relnamespace AS schema, relname::text AS name FROM pg_catalog.pg_class
        UNION ALL SELECT 'type', typnamespace, typname FROM pg_catalog.pg_type
        UNION ALL SELECT 'routine', pronamespace,
                         proname || '(' || CASE WHEN prokind = 'a' AND pronargs = 0 THEN '*'
                                                ELSE pg_catalog.oidvectortypes(proargtypes) END || ')'
                  FROM pg_catalog.pg_proc
        UNION ALL SELECT 'collation', collnamespace, collname FROM pg_catalog.pg_collation
        UNION ALL SELECT 'conversion', connamespace, conname FROM pg_catalog.pg_conversion
        UNION ALL SELECT 'operator', oprnamespace, oprname FROM pg_catalog.pg_operator
        UNION ALL SELECT 'operator class', opcnamespace, opcname FROM pg_catalog.pg_opclass
        UNION ALL SELECT 'operator family', opfnamespace, opfname FROM pg_catalog.pg_opfamily
        UNION ALL SELECT 'text search configuration', cfgnamespace, cfgname FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'text search dictionary', dictnamespace, dictname FROM pg_catalog.pg_ts_dict
        UNION ALL SELECT 'text search parser', prsnamespace, prsname FROM pg_catalog.pg_ts_parser
        UNION ALL SELECT 'text search template', tmplnamespace, tmplname FROM pg_catalog.pg_ts_template
    ) o JOIN pg_catalog.pg_namespace n ON n.oid = o.schema";

impl Present {
    /// Reads the connected database.
    ///
    /// # Errors
    /// `Error::Query`.
    pub async fn read(client: &Client) -> Result<Self> {
        let rows = client
            .query(QUERY, &[])
            .await
            .map_err(Error::query("list what the target has already"))?;
        let mut present = Self::default();
        for row in &rows {
            let class: &str = column(row, "class")?;
            let (schema, name): (&str, &str) = (column(row, "schema")?, column(row, "name")?);
            present.insert(class, &format!("{schema} {name}"));
        }
        Ok(present)
    }

    /// What a database that is about to be created from `template0` will have.
    #[must_use]
    pub fn fresh() -> Self {
        let mut present = Self::default();
        present.insert("schema", "- public");
        present.insert("extension", "- plpgsql");
        present.insert("language", "- plpgsql");
        present
    }

    /// Whether the object that `entry` creates is there; `None` for entries that create no object of a name.
    #[must_use]
    pub fn has(&self, entry: &TocEntry) -> Option<bool> {
        let (class, _) = CLASSES
            .iter()
            .find(|(_, kinds)| kinds.contains(&entry.description.as_str()))?;
        let labels = self.labels.get(class);
        Some(labels.is_some_and(|labels| entry.readings().any(|reading| labels.contains(reading))))
    }

    /// Whether a relation of that name is there, indexes included.
    #[must_use]
    pub fn has_relation(&self, label: &str) -> bool {
        self.labels
            .get("relation")
            .is_some_and(|labels| labels.contains(&sanitized(label)))
    }

    fn insert(&mut self, class: &str, label: &str) {
        if let Some((class, _)) = CLASSES.iter().find(|(known, _)| *known == class) {
            self.labels.entry(class).or_default().insert(sanitized(label));
        }
    }
}
