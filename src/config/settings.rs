//! Settings as structs. Defaults come from the table, so a field without one is an `Option`; what a verb needs it asks
//! for by `require`, which names what is missing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{Error, Result};
use super::nearest::nearest;
use super::schedule::Schedule;
use super::table::variable_of;
use super::template::Template;
use super::value::{ByteSize, Span, ZoneName};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    pub cluster: Option<String>,
    pub repository: RepositorySettings,
    /// Further repositories, which hold copies.
    #[serde(default)]
    pub copies: Vec<CopySettings>,
    #[serde(default)]
    pub source: SourceSettings,
    pub backup: BackupSettings,
    #[serde(default)]
    pub assertions: Vec<AssertionSettings>,
    pub drift: DriftSettings,
    pub target: TargetSettings,
    pub drill: DrillSettings,
    pub agent: AgentSettings,
    pub backup_agent: BackupAgentSettings,
    pub restore_agent: RestoreAgentSettings,
    pub retention: RetentionSettings,
    pub prune: PruneSettings,
    #[serde(default)]
    pub objectives: ObjectiveSettings,
    pub notify: NotifySettings,
    pub log: LogSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RepositorySettings {
    pub bucket: Option<String>,
    pub directory: Option<PathBuf>,
    pub prefix: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: bool,
    pub profile: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub lock_mode: Option<LockMode>,
    pub lock_days: Option<u32>,
    pub encryption: Option<Encryption>,
    pub kms_key: Option<String>,
    pub connect_timeout: Span,
    pub read_timeout: Span,
    pub attempt_timeout: Span,
    pub max_attempts: u32,
}

/// Who may lift a lock early: some people, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    Governance,
    Compliance,
}

/// Encryption by the store: with a key of its own, or of its key service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    SseS3,
    SseKms,
}

/// A repository that holds copies of another's backups.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CopySettings {
    pub name: String,
    pub repository: RepositorySettings,
    /// The backup agent fills it.
    pub after_backup: bool,
    /// Its own rules, all of them; none: the section's.
    retention: Option<RetentionSettings>,
    prune: Option<PruneSettings>,
}

impl CopySettings {
    /// The rules that hold in it.
    #[must_use]
    pub fn retention<'a>(&'a self, settings: &'a Settings) -> &'a RetentionSettings {
        self.retention.as_ref().unwrap_or(&settings.retention)
    }

    /// What its prune goes by.
    #[must_use]
    pub fn prune<'a>(&'a self, settings: &'a Settings) -> &'a PruneSettings {
        self.prune.as_ref().unwrap_or(&settings.prune)
    }
}

/// Where a repository lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    Bucket(&'a str),
    Directory(&'a Path),
}

impl RepositorySettings {
    /// Whether both name the same place, as far as their texts tell.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        let place = |at: &Self| {
            (
                at.bucket.clone(),
                at.directory.clone(),
                at.prefix.clone(),
                at.endpoint.clone(),
            )
        };
        place(self) == place(other)
    }

    /// Its bucket or directory.
    ///
    /// # Errors
    /// `Error::Missing` when neither is set.
    pub fn require_location(&self) -> Result<Location<'_>> {
        match &self.directory {
            Some(directory) => Ok(Location::Directory(directory)),
            None => require(self.bucket.as_deref(), "repository.bucket").map(Location::Bucket),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct SourceSettings {
    pub dsn: Option<Secret>,
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub databases: Vec<String>,
    #[serde(default)]
    pub exclude_tables: Vec<String>,
    #[serde(default)]
    pub include_unlogged: bool,
    pub bin_directory: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BackupSettings {
    pub jobs: usize,
    /// None: whoever runs by a schedule lets production go first, whoever waits for the backup does not.
    pub pace: Option<PaceSetting>,
    pub compression_level: i32,
    pub chunk_min_bytes: ByteSize,
    pub chunk_mean_bytes: ByteSize,
    pub chunk_max_bytes: ByteSize,
    pub split_table_bytes: ByteSize,
    pub part_bytes: ByteSize,
    pub lock_timeout: Span,
    pub max_duration: Span,
    pub max_blocking: Span,
    pub attempts: u32,
}

/// Who goes first on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaceSetting {
    Polite,
    Full,
}

/// A user's read-only query, evaluated in the snapshot and again after a restore.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AssertionSettings {
    pub name: String,
    pub database: String,
    pub query: String,
}

