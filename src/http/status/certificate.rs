//! The newest certificate, as far as people look at it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::repository::{DrillState, PhaseStatus};

/// Tables of a certificate that an agent keeps in mind: more than anybody looks through, and no more, since they are shown
/// to whoever can reach the port. The certificate itself has them all.
pub const KEPT_TABLES: usize = 500;

/// The same of reasons and of what was not tested.
pub const KEPT_LINES: usize = 100;

/// A certificate, as people look at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    pub backup_id: String,
    pub drill_id: String,
    pub state: DrillState,
    pub summary: String,
    /// At most [`KEPT_LINES`], and one that counts the others.
    pub reasons: Vec<String>,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// The oldest snapshot of the backup that was drilled, where its root could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_snapshot: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
    /// Summed over the databases.
    pub phases: Vec<PhaseStatus>,
    /// At most [`KEPT_TABLES`] of them; those that differ come first.
    pub tables: Vec<TableStatus>,
    /// How many there are, and how many of these differ.
    pub total_tables: u64,
    pub differing_tables: u64,
    /// At most [`KEPT_LINES`] of them.
    pub not_tested: Vec<String>,
    pub total_not_tested: u64,
    /// Objects that were overwritten or hidden, and read from older versions.
    #[serde(default)]
    pub older_versions: u64,
}

/// One table of a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableStatus {
    pub database: String,
    pub table: String,
    pub rows: u64,
    pub raw_bytes: u64,
    /// As the source held it.
    pub fingerprint: String,
    pub is_equal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}
