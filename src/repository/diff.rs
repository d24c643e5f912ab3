//! What changed between two backups, table by table and object by object, by their indexes alone.
//!
//! Both indexes are read piece by piece. In memory are the chunks' digests of both, and of the first backup each table in
//! a few numbers and each object's name: some hundred bytes apiece, whatever the rows. The answer is as long as there are
//! tables.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};

use serde::Serialize;

use super::drift::Amount;
use super::error::{Error, Result};
use super::id::{BackupId, Blake3Digest};
use super::layout::Key;
use super::manifest::{Chunk, Record, Segment, Table};
use super::reader::{Repository, StoredManifest};
use crate::content::{CatalogueObject, Fingerprint, QualifiedName};

/// Objects of each kind of change that are named; all are counted.
pub const MAX_OBJECTS: usize = 1000;

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupDiff {
    pub from: BackupId,
    pub to: BackupId,
    pub databases: Vec<DatabaseDiff>,
}

/// One database of either.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseDiff {
    pub database: String,
    pub presence: Presence,
    /// Every table, unchanged ones too, by name.
    pub tables: Vec<TableDiff>,
    pub objects: ObjectsDiff,
}

/// In which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    OnlyFrom,
    OnlyTo,
    Both,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDiff {
    pub schema: String,
    pub name: String,
    pub presence: Presence,
    pub from: Amount,
    pub to: Amount,
    /// Whether both hold the same rows.
    pub is_equal: bool,
    /// Of the later one's segments, how many the earlier one has too; none where it has no segment.
    pub common_share: Option<f64>,
    /// Whether the stored columns are others, by name or order.
    pub columns_changed: bool,
}

/// Objects by `type identity`, the first [`MAX_OBJECTS`] of each list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ObjectsDiff {
    pub added: ObjectList,
    pub vanished: ObjectList,
    /// Of the same name, with another owner or other privileges; sequences are not told by their values.
    pub changed: ObjectList,
}

/// Some names and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ObjectList {
    pub total: u64,
    pub names: Vec<String>,
}

/// What a segment holds: the contents of its chunk, and which frame of it.
type Content = (Blake3Digest, u32);

/// One side's table in a few numbers.
struct Side {
    amount: Amount,
    fingerprint: Fingerprint,
    columns: Vec<String>,
    segments: Vec<Content>,
}

impl Side {
    /// However either compressed them.
    fn holds_rows_of(&self, other: &Self) -> bool {
        let rows = |side: &Self| (side.fingerprint, side.amount.rows, side.amount.raw_bytes);
        rows(self) == rows(other)
    }
}

/// The earlier backup, digested.
#[derive(Default)]
struct Earlier {
    databases: BTreeMap<String, EarlierDatabase>,
}

#[derive(Default)]
struct EarlierDatabase {
    tables: BTreeMap<QualifiedName, Side>,
    /// Name to what else is known of it.
    objects: BTreeMap<(String, String), u64>,
}

/// Reads both and compares them.
///
/// # Errors
/// `Damaged` for an index that cannot be read, or the store's own.
pub async fn diff(repository: &Repository, from: &StoredManifest, to: &StoredManifest) -> Result<BackupDiff> {
    let hasher = RandomState::new();
    let mut earlier = Earlier::default();
    let mut reading = Reading::new(from);
    let mut pieces = repository.records(from);
    while let Some(records) = pieces.next().await? {
        for record in records {
            match reading.take(record)? {
                Some(item) => earlier.add(&reading.database, item, &hasher),
                None if reading.is_new_database => {
                    earlier.databases.entry(reading.database.clone()).or_default();
                }
                None => {}
            }
        }
    }
    let mut diff = Difference {
        hasher,
        earlier,
        databases: Vec::new(),
    };
    let mut reading = Reading::new(to);
    let mut pieces = repository.records(to);
    while let Some(records) = pieces.next().await? {
        for record in records {
            match reading.take(record)? {
                Some(item) => diff.compare(item),
                None if reading.is_new_database => diff.open(&reading.database),
                None => {}
            }
        }
    }
    Ok(BackupDiff {
        from: from.manifest.backup_id.clone(),
        to: to.manifest.backup_id.clone(),
        databases: diff.finish(),
    })
}

/// What of an index matters here.
enum Item {
    Table(QualifiedName, Side),
    Object(CatalogueObject),
}

/// Reading one index: what its segments refer to, and whose records come.
struct Reading {
    root: String,
    contents: Vec<Blake3Digest>,
    database: String,
    is_new_database: bool,
}

impl Reading {
    fn new(stored: &StoredManifest) -> Self {
        Self {
            root: Key::Manifest(stored.manifest.backup_id.clone()).to_string(),
            contents: Vec::new(),
            database: String::new(),
            is_new_database: false,
        }
    }

    fn take(&mut self, record: Record) -> Result<Option<Item>> {
        self.is_new_database = false;
        Ok(match record {
            Record::Chunk(Chunk { raw_blake3, .. }) => {
                self.contents.push(raw_blake3);
                None
            }
            Record::Database(head) => {
                self.database = head.properties.name;
                self.is_new_database = true;
                None
            }
            Record::Table(table) => Some(self.table(table)?),
            Record::Object(object) => Some(Item::Object(object)),
            _ => None,
        })
    }

