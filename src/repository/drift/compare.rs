//! The comparison itself: the baseline's records, one after the other, against the databases of the new backup.
//!
//! Pure. Of the baseline nothing is kept but sums by schema and names that are gone; what is looked up is the new backup,
//! which whoever makes it holds anyway. A table that was renamed reads as lost, and so does one that was made into a
//! partitioned table: its rows are under other names now, and only a person can know that they are the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::text::{plain, relation_of, shortened};
use super::{Amount, DriftFinding, DriftKind, MAX_FINDINGS};
use crate::content::{CatalogueObject, LedgerEntry, LedgerState, QualifiedName, RowTally};
use crate::repository::manifest::{Database, Record};

/// Fewer bytes than this do not fall: a handful of rows may lose half their text for good reasons.
const MIN_BYTES: u64 = 1024 * 1024;

/// Rows compress that take less of their text than this, and do not that take more. What is encrypted takes half of its
/// text where COPY writes it as hexadecimal digits, and three quarters where it is base64.
const OPAQUE_SHARE: f64 = 0.4;
/// A row takes at least so much, compressed, of the text that it had before: what is encrypted takes as much room as it had
/// as plain text. Rows that merely grew, or a lower level, take less.
const OPAQUE_OF_TEXT_BEFORE: f64 = 0.6;

/// Lost objects of one type that a finding names.
const EXAMPLES: usize = 3;

/// Relations, which the ledger tells of.
const RELATIONS: [&str; 5] = ["table", "view", "materialized view", "foreign table", "sequence"];

/// What holds no data and no behaviour of its own, and is made anew by everyday maintenance.
const LEFT_OUT: [&str; 4] = ["index", "default value", "statistics object", "default acl"];

/// What counts as drift.
#[derive(Clone, Copy)]
pub struct DriftRules<'a> {
    /// More than this share of the rows or bytes is too much.
    pub max_loss_percent: u8,
    /// Tables with no more rows than this may lose rows.
    pub min_rows: u64,
    /// Tables that may be emptied and dropped.
    pub is_ignored: &'a (dyn Fn(&QualifiedName) -> bool + Sync),
}

/// A comparison that goes on.
pub(super) struct Comparison<'a> {
    current: &'a [Database],
    not_included: &'a [String],
    rules: DriftRules<'a>,
    place: Place<'a>,
    found: Found,
}

/// The database whose records come.
enum Place<'a> {
    Nowhere,
    Lost { database: String, before: Amount },
    Kept(Box<Kept<'a>>),
}

/// A database that is in both.
struct Kept<'a> {
    name: String,
    tables: HashMap<&'a QualifiedName, Amount>,
    ledger: HashMap<&'a QualifiedName, LedgerState>,
    objects: HashSet<(&'a str, &'a str)>,
    schemas: BTreeMap<String, SchemaSums>,
    lost: HashSet<QualifiedName>,
    lost_objects: BTreeMap<String, (u64, Vec<String>)>,
}

#[derive(Default)]
struct SchemaSums {
    /// Of tables that are no finding by themselves.
    before: Amount,
    after: Amount,
    /// Tables that had rows, and those of them that have some now.
    filled: u64,
    still_filled: u64,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) total: u64,
    pub(super) findings: Vec<DriftFinding>,
}

impl Found {
    /// Takes in one more, as grave as it is.
    pub(super) fn add(&mut self, finding: Option<DriftFinding>) {
        self.total += u64::from(finding.is_some());
        self.findings.extend(finding);
        self.findings.sort_by_key(|finding| finding.kind);
        self.findings.truncate(MAX_FINDINGS);
    }
}

impl<'a> Comparison<'a> {
    /// `not_included` are databases that the settings leave out.
    pub(super) fn new(current: &'a [Database], not_included: &'a [String], rules: DriftRules<'a>) -> Self {
        Self {
            current,
            not_included,
            rules,
            place: Place::Nowhere,
            found: Found::default(),
        }
    }

    /// The baseline's next record.
    pub(super) fn take(&mut self, record: Record) {
        match (record, &mut self.place) {
            (Record::Database(head), _) => {
                self.close_database();
                self.place = self.open_database(head.properties.name, head.large_objects);
            }
            (Record::Table(table), Place::Lost { before, .. }) => before.add((&table).into()),
            (Record::Table(table), Place::Kept(kept)) => {
                self.found.extend(kept.table(table.name(), (&table).into(), self.rules));
            }
            (Record::Ledger(entry), Place::Kept(kept)) => kept.relation(&entry, self.rules),
            (Record::Object(object), Place::Kept(kept)) => kept.object(object, self.rules),
            _ => {}
        }
    }