/// What a backup must not lack of what an earlier one held.
#[derive(Clone, Debug, Deserialize)]
pub struct DriftSettings {
    pub max_loss_percent: u8,
    pub min_rows: u64,
    #[serde(default)]
    pub ignore_tables: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TargetSettings {
    pub dsn: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub maintenance_database: String,
    /// Source database to target database.
    #[serde(default)]
    pub databases: BTreeMap<String, String>,
    pub bin_directory: Option<PathBuf>,
}

impl TargetSettings {
    /// The target database that rebuilds `source`: the one named for it, else its own name.
    #[must_use]
    pub fn database_for<'a>(&'a self, source: &'a str) -> &'a str {
        self.databases.get(source).map_or(source, String::as_str)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct DrillSettings {
    pub jobs: usize,
    pub max_duration: Span,
    pub keep: bool,
    pub login_role: Option<String>,
    pub amcheck: bool,
}

/// What both long-running agents share.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentSettings {
    pub listen: SocketAddr,
    pub poll_interval: Span,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BackupAgentSettings {
    pub schedule: Schedule,
    pub jitter: Option<Span>,
    pub run_on: RunOn,
    pub retry_first: Span,
    pub retry_max: Span,
    pub lease_duration: Span,
}

/// Role that a server must have to be backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOn {
    Primary,
    Standby,
    Any,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RestoreAgentSettings {
    pub retry_first: Span,
    pub retry_max: Span,
    pub reprove: Option<Schedule>,
}

/// Which backups stay. A rule of 0 is not set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RetentionSettings {
    pub keep_last: u32,
    pub keep_within: Option<Span>,
    pub keep_hourly: u32,
    pub keep_daily: u32,
    pub keep_weekly: u32,
    pub keep_monthly: u32,
    pub keep_yearly: u32,
    pub time_zone: ZoneName,
    pub keep_certified: u32,
    pub after_backup: bool,
}

impl RetentionSettings {
    /// Whether any rule is set; without one nothing is expired.
    #[must_use]
    pub fn has_rule(&self) -> bool {
        let by_calendar = [
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        self.keep_last > 0 || self.keep_within.is_some() || by_calendar.iter().any(|number| *number > 0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PruneSettings {
    pub grace: Span,
}

/// What the operator wants to hold.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ObjectiveSettings {
    pub rto: Option<Span>,
    pub rpo: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NotifySettings {
    pub webhook: Option<Secret>,
    pub webhook_file: Option<PathBuf>,
    pub format: NotifyFormat,
    pub success: NotifySuccess,
    pub unverified_after: Span,
    pub text: Template,
    pub timeout: Span,
}

/// Shape of a notification's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyFormat {
    Slack,
    Generic,
}

/// Whether certified drills are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifySuccess {
    Never,
    Each,
    Daily,
}

#[derive(Clone, Debug, Deserialize)]
pub struct LogSettings {
    pub level: String,
    pub format: LogFormat,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// A text that may hold a password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(...)")
    }
}

impl Settings {
    /// The name of the cluster.
    ///
    /// # Errors
    /// `Error::Missing` when it is not set.
    pub fn require_cluster(&self) -> Result<&str> {
        require(self.cluster.as_deref(), "cluster")
    }

    /// The same settings with one of the copies as the repository, kept by its own rules, and no copy of itself.
    ///
    /// # Errors
    /// `Error::Unknown` when no copy has that name.
    pub fn on_copy(mut self, name: &str) -> Result<Self> {
        let copy = self.copy(name)?.clone();
        self.retention = copy.retention(&self).clone();
        self.prune = copy.prune(&self).clone();
        self.repository = copy.repository;
        self.copies.retain(|other| other.name != name);
        Ok(self)
    }

    /// The copy of that name.
    ///
    /// # Errors
    /// `Error::Unknown` when none has it.
    pub fn copy(&self, name: &str) -> Result<&CopySettings> {
        let found = self.copies.iter().find(|copy| copy.name == name);
        found.ok_or_else(|| Error::Unknown {
            what: "copy",
            name: name.to_owned(),
            nearest: nearest(name, self.copies.iter().map(|copy| copy.name.clone())),
        })
    }

    /// All copies.
    ///
    /// # Errors
    /// `Error::Invalid` when there are none.
    pub fn require_copies(&self) -> Result<&[CopySettings]> {
        if self.copies.is_empty() {
            return Err(Error::invalid(
                "copies",
                "names no place to copy to; list some in the settings file",
            ));
        }
        Ok(&self.copies)
    }

    /// The connection string of the throw-away server: never guessed from the environment, since it is destroyed.
    ///
    /// # Errors
    /// `Error::Missing` when it is not set.
    pub fn require_target_dsn(&self) -> Result<&Secret> {
        require(self.target.dsn.as_ref(), "target.dsn")
    }
}

fn require<'a, T: ?Sized>(value: Option<&'a T>, key: &'static str) -> Result<&'a T> {
    value.ok_or_else(|| Error::Missing {
        key,
        variable: variable_of(key),
    })
}
