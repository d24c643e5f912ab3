//! Ground for this room's tests: a repository in memory and small backups in it.

use std::sync::Arc;

use bytes::Bytes;

use super::error::Result;
use super::id::{BackupId, DrillId, RepositoryId};
use super::index::ChunkName;
use super::layout::Key;
use super::manifest::{Backup, BackupKind, BackupStats, DatabaseHead, DatabaseSummary, Record, Segment, Source, Table};
use super::{BackupWriter, CertificateState, ManifestDraft, Repository, ReuseIndex, StoredManifest, WriterOptions};
use crate::content::{DatabaseProperties, QualifiedName, RowTally, TableDescription, TableSource};
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::{MemoryStore, ObjectStore as _};

/// A repository whose store can be reached behind its back.
pub(super) struct Ground {
    pub(super) store: Arc<MemoryStore>,
    pub(super) repository: Repository,
}

/// A table's name and its rows as COPY text.
pub(super) type Rows = (&'static str, Vec<u8>);

/// So many rows of COPY text that differ with `seed`.
pub(super) fn rows(number: u64, seed: u64) -> Vec<u8> {
    let row = |at: u64| format!("{at}\t{:016x}\n", (at + 1).wrapping_mul(seed | 1).rotate_left(17)).into_bytes();
    (0..number).flat_map(row).collect()
}

pub(super) fn two_tables() -> Vec<Rows> {
    vec![("orders", rows(3000, 7)), ("items", rows(5000, 11))]
}

pub(super) fn backup_id(minute: i64) -> BackupId {
    BackupId::new(time(minute), 1)
}

pub(super) fn time(minute: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
}

/// The key that is tried after `key` for the same contents.
pub(super) fn next_name(key: &str) -> String {
    let ChunkName { sha256, copy } = ChunkName::of_key(key).unwrap();
    Key::Chunk { sha256, copy: copy + 1 }.to_string()
}

impl BackupWriter {
    /// A whole backup that nobody interrupts.
    pub(super) async fn commit(self, draft: ManifestDraft, records: Vec<Record>) -> Result<StoredManifest> {
        self.prepare(draft, records).await?.publish().await
    }
}

impl Ground {
    pub(super) async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::open_or_create(store.clone(), RepositoryId::new(1))
            .await
            .unwrap();
        Self { store, repository }
    }

    /// The same repository over a store that fails as planned.
    pub(super) async fn with_faults(&self, faults: Vec<Fault>) -> Repository {
        Repository::open(Arc::new(FaultStore::new(self.store.clone(), faults)))
            .await
            .unwrap()
    }

    /// A writer as a backup run makes it: with the previous backup's chunks.
    pub(super) async fn writer(&self) -> BackupWriter {
        let reuse = match self.repository.previous_backup("shop").await.unwrap() {
            Some(previous) => ReuseIndex::load(&self.repository, &previous).await.unwrap(),
            None => ReuseIndex::empty(),
        };
        BackupWriter::new(&self.repository, reuse, WriterOptions::default())
    }

    /// A backup of one database with these tables, a chunk each, and a schema archive.
    pub(super) async fn try_backup(&self, minute: i64, tables: &[Rows]) -> Result<StoredManifest> {
        let writer = self.writer().await;
        let records = put_all(&writer, tables).await?;
        writer.commit(draft(minute, tables), records).await
    }

    pub(super) async fn backup(&self, minute: i64, tables: &[Rows]) -> Backup {
        let stored = self.try_backup(minute, tables).await.unwrap();
        let backup = self.repository.read_backup(&stored.manifest.backup_id).await.unwrap();
        assert_eq!(backup.manifest_sha256, stored.sha256);
        backup
    }

    /// A drill's verdict, `damaged` named in it.
    pub(super) async fn verdict(&self, backup: i64, minute: i64, state: CertificateState, damaged: &[&str]) {
        let body = serde_json::to_vec(&serde_json::json!({ "damaged_objects": damaged })).unwrap();
        let drill_id = DrillId::new(time(minute), 9);
        let backup_id = backup_id(backup);
        let put = self
            .repository
            .put_certificate(&backup_id, &drill_id, state, body.into());
        put.await.unwrap();
    }

    /// What a drill of another place said, as a copy brings it.
    pub(super) async fn word_from_elsewhere(&self, backup: i64, state: CertificateState) {
        let key = Key::Elsewhere {
            backup_id: backup_id(backup),
            drill_id: DrillId::new(time(backup + 1), 9),
            state,
        };
        self.store.put_new(&key.to_string(), "{}".into()).await.unwrap();
    }

    pub(super) async fn object(&self, key: &str) -> Bytes {
        self.store.get(key).await.unwrap()
    }

    /// The rows of a table read back from the store.
    pub(super) async fn read_rows(&self, backup: &Backup, table: &str) -> Result<Vec<u8>> {
        let mut tables = backup.databases[0].tables.iter();
        let table = tables.find(|candidate| candidate.name().name == table).unwrap();
        let rows = self.repository.read_segments(backup, &table.segments).await?;
        Ok(rows.to_vec())
    }
}

