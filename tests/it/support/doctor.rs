//! Backups that never happened: a real one taken apart, changed, and written again under an id of its own.
//!
//! Everything is sealed anew by the crate's own writer, so every size and digest is right. What such a backup says is
//! wrong all the same, and only a comparison with a rebuilt database can tell.

use std::fs;
use std::sync::Arc;

use kubebackup::repository::id::{BackupId, RepositoryId};
use kubebackup::repository::manifest::{Backup, Database, DatabaseSummary, Record, Table};
use kubebackup::repository::{BackupWriter, ManifestDraft, Repository, ReuseIndex, WriterOptions};
use kubebackup::storage::{MemoryStore, ObjectStore as _};
use tokio::runtime::Runtime;

use super::World;

/// A backup whose raw bytes and records can be changed.
pub(crate) struct Forgery {
    pub(crate) backup: Backup,
    /// Raw bytes by chunk and frame.
    frames: Vec<Vec<Vec<u8>>>,
}

impl World {
    /// A backup as the crate reads it.
    pub(crate) fn read_backup(&self, backup_id: &str) -> Backup {
        let (runtime, _, repository) = copy_of_bucket(self);
        let backup_id = backup_id.parse().unwrap();
        runtime.block_on(repository.read_backup(&backup_id)).unwrap()
    }

    /// Makes a backup and gives its id.
    pub(crate) fn back_up(&self) -> String {
        let backup = self.program(&["--output", "json", "backup"]).run().ok().json();
        backup["backup_id"].as_str().unwrap().to_owned()
    }

    /// Writes a backup once more as `change` leaves it, and gives the id of that.
    pub(crate) fn forge(&self, backup_id: &str, change: impl FnOnce(&mut Forgery)) -> String {
        let (runtime, store, repository) = copy_of_bucket(self);
        runtime.block_on(async {
            let backup = repository.read_backup(&backup_id.parse().unwrap()).await.unwrap();
            let mut forgery = Forgery::of(&repository, backup).await;
            change(&mut forgery);
            let backup_id = forgery.write(&repository).await;
            let present = self.keys("");
            for object in list(&store).await {
                if !present.contains(&object) {
                    let path = self.s3.bucket().join(Self::object(&object));
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, store.get(&object).await.unwrap()).unwrap();
                }
            }
            backup_id.to_string()
        })
    }
}

impl Forgery {
    async fn of(repository: &Repository, backup: Backup) -> Self {
        let mut frames = Vec::new();
        for chunk in &backup.chunks {
            let bytes = repository.read_chunk(chunk).await.unwrap();
            let raw = (0..chunk.frames.len()).map(|number| bytes.frame_bytes(number).unwrap());
            frames.push(raw.collect());
        }
        Self { backup, frames }
    }

    pub(crate) fn database(&mut self) -> &mut Database {
        &mut self.backup.databases[0]
    }

    pub(crate) fn table(&mut self, name: &str) -> &mut Table {
        let tables = &mut self.database().tables;
        tables.iter_mut().find(|table| table.name().name == name).unwrap()
    }