    pub(super) fn finish(mut self) -> Found {
        self.close_database();
        self.found.keep_gravest();
        self.found
    }

    fn open_database(&mut self, name: String, large_objects: RowTally) -> Place<'a> {
        let is_it = |database: &&Database| database.head.properties.name == name;
        let Some(current) = self.current.iter().find(is_it) else {
            return Place::Lost {
                database: name,
                before: Amount::default(),
            };
        };
        let (before, after) = (large_objects.into(), current.head.large_objects.into());
        if fell(before, after, self.rules) {
            let kind = DriftKind::LargeObjectsFell;
            self.found.extend(Some(finding(kind, &name, None, before, after)));
        }
        Place::Kept(Box::new(Kept::new(name, current)))
    }

    fn close_database(&mut self) {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Lost { database, before } => {
                let is_there = self.not_included.contains(&database);
                let lost = finding(DriftKind::DatabaseLost, &database, None, before, Amount::default());
                self.found.extend(Some(DriftFinding {
                    now: is_there.then(|| "not included".to_owned()),
                    ..lost
                }));
            }
            Place::Kept(kept) => self.found.extend(kept.finish(self.rules)),
        }
    }
}

impl<'a> Kept<'a> {
    fn new(name: String, current: &'a Database) -> Self {
        let object = |object: &'a CatalogueObject| (object.object_type.as_str(), object.identity.as_str());
        let tables = current.tables.iter().map(|table| (table.name(), Amount::from(table)));
        let ledger = current.ledger.iter().map(|entry| (&entry.name, entry.state));
        Self {
            name,
            tables: tables.collect(),
            ledger: ledger.collect(),
            objects: current.inventory.iter().map(object).collect(),
            schemas: BTreeMap::new(),
            lost: HashSet::new(),
            lost_objects: BTreeMap::new(),
        }
    }

    fn table(&mut self, name: &QualifiedName, before: Amount, rules: DriftRules<'_>) -> Option<DriftFinding> {
        if (rules.is_ignored)(name) {
            return None;
        }
        let Some(after) = self.tables.get(name).copied() else {
            let state = self.ledger.get(name).map(|state| word(*state));
            self.lost.insert(name.clone());
            return Some(DriftFinding {
                now: state,
                ..self.of_table(DriftKind::TableLost, name, before, Amount::default())
            });
        };
        let sums = self.schemas.entry(name.schema.clone()).or_default();
        if before.rows > 0 {
            sums.filled += 1;
            sums.still_filled += u64::from(after.rows > 0);
        }
        if fell(before, after, rules) {
            return Some(self.of_table(DriftKind::TableFell, name, before, after));
        }
        sums.before.add(before);
        sums.after.add(after);
        became_opaque(before, after).then(|| self.of_table(DriftKind::CompressionFell, name, before, after))
    }

    fn of_table(&self, kind: DriftKind, name: &QualifiedName, before: Amount, after: Amount) -> DriftFinding {
        finding(kind, &self.name, Some(plain(name)), before, after)
    }

    fn relation(&mut self, entry: &LedgerEntry, rules: DriftRules<'_>) {
        let comes_and_goes = matches!(entry.state, LedgerState::Extension | LedgerState::Temporary);
        if comes_and_goes || self.ledger.contains_key(&entry.name) {
            return;
        }
        // What hangs on it goes with it, also where the table is told by itself, or of no interest.
        if self.lost.insert(entry.name.clone()) && !(rules.is_ignored)(&entry.name) {
            self.lose(entry.kind.clone(), &plain(&entry.name));
        }
    }

    fn object(&mut self, object: CatalogueObject, rules: DriftRules<'_>) {
        let is_told_elsewhere = RELATIONS.contains(&object.object_type.as_str());
        // Objects of initdb and of extensions are listed for their privileges alone: equal again, they are not gone.
        let is_of_the_server = object.owner.is_none() && !object.acl.is_empty();
        let is_there = self
            .objects
            .contains(&(object.object_type.as_str(), object.identity.as_str()));
        if is_there || is_told_elsewhere || is_of_the_server || LEFT_OUT.contains(&object.object_type.as_str()) {
            return;
        }
        let relation = relation_of(&object.identity);
        if relation.is_some_and(|relation| self.lost.contains(&relation) || (rules.is_ignored)(&relation)) {
            return;
        }
        self.lose(object.object_type, &object.identity);
    }

