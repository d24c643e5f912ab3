//! A database's own properties and those of its objects that are neither tables nor definitions.

use serde::{Deserialize, Serialize};

use super::{QualifiedName, RoleSetting};

/// What `CREATE DATABASE` needs to make the like of it, and what only `pg_dump --create` would bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    pub name: String,
    pub owner: String,
    /// Server encoding, for example `UTF8`, `LATIN1`, `SQL_ASCII`.
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `libc` or `icu`.
    pub locale_provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_locale: Option<String>,
    /// The collation library's version at the source, when it knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    pub connection_limit: i32,
    /// Effective privileges, as in `CatalogueObject::acl`.
    #[serde(default)]
    pub acl: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `ALTER DATABASE ... SET` and `ALTER ROLE ... IN DATABASE ... SET`.
    #[serde(default)]
    pub settings: Vec<RoleSetting>,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extension {
    pub name: String,
    pub version: String,
    pub schema: String,
}

/// A sequence's state, read after the snapshot was taken (sequences are not transactional).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    #[serde(flatten)]
    pub name: QualifiedName,
    pub last_value: i64,
    pub is_called: bool,
}

/// One large object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObject {
    pub oid: u32,
    pub owner: String,
    /// Effective privileges, as in `CatalogueObject::acl`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acl: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Offset of the last byte plus one.
    pub bytes: u64,
}

/// A materialized view: rebuilt, not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializedView {
    #[serde(flatten)]
    pub name: QualifiedName,
    pub populated: bool,
    /// Reads a foreign table, directly or through views: named, never refreshed.
    pub reads_foreign: bool,
    /// Position in an order in which every view comes after those it reads.
    pub refresh_order: u32,
}