    fn table(&self, table: Table) -> Result<Item> {
        let content = |segment: &Segment| {
            let digest = self.contents.get(segment.chunk as usize);
            digest.map(|digest| (*digest, segment.frame)).ok_or_else(|| {
                let reason = format!("a segment names chunk {}, which it lacks", segment.chunk);
                Error::damaged(&self.root, reason)
            })
        };
        let segments = table.segments.iter().map(content).collect::<Result<Vec<Content>>>()?;
        let side = Side {
            amount: (&table).into(),
            fingerprint: table.tally.fingerprint,
            columns: table.description.columns,
            segments,
        };
        Ok(Item::Table(table.description.name, side))
    }
}

impl Earlier {
    fn add(&mut self, database: &str, item: Item, hasher: &RandomState) {
        let place = self.databases.entry(database.to_owned()).or_default();
        match item {
            Item::Table(name, side) => {
                place.tables.insert(name, side);
            }
            Item::Object(object) => {
                let rest = hasher.hash_one((&object.owner, &object.acl));
                place.objects.insert((object.object_type, object.identity), rest);
            }
        }
    }
}

/// The comparison that goes on: what was found in the later backup is taken out of the earlier one.
struct Difference {
    hasher: RandomState,
    earlier: Earlier,
    databases: Vec<DatabaseDiff>,
}

impl Difference {
    fn open(&mut self, database: &str) {
        let presence = if self.earlier.databases.contains_key(database) {
            Presence::Both
        } else {
            Presence::OnlyTo
        };
        self.databases.push(DatabaseDiff {
            database: database.to_owned(),
            presence,
            tables: Vec::new(),
            objects: ObjectsDiff::default(),
        });
    }

    fn compare(&mut self, item: Item) {
        let Some(place) = self.databases.last_mut() else { return };
        let earlier = self.earlier.databases.get_mut(&place.database);
        match item {
            Item::Table(name, to) => {
                let from = earlier.and_then(|earlier| earlier.tables.remove(&name));
                place.tables.push(TableDiff::new(name, from.as_ref(), Some(&to)));
            }
            Item::Object(object) => {
                let rest = self.hasher.hash_one((&object.owner, &object.acl));
                let name = (object.object_type, object.identity);
                match earlier.and_then(|earlier| earlier.objects.remove(&name)) {
                    None => place.objects.added.push(&name),
                    Some(before) if before != rest => place.objects.changed.push(&name),
                    Some(_) => {}
                }
            }
        }
    }

    fn finish(mut self) -> Vec<DatabaseDiff> {
        for (database, earlier) in self.earlier.databases {
            let place = self.databases.iter_mut().find(|place| place.database == database);
            let gone = earlier
                .tables
                .into_iter()
                .map(|(name, side)| TableDiff::new(name, Some(&side), None));
            if let Some(place) = place {
                place.tables.extend(gone);
                place.tables.sort_by(|one, other| one.place().cmp(&other.place()));
                place.objects.vanished = ObjectList::of(earlier.objects.keys());
            } else {
                let objects = ObjectsDiff {
                    vanished: ObjectList::of(earlier.objects.keys()),
                    ..ObjectsDiff::default()
                };
                self.databases.push(DatabaseDiff {
                    database,
                    presence: Presence::OnlyFrom,
                    tables: gone.collect(),
                    objects,
                });
            }
        }
        self.databases
    }
}

impl TableDiff {
    fn new(name: QualifiedName, from: Option<&Side>, to: Option<&Side>) -> Self {
        let presence = match (from, to) {
            (Some(_), Some(_)) => Presence::Both,
            (Some(_), None) => Presence::OnlyFrom,
            _ => Presence::OnlyTo,
        };
        let amount = |side: Option<&Side>| side.map(|side| side.amount).unwrap_or_default();
        let both = from.zip(to);
        Self {
            schema: name.schema,
            name: name.name,
            presence,
            from: amount(from),
            to: amount(to),
            is_equal: both.is_some_and(|(from, to)| from.holds_rows_of(to)),
            common_share: both.and_then(|(from, to)| common_share(from, to)),
            columns_changed: both.is_some_and(|(from, to)| from.columns != to.columns),
        }
    }

    /// Whether there is anything to tell of it.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.is_equal || self.columns_changed
    }

    fn place(&self) -> (&str, &str) {
        (&self.schema, &self.name)
    }
}

/// How much of the later side's rows lies in frames that the earlier one has too.
fn common_share(from: &Side, to: &Side) -> Option<f64> {
    let had: BTreeSet<&Content> = from.segments.iter().collect();
    let common = to.segments.iter().filter(|content| had.contains(content)).count();
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    (!to.segments.is_empty()).then(|| common as f64 / to.segments.len() as f64)
}

impl ObjectList {
    fn of<'a>(names: impl Iterator<Item = &'a (String, String)>) -> Self {
        let mut list = Self::default();
        for name in names {
            list.push(name);
        }
        list
    }

    fn push(&mut self, (object_type, identity): &(String, String)) {
        self.total += 1;
        if self.names.len() < MAX_OBJECTS {
            self.names.push(format!("{object_type} {identity}"));
        }
    }
}
