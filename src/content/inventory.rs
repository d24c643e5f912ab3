//! The catalogue seen as lists: every relation accounted for, every object named with owner and privileges.

use serde::{Deserialize, Serialize};

use super::QualifiedName;

/// One user object as `pg_identify_object` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CatalogueObject {
    /// Object class in PostgreSQL's words: `table`, `function`, `default acl`, ...
    #[serde(rename = "type")]
    pub object_type: String,
    /// The identity text of `pg_identify_object`; never an OID.
    pub identity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Effective privileges, `aclexplode(coalesce(acl, acldefault(...)))`, as sorted `grantee=privilege[*]/grantor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acl: Vec<String>,
}

/// What became of one relation. Every relation has exactly one state; one without is a hole and fails the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    /// Its rows are stored.
    Dumped,
    /// Holds rows of its own never (partitioned table, view) or is rebuilt (index, materialized view, sequence value).
    Structure,
    /// Excluded by a rule of the settings.
    Excluded,
    /// Unlogged, and not asked for.
    Unlogged,
    /// Foreign table: its rows live elsewhere.
    Foreign,
    /// A temporary table of another session, which nobody else can read.
    Temporary,
    /// Belongs to an extension, which brings it back; configuration rows are stored separately.
    Extension,
    /// Could not be read. Never certifies.
    Denied,
}

/// One line of the coverage ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    #[serde(flatten)]
    pub name: QualifiedName,
    /// `pg_class.relkind` in words: `table`, `partitioned table`, `view`, `materialized view`, `foreign table`, ...
    pub kind: String,
    pub state: LedgerState,
    /// The rule or condition behind the state, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