    fn lose(&mut self, object_type: String, identity: &str) {
        let (count, examples) = self.lost_objects.entry(object_type).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(shortened(identity));
        }
    }

    fn finish(self, rules: DriftRules<'_>) -> Vec<DriftFinding> {
        let database = self.name;
        let of_schema = {
            let database = database.clone();
            move |(schema, sums): (String, SchemaSums)| {
                let is_emptied = sums.filled > 1 && sums.still_filled == 0;
                let is_told = is_emptied || fell(sums.before, sums.after, rules);
                is_told.then(|| finding(DriftKind::SchemaFell, &database, Some(schema), sums.before, sums.after))
            }
        };
        let of_type = move |(object_type, (count, examples)): (String, (u64, Vec<String>))| {
            let before = Amount {
                objects: count,
                ..Amount::default()
            };
            let after = Amount::default();
            DriftFinding {
                examples,
                ..finding(DriftKind::ObjectsLost, &database, Some(object_type), before, after)
            }
        };
        let schemas = self.schemas.into_iter().filter_map(of_schema);
        schemas.chain(self.lost_objects.into_iter().map(of_type)).collect()
    }
}

impl Found {
    fn extend(&mut self, findings: impl IntoIterator<Item = DriftFinding>) {
        for finding in findings {
            self.total += 1;
            self.findings.push(finding);
            if self.findings.len() >= 8 * MAX_FINDINGS {
                self.keep_gravest();
            }
        }
    }

    fn keep_gravest(&mut self) {
        let lost = |finding: &DriftFinding| finding.before.raw_bytes.saturating_sub(finding.after.raw_bytes);
        let key = |finding: &DriftFinding| {
            let place = (finding.database.clone(), finding.name.clone());
            (finding.kind, Reverse(lost(finding)), place)
        };
        self.findings.sort_by_cached_key(key);
        self.findings.truncate(MAX_FINDINGS);
    }
}

fn finding(kind: DriftKind, database: &str, name: Option<String>, before: Amount, after: Amount) -> DriftFinding {
    DriftFinding {
        kind,
        database: database.to_owned(),
        name,
        before,
        after,
        now: None,
        examples: Vec::new(),
    }
}

fn fell(before: Amount, after: Amount, rules: DriftRules<'_>) -> bool {
    let share = |before: u64, after: u64| {
        let lost = u128::from(before.saturating_sub(after));
        lost * 100 > u128::from(before) * u128::from(rules.max_loss_percent)
    };
    let rows = before.rows > rules.min_rows && share(before.rows, after.rows);
    rows || before.raw_bytes > MIN_BYTES && share(before.raw_bytes, after.raw_bytes)
}

/// Whether rows compress as badly as if they had been encrypted in place, which they did not before.
fn became_opaque(before: Amount, after: Amount) -> bool {
    let is_telling = |amount: Amount| amount.rows > 0 && amount.raw_bytes > MIN_BYTES && amount.stored_bytes > 0;
    if !is_telling(before) || !is_telling(after) {
        return false;
    }
    #[allow(clippy::cast_precision_loss, reason = "shares and means")]
    let ratio = |bytes: u64, of: u64| bytes as f64 / of as f64;
    let share = |amount: Amount| ratio(amount.stored_bytes, amount.raw_bytes);
    share(before) < OPAQUE_SHARE
        && share(after) >= OPAQUE_SHARE
        && ratio(after.stored_bytes, after.rows) >= OPAQUE_OF_TEXT_BEFORE * ratio(before.raw_bytes, before.rows)
}

/// As the manifest writes it.
fn word(state: LedgerState) -> String {
    let word = match state {
        LedgerState::Dumped => "dumped",
        LedgerState::Structure => "structure",
        LedgerState::Excluded => "excluded",
        LedgerState::Unlogged => "unlogged",
        LedgerState::Foreign => "foreign",
        LedgerState::Temporary => "temporary",
        LedgerState::Extension => "extension",
        LedgerState::Denied => "denied",
    };
    word.to_owned()
}
