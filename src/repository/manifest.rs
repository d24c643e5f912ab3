//! The shapes of a backup: a small root object and the records of its index.
//!
//! `manifests/<backup_id>.json` is one `Manifest` (at most [`MAX_ROOT_BYTES`]); it refers to index chunks whose raw bytes,
//! concatenated, are newline-delimited JSON [`Record`]s. `docs/format.md` describes both for a second implementation.

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::id::{BackupId, Blake3Digest, RepositoryId, Sha256Digest};
use crate::content::{
    CatalogueObject, DatabaseProperties, Extension, Fingerprint, GeneratedColumns, LargeObject, LedgerEntry,
    MaterializedView, Membership, QualifiedName, Role, RowTally, Sequence, TableDescription,
};

/// The format this version writes; readers refuse any other.
pub const FORMAT_VERSION: u32 = 1;

/// Largest root object, so that listings and metrics can read roots alone.
pub const MAX_ROOT_BYTES: usize = 64 * 1024;

/// What kind of backup a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Rows as COPY text and definitions as a `pg_dump` archive.
    Logical,
}

/// The root object of a backup. It exists if and only if the backup does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    pub kind: BackupKind,
    pub repository_id: RepositoryId,
    pub backup_id: BackupId,
    /// The backup whose chunks this one could reuse, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Predecessor>,
    /// `kubebackup` version that wrote it.
    pub tool_version: String,
    /// The generation of the lease under which it was made, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_generation: Option<u64>,
    pub source: Source,
    /// When the run began and when this root was written, by the agent's clock.
    pub started: jiff::Timestamp,
    pub finished: jiff::Timestamp,
    pub databases: Vec<DatabaseSummary>,
    /// Connectable databases of the cluster that the settings left out.
    #[serde(default)]
    pub databases_not_included: Vec<String>,
    pub stats: BackupStats,
    /// What the run did, in order, and how long each step took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseSeconds>,
    /// The digest of the place where its chunks are locked until what it says; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_in: Option<Sha256Digest>,
    /// Chunks whose raw bytes, concatenated in this order, are the records.
    pub index: Vec<Chunk>,
    /// What this backup no longer holds; absent where the version that made it did not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// The backup before this one, pinned by the digest of its root object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    pub backup_id: BackupId,
    pub manifest_sha256: Sha256Digest,
}

/// The cluster that was backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The name given in the settings (`cluster`).
    pub cluster: String,
    pub system_identifier: String,
    /// `server_version_num`, for example 150018.
    pub server_version_num: u32,
    pub server_version: String,
    pub in_recovery: bool,
    pub timeline: u32,
    /// `pg_dump --version` of the client that dumped the schemas.
    pub pg_dump_version: String,
}

/// What a listing says about one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSummary {
    pub name: String,
    /// Time of its snapshot by the database server's clock.
    pub snapshot_time: jiff::Timestamp,
    /// `pg_current_wal_lsn()`, or `pg_last_wal_replay_lsn()` on a standby, as the snapshot was taken.
    pub lsn: String,
    pub tables: u64,
    pub rows: u64,
    /// Bytes of COPY text.
    pub raw_bytes: u64,
}

/// One step and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    pub name: String,
    pub seconds: f64,
}

/// What the run cost and reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupStats {
    pub tables: u64,
    pub rows: u64,
    /// Bytes of COPY text read from the server.
    pub raw_bytes: u64,
    /// Stored bytes of every chunk this backup refers to, its index included. The writer counts this and what follows
    /// down to `healed_chunks`.
    pub stored_bytes: u64,
    /// Stored bytes that were uploaded by this run, the root object not counted.
    pub new_bytes: u64,
    /// Chunks this backup refers to: new ones and reused ones, its index included.
    pub chunks: u64,
    pub new_chunks: u64,
    pub reused_chunks: u64,
    /// Chunks stored again under another key because the object in their place was damaged.
    pub healed_chunks: u64,
    /// Whole run, in seconds.
    pub duration_seconds: f64,
    /// How much of it was pauses for production's sake; none: it was not paced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paced_seconds: Option<f64>,
}