    /// Changes the rows of the table's first segment; all figures follow them, except for the fingerprint.
    pub(crate) fn change_rows(&mut self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        let segment = self.table(name).segments[0];
        let frame = &mut self.frames[segment.chunk as usize][segment.frame as usize];
        let text = String::from_utf8(frame.clone()).unwrap();
        let mut rows: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut rows);
        let before = frame.len() as u64;
        *frame = rows.concat().into_bytes();
        let after = frame.len() as u64;
        let table = self.table(name);
        table.tally.rows = table.tally.rows - table.segments[0].rows + rows.len() as u64;
        table.tally.raw_bytes = table.tally.raw_bytes - before + after;
        table.segments[0].rows = rows.len() as u64;
    }

    /// Leaves nothing but the roles.
    pub(crate) fn drop_databases(&mut self) {
        self.backup.databases.clear();
        self.frames.clear();
    }

    /// Puts an archive in the place of the database's own, which lies in a single segment.
    pub(crate) fn replace_schema_archive(&mut self, archive: Vec<u8>) {
        let segment = self.database().head.schema_archive[0];
        assert_eq!(self.database().head.schema_archive.len(), 1);
        self.frames[segment.chunk as usize][segment.frame as usize] = archive;
    }

    pub(crate) fn schema_archive(&mut self) -> Vec<u8> {
        let segment = self.database().head.schema_archive[0];
        self.frames[segment.chunk as usize][segment.frame as usize].clone()
    }

    async fn write(mut self, repository: &Repository) -> BackupId {
        let writer = BackupWriter::new(repository, ReuseIndex::empty(), WriterOptions::default());
        let mut numbers = Vec::new();
        for frames in &self.frames {
            let ends = frames.iter().scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            });
            numbers.push(writer.put(frames.concat(), ends.collect()).await.unwrap());
        }
        for database in &mut self.backup.databases {
            let tables = database.tables.iter_mut().flat_map(|table| &mut table.segments);
            let head = &mut database.head;
            let others = head.schema_archive.iter_mut().chain(&mut head.large_object_segments);
            for segment in tables.chain(others) {
                segment.chunk = numbers[segment.chunk as usize];
            }
        }
        let (draft, records) = self.into_draft_and_records();
        let unpublished = writer.prepare(draft, records).await.unwrap();
        unpublished.publish().await.unwrap().manifest.backup_id
    }

    fn into_draft_and_records(self) -> (ManifestDraft, Vec<Record>) {
        let manifest = self.backup.manifest;
        let draft = ManifestDraft {
            kind: manifest.kind,
            backup_id: BackupId::new(manifest.backup_id.time(), rand::random()),
            predecessor: None,
            tool_version: manifest.tool_version,
            source: manifest.source,
            started: manifest.started,
            finished: manifest.finished,
            databases: self.backup.databases.iter().map(summary).collect(),
            databases_not_included: manifest.databases_not_included,
            phases: manifest.phases,
            stats: manifest.stats,
            drift: manifest.drift,
        };
        let mut records: Vec<Record> = self.backup.roles.into_iter().map(Record::Role).collect();
        records.extend(self.backup.memberships.into_iter().map(Record::Membership));
        for database in self.backup.databases {
            records.push(Record::Database(Box::new(database.head)));
            records.extend(database.tables.into_iter().map(Record::Table));
            records.extend(database.sequences.into_iter().map(Record::Sequence));
            records.extend(database.large_objects.into_iter().map(Record::LargeObject));
            records.extend(database.materialized_views.into_iter().map(Record::MaterializedView));
            records.extend(database.ledger.into_iter().map(Record::Ledger));
            records.extend(database.inventory.into_iter().map(Record::Object));
        }
        (draft, records)
    }
}

fn summary(database: &Database) -> DatabaseSummary {
    DatabaseSummary {
        name: database.head.properties.name.clone(),
        snapshot_time: database.head.snapshot_time,
        lsn: database.head.lsn.clone(),
        tables: database.tables.len() as u64,
        rows: database.tables.iter().map(|table| table.tally.rows).sum(),
        raw_bytes: database.tables.iter().map(|table| table.tally.raw_bytes).sum(),
    }
}

/// The world's repository in memory, where nobody asks for credentials.
fn copy_of_bucket(world: &World) -> (Runtime, Arc<MemoryStore>, Repository) {
    let runtime = Runtime::new().unwrap();
    let store = Arc::new(MemoryStore::new());
    for key in world.keys("") {
        store.replace(&key, world.s3.read(&World::object(&key)).into());
    }
    let opened = Repository::open_or_create(store.clone(), RepositoryId::new(0));
    let repository = runtime.block_on(opened).unwrap();
    (runtime, store, repository)
}

async fn list(store: &Arc<MemoryStore>) -> Vec<String> {
    let objects = kubebackup::storage::list_all(store.as_ref(), "", None).await.unwrap();
    objects.into_iter().map(|object| object.key).collect()
}
