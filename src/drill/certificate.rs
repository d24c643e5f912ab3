//! A drill's evidence, as it lies beside its backup in the bucket. `docs/certificate.md` describes the JSON; its shape is
//! stable: fields may be added, none changes its meaning.

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::objectives::{ObjectiveFacts, RecoveryPoint};
use super::rows::TableComparison;
use crate::content::RowTally;
use crate::postgres::machine::Machine;
use crate::repository::id::{BackupId, DrillId, RepositoryId, Sha256Digest};
use crate::repository::{self, CertificateState};

/// The shape that this version writes.
pub const CERTIFICATE_VERSION: u32 = 1;

/// What a drill says about a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "cause", rename_all = "snake_case")]
pub enum Verdict {
    /// Rebuilt from the bucket alone and equal to its source at the snapshot.
    Certified,
    /// The backup or its restoration is wrong, or something went wrong that is not a known circumstance.
    Failed,
    /// A circumstance kept the drill from judging. It says nothing about the backup.
    Unverified(Cause),
}

impl Verdict {
    /// The state in the certificate's key.
    #[must_use]
    pub fn state(self) -> CertificateState {
        match self {
            Self::Certified => CertificateState::Certified,
            Self::Failed => CertificateState::Failed,
            Self::Unverified(_) => CertificateState::Unverified,
        }
    }
}

/// The closed list of circumstances that make a drill unverified. Anything else is failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No server answers, the database does not exist, a guard does not allow it to be used, or the server will not do: it is
    /// a standby, can make no database beside it, has too small a lock table, or there are no client programs for it.
    TargetAbsent,
    /// The target or the bucket refuses the drill's credentials.
    Credentials,
    MissingExtension,
    MissingLocale,
    SourceMajorAboveTarget,
    /// The drill was ended before its end. Mostly there is no certificate then, only the start marker.
    Interrupted,
}

impl Cause {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TargetAbsent => "target absent",
            Self::Credentials => "credentials",
            Self::MissingExtension => "missing extension",
            Self::MissingLocale => "missing locale",
            Self::SourceMajorAboveTarget => "source major above target",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Written before anything else: without a certificate of the same drill beside it, the drill was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartMarker {
    pub certificate_version: u32,
    pub backup_id: BackupId,
    pub drill_id: DrillId,
    pub started: jiff::Timestamp,
    pub tool_version: String,
}

/// The certificate of one drill of one backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub certificate_version: u32,
    pub repository_id: RepositoryId,
    pub backup_id: BackupId,
    pub drill_id: DrillId,
    /// SHA-256 of the root object that was drilled; none when that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<Sha256Digest>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// One line: the verdict with its main figures, then everything that it does not cover.
    pub summary: String,
    /// What failed or kept the drill from judging, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Keys of damaged objects. The next backup stores them again under other keys.
    #[serde(default)]
    pub damaged_objects: Vec<String>,
    /// Keys of objects that are not what was written any more and were read from older versions that the bucket keeps:
    /// somebody has overwritten or hidden them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older_versions: Vec<String>,
    pub started: jiff::Timestamp,
    pub finished: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetFacts>,
    pub versions: Versions,
    /// From finding the backup to ready for login, without wipe and comparison; only when all was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
    /// None when the backups beside this one could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<RecoveryPoint>,
    /// None when the operator has set none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<ObjectiveFacts>,
    pub databases: Vec<DatabaseCertificate>,
    /// What this verdict does not cover: databases without target, relations left out, checks that were not run.
    pub not_tested: Vec<String>,
}

/// Reads what stands under `key`.
///
/// # Errors
/// `UnknownFormat` for a version that is not ours, whatever its shape, and `Damaged` when it is no certificate.
pub fn read_certificate(key: &str, body: &[u8]) -> repository::Result<Certificate> {
    #[derive(Deserialize)]
    struct Version {
        certificate_version: u64,
    }
    match serde_json::from_slice::<Version>(body) {
        Ok(Version { certificate_version }) if certificate_version != u64::from(CERTIFICATE_VERSION) => {
            return Err(repository::Error::UnknownFormat {
                key: key.to_owned(),
                found: certificate_version,
                known: CERTIFICATE_VERSION,
            });
        }
        _ => {}
    }
    serde_json::from_slice(body).map_err(|error| repository::Error::damaged(key, error.to_string()))
}

/// Where the backup comes from, and what a recovery point is computed of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    pub cluster: String,
    pub system_identifier: String,
    /// The oldest snapshot of the run: what was committed later is not in this backup.
    pub oldest_snapshot: jiff::Timestamp,
    pub newest_snapshot: jiff::Timestamp,
    /// When the manifest was written: from then on the backup could be used.
    pub usable_since: jiff::Timestamp,
}

/// The server that it was rebuilt on: a recovery time means little without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// `host:port`
    pub server: String,
    pub system_identifier: String,
    #[serde(flatten)]
    pub machine: Machine,
}

/// Who wrote and who read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// `kubebackup` of this drill.
    pub tool: String,
    /// `kubebackup` of the backup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backup_tool: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_server: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_server: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pg_dump: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pg_restore: String,
}

/// One step and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    pub name: String,
    pub seconds: f64,
}

/// One database of the backup that was drilled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseCertificate {
    pub database: String,
    /// The database that it was rebuilt in.
    pub target_database: String,
    pub snapshot_time: jiff::Timestamp,
    /// Every required check passed.
    pub equal: bool,
    /// `wipe`, the restore's phases, `compare`.
    pub phases: Vec<PhaseSeconds>,
    /// Bytes read from the bucket.
    pub stored_bytes: u64,
    pub checks: Vec<Check>,
    pub tables: Vec<TableComparison>,
    /// Roles that the drill created and removes again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles_created: Vec<String>,
    /// Tablespaces of the source, whose objects a drill rebuilds in the database's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tablespaces_left_out: Vec<String>,
    /// The drill's role could not see whether the target's server would run restored jobs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub jobs_unknown: bool,
    /// Remarks of the restore that a person should read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl DatabaseCertificate {
    /// Rows, bytes and fingerprint of everything that was read back.
    #[must_use]
    pub fn total(&self) -> RowTally {
        let found = self.tables.iter().filter_map(|table| table.found);
        found.fold(RowTally::default(), RowTally::union)
    }
}

#[cfg(test)]
mod tests;
