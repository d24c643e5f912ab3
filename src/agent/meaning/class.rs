//! The classes of errors, and what follows from each.

use crate::http::status::Outcome;

/// What kind of trouble it is, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Unavailable,
    GaveWay,
    TooLong,
    LostChunk,
    Unknown,
    Operator,
    Settings,
    Refused,
    Damaged,
    Interrupted,
}

/// When the backup agent tries again by itself. SIGUSR1 and SIGHUP come before any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After `backup_agent.retry_first`, twice as long each time, at most `backup_agent.retry_max`.
    Retry,
    /// After `backup_agent.retry_max`: somebody may have mended it, as when a password was being replaced.
    Late,
    /// When the schedule says so: trying sooner would not help.
    Schedule,
    Never,
}

/// Who must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nobody: it was asked for.
    Info,
    /// Nobody, unless it lasts.
    Warn,
    /// A person.
    Error,
}

impl Class {
    pub const ALL: [Self; 10] = [
        Self::Unavailable,
        Self::GaveWay,
        Self::TooLong,
        Self::LostChunk,
        Self::Unknown,
        Self::Operator,
        Self::Settings,
        Self::Refused,
        Self::Damaged,
        Self::Interrupted,
    ];

    /// When a backup is tried again.
    #[must_use]
    pub const fn next(self) -> Next {
        match self {
            Self::Unavailable | Self::GaveWay | Self::LostChunk | Self::Unknown => Next::Retry,
            Self::Operator => Next::Late,
            Self::TooLong | Self::Settings | Self::Refused | Self::Damaged => Next::Schedule,
            Self::Interrupted => Next::Never,
        }
    }

    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Unavailable | Self::GaveWay => Severity::Warn,
            Self::Interrupted => Severity::Info,
            _ => Severity::Error,
        }
    }

    /// How a backup ends that met it.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::GaveWay | Self::TooLong => Outcome::Yielded,
            Self::Interrupted => Outcome::Interrupted,
            _ => Outcome::Failed,
        }
    }

    /// What it is, for the documentation.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unavailable => {
                "A server or the store does not answer, or the connection broke; the server is out of connections, disk or memory; \
                 a database was dropped meanwhile."
            }
            Self::GaveWay => {
                "Production went first: the server is shutting down, sessions waited for the backup's locks, locks were not \
                 to be had in time, definitions kept changing, an administrator ended a session or a statement, a standby had to replay \
                 changes. Or another agent has taken over."
            }
            Self::TooLong => "The backup took longer than `backup.max_duration`.",
            Self::LostChunk => "A chunk that was to be reused is gone or damaged; the next backup stores it anew.",
            Self::Unknown => "Anything that has no row of its own, such as a client program that failed.",
            Self::Operator => {
                "Credentials, privileges or the bucket's policy refuse, the store is full, a bucket or a database is missing, \
                 the repository needs a newer program."
            }
            Self::Settings => "Settings that cannot work.",
            Self::Refused => "A guard refused, or the database holds what cannot be read or backed up.",
            Self::Damaged => "An object of the repository is damaged or missing.",
            Self::Interrupted => "SIGTERM or SIGINT.",
        }
    }
}