/// How a chunk's frames are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Every frame is one zstd frame; the whole object is a valid zstd stream.
    Zstd,
}

/// One content-addressed object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// `chunks/<2 hex>/<sha256>`, or the same with `.<n>` for a copy stored beside a damaged one.
    pub key: String,
    pub codec: Codec,
    pub stored_sha256: Sha256Digest,
    pub stored_bytes: u64,
    pub raw_blake3: Blake3Digest,
    pub raw_bytes: u64,
    /// Its frames in order; offsets are the running sums.
    pub frames: Vec<Frame>,
    /// Until then at least the store keeps it from being deleted; none: not locked, as far as its writer knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<jiff::Timestamp>,
}

/// One compressed run of bytes inside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub stored_bytes: u64,
    pub raw_bytes: u64,
}

/// Where a run of one table's rows lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Position of the chunk among the index's `chunk` records, from 0.
    pub chunk: u32,
    /// Position of the frame inside the chunk, from 0.
    pub frame: u32,
    pub rows: u64,
}

/// One line of the index. `chunk` records come first, then `role`s and `membership`s, then each database as a
/// `database` record followed by the records that belong to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Chunk(Chunk),
    Role(Role),
    Membership(Membership),
    Database(Box<DatabaseHead>),
    Table(Table),
    Sequence(Sequence),
    LargeObject(LargeObject),
    MaterializedView(MaterializedView),
    Ledger(LedgerEntry),
    Object(CatalogueObject),
}

/// The head of a database's records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseHead {
    pub properties: DatabaseProperties,
    pub snapshot_time: jiff::Timestamp,
    pub lsn: String,
    pub extensions: Vec<Extension>,
    /// Roles that objects of this database refer to as owner, grantee or in a policy.
    pub referenced_roles: Vec<String>,
    /// Segments of the `pg_dump -Fc --schema-only` archive, in order.
    pub schema_archive: Vec<Segment>,
    /// Large objects' pages as COPY text of `(loid, byte offset, data)`, in order of both.
    pub large_object_segments: Vec<Segment>,
    /// Canonical fingerprint of the large objects' contents; `rows` counts 2 KiB blocks that are not all zero.
    pub large_objects: RowTally,
    /// Subscriptions, left out on purpose, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_left_out: Vec<String>,
    /// User mappings whose options were blanked, as `server/user`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings_redacted: Vec<String>,
    /// `pg_dump` warnings that are known to be harmless, verbatim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dump_warnings: Vec<String>,
    /// The user's assertions with what they returned in the snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
}

/// A read-only query of the user's with its answer in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    pub name: String,
    pub query: String,
    /// Number of rows and fingerprint of the result's COPY text.
    pub result: RowTally,
}

/// One stored table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    #[serde(flatten)]
    pub description: TableDescription,
    #[serde(flatten)]
    pub tally: RowTally,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedColumns>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// What its rows take compressed: the sum over its segments' frames. None in backups of versions that did not count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
}

impl Table {
    #[must_use]
    pub fn name(&self) -> &QualifiedName {
        &self.description.name
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.tally.fingerprint
    }
}

/// A whole backup in memory: the root and its records by place.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    pub manifest: Manifest,
    /// SHA-256 of the root object's bytes.
    pub manifest_sha256: Sha256Digest,
    pub chunks: Vec<Chunk>,
    pub roles: Vec<Role>,
    pub memberships: Vec<Membership>,
    pub databases: Vec<Database>,
}

/// One database of a backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    pub head: DatabaseHead,
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
    pub large_objects: Vec<LargeObject>,
    pub materialized_views: Vec<MaterializedView>,
    pub ledger: Vec<LedgerEntry>,
    pub inventory: Vec<CatalogueObject>,
}

impl Database {
    /// Every segment of this database: its tables', its schema archive's, its large objects'.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        let tables = self.tables.iter().flat_map(|table| &table.segments);
        tables
            .chain(&self.head.schema_archive)
            .chain(&self.head.large_object_segments)
    }
}
