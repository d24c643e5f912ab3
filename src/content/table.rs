//! One table whose rows are stored.

use serde::{Deserialize, Serialize};

use super::{Fingerprint, QualifiedName};

/// Whose rows are copied under this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableSource {
    /// The whole table itself, without inheritance children.
    Table,
    /// A configuration table of an extension, only the rows of its own condition (`WHERE ...`, may be empty).
    ExtensionConfiguration { extension: String, condition: String },
}

/// How to copy one table out of and into a database of any layout: columns by name in the source's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescription {
    #[serde(flatten)]
    pub name: QualifiedName,
    pub source: TableSource,
    /// Stored columns in the source's order, generated ones left out. Empty: the table has none, COPY takes no list.
    pub columns: Vec<String>,
    /// Generated columns, which are not copied but compared by an aggregate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generated_columns: Vec<String>,
    /// The root of the partition tree when rows must be loaded through it, because the leaf that a row belongs to may
    /// differ on the target (hash of an enum, order of another collation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_through: Option<QualifiedName>,
}

/// The aggregate over generated columns, taken by the same SQL on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedColumns {
    /// Rows of the generated columns' COPY text, hashed and summed like any other.
    pub fingerprint: Fingerprint,
}
