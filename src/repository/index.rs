//! The records of a backup's index: to lines of JSON cut into pieces, and back into a backup that fits together.
//!
//! What `assemble` lets through has chunk and frame numbers that exist and segments that add up to their tables, so
//! that no later code can reach beyond an end. The writer runs it on its own work before a root is written.

use std::io::Write as _;

use serde::Serialize;

use super::id::Sha256Digest;
use super::layout::Key;
use super::limits::{MAX_CHUNK_BYTES, MAX_PIECE_BYTES, MAX_SCHEMA_ARCHIVE_BYTES};
use super::manifest::{Backup, Chunk, Database, DatabaseHead, Manifest, Record, Segment, Table};

/// Collects lines of JSON and gives them away in full pieces. A line may lie across pieces.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn push<T: Serialize>(&mut self, record: &T) -> serde_json::Result<()> {
        serde_json::to_writer(&mut self.pending, record)?;
        self.pending.write_all(b"\n").map_err(serde_json::Error::io)
    }

    /// The next full piece, if there is one.
    pub(super) fn full_piece(&mut self) -> Option<Vec<u8>> {
        (self.pending.len() >= MAX_PIECE_BYTES).then(|| {
            let rest = self.pending.split_off(MAX_PIECE_BYTES);
            std::mem::replace(&mut self.pending, rest)
        })
    }

    /// What is left once the full pieces are taken.
    pub(super) fn last_piece(self) -> Option<Vec<u8>> {
        (!self.pending.is_empty()).then_some(self.pending)
    }
}

/// A `chunk` record by reference: the writer keeps its list.
#[derive(Serialize)]
#[serde(tag = "record", rename = "chunk")]
pub(super) struct ChunkRecord<'a> {
    #[serde(flatten)]
    pub(super) chunk: &'a Chunk,
}

/// The records in `lines`, complete raw index bytes.
pub(super) fn parse(lines: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let number = records.len() + 1;
        let line = line
            .strip_suffix(b"\n")
            .ok_or_else(|| format!("record {number} has no end"))?;
        let record = serde_json::from_slice(line).map_err(|error| format!("record {number}: {error}"))?;
        records.push(record);
    }
    Ok(records)
}

/// The names of the chunks in `lines`, complete raw index bytes, one record in memory at a time. A record of a kind that
/// is not known is an error: it might refer to more.
pub(super) fn chunk_names(lines: &[u8]) -> Result<Vec<ChunkName>, String> {
    let mut names = Vec::new();
    for (number, line) in (1..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
        let record = serde_json::from_slice(line).map_err(|error| format!("record {number}: {error}"))?;
        if let Record::Chunk(chunk) = record {
            names.push(ChunkName::of(&chunk)?);
        }
    }
    Ok(names)
}

/// A chunk's key in 36 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkName {
    pub(super) sha256: Sha256Digest,
    pub(super) copy: u32,
}

impl ChunkName {
    /// The name of a chunk whose figures agree.
    pub(super) fn of(chunk: &Chunk) -> Result<Self, String> {
        check_chunk(chunk)?;
        Self::of_key(&chunk.key).ok_or_else(|| format!("'{}' is no chunk", chunk.key))
    }

    pub(super) fn of_key(key: &str) -> Option<Self> {
        match key.parse() {
            Ok(Key::Chunk { sha256, copy }) => Some(Self { sha256, copy }),
            _ => None,
        }
    }
}

/// Puts `records` into their places under `manifest`.
///
/// # Errors
/// What does not fit together, in words.
pub(super) fn assemble(
    manifest: Manifest,
    manifest_sha256: Sha256Digest,
    records: impl IntoIterator<Item = Record>,
) -> Result<Backup, String> {
    let mut assembly = Assembly::new(manifest, manifest_sha256);
    assembly.add(records)?;
    assembly.finish()
}

/// A backup that is put together as its records come.
pub(super) struct Assembly {
    backup: Backup,
    /// What a database holds is checked and let go.
    has_heads_alone: bool,
}

