//! Drift: what a new backup no longer holds of what an earlier, trusted one held, and whether that keeps anything from
//! being deleted.
//!
//! The usual way in which backups are really lost is a bad state of production that is backed up faithfully until the good
//! copies have aged out. So each backup is compared with a baseline before its root is written, and the root says what
//! was found: no crash lies between a backup and its alarm, and no later certificate takes it back. The backup is
//! published as it is. Deletion is frozen until a person has accepted what was found.

mod accept;
mod baseline;
mod compare;
mod frozen;
#[cfg(test)]
mod tests;
mod text;

use serde::{Deserialize, Serialize};

use super::id::{BackupId, Sha256Digest};
use super::manifest::Table;
use crate::content::RowTally;

pub use accept::DriftAcceptance;
pub use baseline::Current;
pub use compare::DriftRules;
pub use frozen::{DriftRecord, DriftState, Frozen, frozen};

/// Findings that a root lists; `total` counts them all. A root must stay small.
pub const MAX_FINDINGS: usize = 32;

/// How a backup compares with its baseline, as its root says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    pub outcome: DriftOutcome,
    /// What it was compared with, or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Newer trusted ones that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<BackupId>,
    /// Why it was not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many findings there are.
    pub total: u64,
    /// The gravest of them, at most [`MAX_FINDINGS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<DriftFinding>,
}

/// Whether there is a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftOutcome {
    Compared,
    /// No earlier backup of the cluster can be trusted: mostly, this is the first one.
    NoBaseline,
    /// There should have been a comparison. Counts as a finding until a later backup was compared.
    NotCompared,
    /// Of a later version of this program. Nothing that it may mean is taken for harmless.
    #[serde(other)]
    Unknown,
}

/// The backup that a new one is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    pub backup_id: BackupId,
    pub manifest_sha256: Sha256Digest,
    /// Whether a drill had certified it by then.
    pub certified: bool,
}

/// Something that the baseline held and the new backup does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftFinding {
    pub kind: DriftKind,
    pub database: String,
    /// The table, schema or, of lost objects, their type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In the baseline: rows, bytes of COPY text and compressed, or how many objects.
    pub before: Amount,
    pub after: Amount,
    /// Of what is still in the database although its rows are not in the backup: how the ledger calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Some of the lost objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// What kind of finding it is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It is a backup of another server under the same name.
    ServerChanged,
    DatabaseLost,
    TableLost,
    /// Of one table, too large a share of the rows or bytes.
    TableFell,
    /// The same of a schema's tables together that are no finding by themselves, or all of its tables are empty now.
    SchemaFell,
    LargeObjectsFell,
    /// The rows of a table take much more room compressed than they did, as if they had been encrypted in place.
    CompressionFell,
    /// Objects of one type, by name.
    ObjectsLost,
    /// Of a later version of this program.
    #[serde(other)]
    Unknown,
}

/// How much there is of something. What does not apply is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub raw_bytes: u64,
    /// Of a table's rows, compressed; 0 also where its backup does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stored_bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub objects: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.raw_bytes = self.raw_bytes.saturating_add(other.raw_bytes);
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.objects = self.objects.saturating_add(other.objects);
    }
}

impl From<RowTally> for Amount {
    fn from(tally: RowTally) -> Self {
        Self {
            rows: tally.rows,
            raw_bytes: tally.raw_bytes,
            ..Self::default()
        }
    }
}

impl From<&Table> for Amount {
    fn from(table: &Table) -> Self {
        Self {
            stored_bytes: table.stored_bytes.unwrap_or(0),
            ..table.tally.into()
        }
    }
}

impl Drift {
    /// Nothing to compare with.
    #[must_use]
    pub fn without_baseline() -> Self {
        Self {
            outcome: DriftOutcome::NoBaseline,
            baseline: None,
            passed_over: Vec::new(),
            reason: None,
            total: 0,
            findings: Vec::new(),
        }
    }

    /// A comparison that should have been.
    #[must_use]
    pub fn not_compared(reason: impl Into<String>) -> Self {
        Self {
            outcome: DriftOutcome::NotCompared,
            reason: Some(reason.into()),
            ..Self::without_baseline()
        }
    }

    /// Whether a person has to look: something is missing, or nobody knows.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.total > 0 || matches!(self.outcome, DriftOutcome::NotCompared | DriftOutcome::Unknown)
    }
}
