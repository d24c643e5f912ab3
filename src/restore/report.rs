//! What a restore did, phase by phase.

use serde::Serialize;

/// One step of a restore and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
}

/// What was restored, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RestoreReport {
    pub phases: Vec<Phase>,
    pub tables: u64,
    pub rows: u64,
    /// Bytes of COPY text.
    pub raw_bytes: u64,
    /// Bytes of chunks read from the repository, each time they were read.
    pub stored_bytes: u64,
    pub large_objects: u64,
    /// Names of the roles that this restore created; none of them existed before.
    pub roles_created: Vec<String>,
    /// Created roles that could log in at the source, and need a password or another way in.
    pub roles_without_password: Vec<String>,
    /// Tablespaces whose objects were restored into the database's own; among those skipped too.
    #[serde(skip)]
    pub tablespaces_left_out: Vec<String>,
    /// What was left out on purpose, each with its reason.
    pub skipped: Vec<String>,
    /// What a person should read: remarks of `pg_restore`, differences that were tolerated.
    pub warnings: Vec<String>,
}