impl Assembly {
    pub(super) fn new(manifest: Manifest, manifest_sha256: Sha256Digest) -> Self {
        let backup = Backup {
            manifest,
            manifest_sha256,
            chunks: Vec::new(),
            roles: Vec::new(),
            memberships: Vec::new(),
            databases: Vec::new(),
        };
        Self {
            backup,
            has_heads_alone: false,
        }
    }

    /// Of the same records, whose databases come to their heads.
    pub(super) fn of_chunks(manifest: Manifest, manifest_sha256: Sha256Digest) -> Self {
        Self {
            has_heads_alone: true,
            ..Self::new(manifest, manifest_sha256)
        }
    }

    /// Takes the next records in.
    ///
    /// # Errors
    /// What does not fit to what came before, in words.
    pub(super) fn add(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), String> {
        records
            .into_iter()
            .try_for_each(|record| place(&mut self.backup, record))?;
        if self.has_heads_alone {
            self.backup.databases.iter_mut().for_each(forget_contents);
        }
        Ok(())
    }

    /// All have come.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(super) fn finish(self) -> Result<Backup, String> {
        check_databases(&self.backup)?;
        Ok(self.backup)
    }
}

fn forget_contents(database: &mut Database) {
    database.tables.clear();
    database.sequences.clear();
    database.large_objects.clear();
    database.materialized_views.clear();
    database.ledger.clear();
    database.inventory.clear();
}

fn place(backup: &mut Backup, record: Record) -> Result<(), String> {
    match (record, backup.databases.last_mut()) {
        (Record::Chunk(chunk), None) if backup.roles.is_empty() && backup.memberships.is_empty() => {
            check_chunk(&chunk)?;
            backup.chunks.push(chunk);
        }
        (Record::Role(role), None) => backup.roles.push(role),
        (Record::Membership(membership), None) => backup.memberships.push(membership),
        (Record::Database(head), _) => {
            check_head(&backup.chunks, &head)?;
            backup.databases.push(Database {
                head: *head,
                tables: Vec::new(),
                sequences: Vec::new(),
                large_objects: Vec::new(),
                materialized_views: Vec::new(),
                ledger: Vec::new(),
                inventory: Vec::new(),
            });
        }
        (Record::Table(table), Some(database)) => {
            check_table(&backup.chunks, &table)?;
            database.tables.push(table);
        }
        (Record::Sequence(sequence), Some(database)) => database.sequences.push(sequence),
        (Record::LargeObject(large_object), Some(database)) => database.large_objects.push(large_object),
        (Record::MaterializedView(view), Some(database)) => database.materialized_views.push(view),
        (Record::Ledger(entry), Some(database)) => database.ledger.push(entry),
        (Record::Object(object), Some(database)) => database.inventory.push(object),
        (Record::Chunk(_) | Record::Role(_) | Record::Membership(_), _) => {
            return Err("a chunk, role or membership record comes too late".to_owned());
        }
        (_, None) => return Err("a record belongs to no database".to_owned()),
    }
    Ok(())
}

/// A chunk's own figures must agree: its key with its digest, its sizes with its frames'.
pub(super) fn check_chunk(chunk: &Chunk) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("chunk '{}' {what}", chunk.key));
    match chunk.key.parse() {
        Ok(Key::Chunk { sha256, .. }) if sha256 == chunk.stored_sha256 => {}
        _ => return wrong("is not named after its digest"),
    }
    if chunk.frames.is_empty() || chunk.frames.iter().any(|frame| frame.raw_bytes == 0) {
        return wrong("has no frame, or an empty one");
    }
    let stored_bytes = sum(chunk.frames.iter().map(|frame| frame.stored_bytes));
    let raw_bytes = sum(chunk.frames.iter().map(|frame| frame.raw_bytes));
    if stored_bytes != Some(chunk.stored_bytes) || raw_bytes != Some(chunk.raw_bytes) {
        return wrong("has sizes that its frames do not add up to");
    }
    if chunk.stored_bytes.max(chunk.raw_bytes) > MAX_CHUNK_BYTES {
        return wrong("is larger than any chunk may be");
    }
    Ok(())
}

