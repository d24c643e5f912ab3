//! What a verification found, for people and for `--output json`.

use std::collections::HashMap;

use serde::Serialize;

use crate::repository::id::{BackupId, VerifyId};
use crate::repository::manifest::{Backup, Database, Segment};

/// Touched objects that a defect names one by one.
const NAMED_AT_MOST: usize = 20;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub verify_id: VerifyId,
    pub outcome: VerifyOutcome,
    /// Backups that were looked at, oldest first.
    pub backups: Vec<BackupId>,
    /// Objects that were read, each once, and their stored bytes.
    pub objects: u64,
    pub bytes: u64,
    /// By key, each key once.
    pub defects: Vec<Defect>,
    pub damage_record: DamageRecord,
}

/// The verdict on what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyOutcome {
    /// Every object is as it was written.
    Sound,
    Damaged,
    /// Cancelled before the end; nothing damaged was found until then.
    Interrupted,
}

/// One object that is not as it was written, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Defect {
    pub key: String,
    /// What is wrong, in words.
    pub problem: String,
    /// Backups, of those looked at, that need the object.
    pub backups: Vec<BackupId>,
    /// What of the newest of them lies in it, the first few.
    pub touched: Vec<Touched>,
    /// How many there are in all. None when the object is a root or a piece of an index, on which a whole backup rests.
    pub touched_total: usize,
}

/// Something that cannot be restored whole without a damaged object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Touched {
    pub database: String,
    pub what: TouchedContent,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TouchedContent {
    SchemaArchive,
    LargeObjects,
    /// By its quoted, qualified name.
    Table(String),
}

/// Whether later backups will know of the damage and store anew what is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageRecord {
    /// Nothing is damaged.
    NotNeeded,
    /// Earlier records or certificates name every damaged object, with every backup that needs it.
    AlreadyKnown,
    Written {
        key: String,
    },
    /// The next backup will not know.
    NotWritten {
        key: String,
        reason: String,
    },
}

impl Defect {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            backups: Vec::new(),
            touched: Vec::new(),
            touched_total: 0,
        }
    }

    pub(super) fn needed_by(&mut self, backup_id: &BackupId) {
        if !self.backups.contains(backup_id) {
            self.backups.push(backup_id.clone());
        }
    }

    pub(super) fn touch(&mut self, mut touched: Vec<Touched>) {
        self.touched_total = touched.len();
        touched.truncate(NAMED_AT_MOST);
        self.touched = touched;
    }
}

/// What lies in each of the chunks `numbers` of `backup`. One pass, since all of a backup may be damaged.
pub(super) fn touched_by(backup: &Backup, numbers: impl Iterator<Item = u32>) -> HashMap<u32, Vec<Touched>> {
    let mut touched: HashMap<u32, Vec<Touched>> = numbers.map(|number| (number, Vec::new())).collect();
    for database in &backup.databases {
        for (what, segments) in contents(database) {
            for segment in segments {
                let Some(of_chunk) = touched.get_mut(&segment.chunk) else {
                    continue;
                };
                let what = Touched {
                    database: database.head.properties.name.clone(),
                    what: what.clone(),
                };
                // Its earlier segments were the last to come here.
                if of_chunk.last() != Some(&what) {
                    of_chunk.push(what);
                }
            }
        }
    }
    touched
}

fn contents(database: &Database) -> impl Iterator<Item = (TouchedContent, &[Segment])> {
    let head = &database.head;
    let others = [
        (TouchedContent::SchemaArchive, head.schema_archive.as_slice()),
        (TouchedContent::LargeObjects, head.large_object_segments.as_slice()),
    ];
    let tables = database.tables.iter();
    let tables = tables.map(|table| {
        (
            TouchedContent::Table(table.name().to_string()),
            table.segments.as_slice(),
        )
    });
    others.into_iter().chain(tables)
}