pub(super) async fn put_all(writer: &BackupWriter, tables: &[Rows]) -> Result<Vec<Record>> {
    let archive = b"a schema archive".to_vec();
    let frame_ends = vec![archive.len()];
    let schema = Segment {
        chunk: writer.put(archive, frame_ends).await?,
        frame: 0,
        rows: 0,
    };
    let mut records = vec![Record::Database(Box::new(head(vec![schema])))];
    for (name, rows) in tables {
        let chunk = writer.put(rows.clone(), vec![rows.len()]).await?;
        records.push(Record::Table(table_of(name, rows, chunk)));
    }
    Ok(records)
}

pub(super) fn table_of(name: &str, rows: &[u8], chunk: u32) -> Table {
    let mut tally = RowTally::default();
    for row in rows.split_inclusive(|byte| *byte == b'\n') {
        tally.add_row(row);
    }
    Table {
        description: TableDescription {
            name: QualifiedName::new("public", name),
            source: TableSource::Table,
            columns: vec!["id".to_owned(), "text".to_owned()],
            generated_columns: Vec::new(),
            load_through: None,
        },
        tally,
        generated: None,
        segments: vec![Segment {
            chunk,
            frame: 0,
            rows: tally.rows,
        }],
        stored_bytes: None,
    }
}

pub(super) fn head(schema_archive: Vec<Segment>) -> DatabaseHead {
    DatabaseHead {
        properties: DatabaseProperties {
            name: "shop".to_owned(),
            owner: "postgres".to_owned(),
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            locale_provider: "libc".to_owned(),
            icu_locale: None,
            collation_version: None,
            connection_limit: -1,
            acl: Vec::new(),
            comment: None,
            settings: Vec::new(),
        },
        snapshot_time: time(0),
        lsn: "0/1".to_owned(),
        extensions: Vec::new(),
        referenced_roles: Vec::new(),
        schema_archive,
        large_object_segments: Vec::new(),
        large_objects: RowTally::default(),
        subscriptions_left_out: Vec::new(),
        mappings_redacted: Vec::new(),
        dump_warnings: Vec::new(),
        assertions: Vec::new(),
    }
}

pub(super) fn draft(minute: i64, tables: &[Rows]) -> ManifestDraft {
    ManifestDraft {
        kind: BackupKind::Logical,
        backup_id: backup_id(minute),
        predecessor: None,
        tool_version: "0.1.0".to_owned(),
        source: Source {
            cluster: "shop".to_owned(),
            system_identifier: "7000000000000000001".to_owned(),
            server_version_num: 150_018,
            server_version: "15.18".to_owned(),
            in_recovery: false,
            timeline: 1,
            pg_dump_version: "pg_dump (PostgreSQL) 15.18".to_owned(),
        },
        started: time(minute),
        finished: time(minute),
        databases: vec![DatabaseSummary {
            name: "shop".to_owned(),
            snapshot_time: time(minute),
            lsn: "0/1".to_owned(),
            tables: tables.len() as u64,
            rows: 0,
            raw_bytes: 0,
        }],
        databases_not_included: Vec::new(),
        phases: Vec::new(),
        stats: BackupStats::default(),
        drift: None,
    }
}

/// Callers spawn these: a future that holds borrows across an await in the wrong way is `Send` for no spawn.
#[allow(dead_code, reason = "compiling it is the test")]
fn futures_can_be_spawned<'a>(
    repository: &'a Repository,
    stored: &'a StoredManifest,
    options: &'a super::VerifyOptions,
    expiry: &'a super::ExpireOptions,
    pruning: &'a super::PruneOptions,
    writer: BackupWriter,
) -> Vec<Box<dyn Send + 'a>> {
    let cancel = Box::leak(Box::default());
    vec![
        Box::new(repository.previous_backup("c")),
        Box::new(repository.system_identifiers()),
        Box::new(repository.damaged_keys()),
        Box::new(repository.certificates()),
        Box::new(repository.read_index(stored.clone())),
        Box::new(ReuseIndex::load(repository, stored)),
        Box::new(super::verify(
            repository,
            options,
            &crate::telemetry::progress::Silent,
            cancel,
        )),
        Box::new(super::expire(repository, expiry, cancel)),
        Box::new(super::prune(repository, pruning, cancel)),
        Box::new(repository.holds()),
        Box::new(writer.commit(draft(0, &[]), Vec::new())),
    ]
}