/// A chunk of the index itself: its root names it, and it is held in memory as a whole.
pub(super) fn check_piece(chunk: &Chunk) -> Result<(), String> {
    check_chunk(chunk)?;
    if chunk.raw_bytes > MAX_PIECE_BYTES as u64 {
        return Err(format!(
            "chunk '{}' is larger than a piece of an index may be",
            chunk.key
        ));
    }
    Ok(())
}

fn check_head(chunks: &[Chunk], head: &DatabaseHead) -> Result<(), String> {
    let name = &head.properties.name;
    let archive_bytes =
        raw_bytes_of(chunks, &head.schema_archive).map_err(|reason| format!("schema archive of '{name}': {reason}"))?;
    if archive_bytes > MAX_SCHEMA_ARCHIVE_BYTES {
        return Err(format!(
            "schema archive of '{name}': it has {archive_bytes} bytes, at most {MAX_SCHEMA_ARCHIVE_BYTES} are allowed"
        ));
    }
    raw_bytes_of(chunks, &head.large_object_segments)
        .map_err(|reason| format!("large objects of '{name}': {reason}"))?;
    Ok(())
}

fn check_table(chunks: &[Chunk], table: &Table) -> Result<(), String> {
    let wrong = |reason: String| format!("table {}: {reason}", table.name());
    let raw_bytes = raw_bytes_of(chunks, &table.segments).map_err(wrong)?;
    let rows = sum(table.segments.iter().map(|segment| segment.rows));
    if rows == Some(table.tally.rows) && raw_bytes == table.tally.raw_bytes {
        Ok(())
    } else {
        Err(wrong("its segments do not add up to its rows and bytes".to_owned()))
    }
}

/// Raw bytes of `segments` together; an error when one names a chunk or a frame that does not exist.
fn raw_bytes_of(chunks: &[Chunk], segments: &[Segment]) -> Result<u64, String> {
    let mut raw_bytes = 0u64;
    for segment in segments {
        let frame = chunks
            .get(segment.chunk as usize)
            .and_then(|chunk| chunk.frames.get(segment.frame as usize))
            .ok_or_else(|| format!("there is no frame {} in chunk {}", segment.frame, segment.chunk))?;
        raw_bytes = raw_bytes
            .checked_add(frame.raw_bytes)
            .ok_or_else(|| "its sizes overflow".to_owned())?;
    }
    Ok(raw_bytes)
}

fn check_databases(backup: &Backup) -> Result<(), String> {
    let summaries = backup.manifest.databases.iter().map(|summary| &summary.name);
    let heads = backup.databases.iter().map(|database| &database.head.properties.name);
    if summaries.eq(heads) {
        Ok(())
    } else {
        Err("the databases of the root are not those of its index".to_owned())
    }
}

/// A frame that nothing refers to: a sign of a lost segment, though what is referred to may be whole.
pub(super) fn find_unused_frame(backup: &Backup) -> Option<String> {
    let mut used: Vec<Vec<bool>> = backup
        .chunks
        .iter()
        .map(|chunk| vec![false; chunk.frames.len()])
        .collect();
    for segment in backup.databases.iter().flat_map(Database::segments) {
        let frame = used.get_mut(segment.chunk as usize);
        if let Some(frame) = frame.and_then(|frames| frames.get_mut(segment.frame as usize)) {
            *frame = true;
        }
    }
    backup.chunks.iter().zip(&used).find_map(|(chunk, frames)| {
        let frame = frames.iter().position(|used| !used)?;
        Some(format!("nothing refers to frame {frame} of '{}'", chunk.key))
    })
}

fn sum(mut values: impl Iterator<Item = u64>) -> Option<u64> {
    values.try_fold(0u64, u64::checked_add)
}
