//! Which entries of the archive a selection needs: the chosen objects, what hangs on them, and what they lean on.
//!
//! `pg_restore -t` brings neither indexes nor constraints nor sequences. Here a pure function walks the archive's own
//! dependencies both ways: everything that is part of a chosen relation comes along (never a foreign key of another
//! table), and types, functions and the like that it needs come along where the target does not have them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Error, Result};
use super::options::Selection;
use super::preflight::Problem;
use crate::content::{LedgerEntry, QualifiedName};
use crate::postgres::archive::{TocEntry, sanitized};
use crate::postgres::present::Present;
use crate::repository::manifest::{Database, Table};

/// What to restore of one database.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) is_everything: bool,
    /// In the archive's order, without event triggers.
    pub(super) entries: Vec<TocEntry>,
    /// Last of all, with their comments: they would fire on what comes before them.
    pub(super) event_triggers: Vec<TocEntry>,
    relations: BTreeSet<QualifiedName>,
}

impl Chosen {
    pub(super) fn everything(entries: Vec<TocEntry>) -> Self {
        let triggers: BTreeSet<u32> = entries
            .iter()
            .filter(|entry| entry.description == "EVENT TRIGGER")
            .map(|entry| entry.dump_id)
            .collect();
        let (event_triggers, entries) = entries.into_iter().partition(|entry| {
            let mut ids = entry.dependencies.iter().chain([&entry.dump_id]);
            ids.any(|id| triggers.contains(id))
        });
        Self {
            is_everything: true,
            entries,
            event_triggers,
            relations: BTreeSet::new(),
        }
    }

    /// Whether a table, sequence or materialized view is among what is restored.
    pub(super) fn has(&self, name: &QualifiedName) -> bool {
        self.is_everything || self.relations.contains(name)
    }

    /// Takes the entries that create schemas out of the others.
    pub(super) fn take_schemas(&mut self) -> Vec<TocEntry> {
        let entries = std::mem::take(&mut self.entries);
        let (schemas, others) = entries.into_iter().partition(|entry| entry.description == "SCHEMA");
        self.entries = others;
        schemas
    }

    /// The chosen relations; none when everything is restored.
    pub(super) fn relations(&self) -> impl Iterator<Item = &QualifiedName> {
        self.relations.iter()
    }

    /// The stored tables that are restored.
    pub(super) fn tables<'a>(&'a self, database: &'a Database) -> impl Iterator<Item = &'a Table> {
        database.tables.iter().filter(|table| self.has(table.name()))
    }
}

/// Chooses the entries of `selection`; what is left out of it for a reason is added to `skipped`.
///
/// # Errors
/// `Error::Selection` when something chosen is not in the backup or cannot stand without what is neither chosen nor
/// there; `Error::Preflight` when something chosen would overwrite.
pub(super) fn choose(
    entries: &[TocEntry],
    ledger: &[LedgerEntry],
    present: &Present,
    selection: &Selection,
    skipped: &mut Vec<String>,
) -> Result<Chosen> {
    let mut choice = Choice::new(entries, ledger, present);
    choice.seed(selection)?;
    choice.grow();
    choice.attach(skipped);
    choice.settle(skipped)?;
    choice.refuse_conflicts()?;
    let relations = choice.chosen.iter().filter_map(|&index| choice.relation(index));
    Ok(Chosen {
        is_everything: false,
        relations: relations.cloned().collect(),
        entries: choice.chosen.iter().map(|&index| entries[index].clone()).collect(),
        event_triggers: Vec::new(),
    })
}

const RELATIONS: &[&str] = &["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];

/// Come along with whatever they depend on.
const REMARKS: &[&str] = &["ACL", "COMMENT", "SECURITY LABEL"];

/// Come along with the relation that they depend on.
const SATELLITES: &[&str] = &["INDEX", "SEQUENCE", "SEQUENCE OWNED BY", "STATISTICS"];

/// Come along with the relation that their label begins with, and with no other.
const PARTS: &[&str] = &[
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "TRIGGER",
];

/// A relation stands without these when what they refer to is missing.
const EXPENDABLE: &[&str] = &["FK CONSTRAINT", "POLICY", "RULE", "TRIGGER"];

/// Belong to publications and to the whole database, not to the schema that their label names.
const FOREIGN_TO_SCHEMAS: &[&str] = &["PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"];

struct Choice<'a> {
    entries: &'a [TocEntry],
    present: &'a Present,
    by_id: BTreeMap<u32, usize>,
    dependents: BTreeMap<u32, Vec<usize>>,
    /// Relations of the source by the label `schema name`.
    names: BTreeMap<String, &'a QualifiedName>,
    schemas: BTreeSet<&'a str>,
    chosen: BTreeSet<usize>,
    waiting: Vec<usize>,
}

impl<'a> Choice<'a> {
    fn new(entries: &'a [TocEntry], ledger: &'a [LedgerEntry], present: &'a Present) -> Self {
        let mut dependents: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            for &id in &entry.dependencies {
                dependents.entry(id).or_default().push(index);
            }
        }
        let label = |name: &QualifiedName| sanitized(&format!("{} {}", name.schema, name.name));
        Self {
            entries,
            present,
            by_id: (0..)
                .zip(entries)
                .map(|(index, entry)| (entry.dump_id, index))
                .collect(),
            dependents,
            names: ledger.iter().map(|entry| (label(&entry.name), &entry.name)).collect(),
            schemas: ledger.iter().map(|entry| entry.name.schema.as_str()).collect(),
            chosen: BTreeSet::new(),
            waiting: Vec::new(),
        }
    }

    fn seed(&mut self, selection: &Selection) -> Result<()> {
        for name in &selection.tables {
            let is_it = |entry: &TocEntry| {
                RELATIONS.contains(&entry.description.as_str()) && entry.is(&name.schema, &name.name)
            };
            let Some(index) = self.entries.iter().position(is_it) else {
                return Err(Error::Selection(format!("{name} is not in this backup")));
            };
            self.add(index);
        }
        for schema in &selection.schemas {
            let members: Vec<usize> = (0..self.entries.len())
                .filter(|&index| self.is_in_schema(&self.entries[index], schema))
                .collect();
            if members.is_empty() {
                return Err(Error::Selection(format!("schema {schema} is not in this backup")));
            }
            for index in members {
                self.add(index);
            }
        }
        Ok(())
    }

    fn is_in_schema(&self, entry: &TocEntry, schema: &str) -> bool {
        if FOREIGN_TO_SCHEMAS.contains(&entry.description.as_str()) {
            return false;
        }
        let is_schema_itself = match entry.description.as_str() {
            "SCHEMA" => entry.is("-", schema),
            "ACL" | "COMMENT" => entry.is("-", &format!("SCHEMA {schema}")),
            _ => false,
        };
        if is_schema_itself {
            return self.present.has(entry) != Some(true) && !self.has_schema(schema);
        }
        // A longer schema may begin with this one's name and a blank.
        let is_of_longer = self
            .schemas
            .iter()
            .any(|longer| longer.len() > schema.len() && longer.starts_with(schema) && entry.after(longer).is_some());
        entry.after(schema).is_some() && !is_of_longer
    }

    fn has_schema(&self, schema: &str) -> bool {
        self.present.has(&TocEntry {
            dump_id: 0,
            description: "SCHEMA".to_owned(),
            label: format!("- {} ", sanitized(schema)),
            dependencies: Vec::new(),
        }) == Some(true)
    }

    /// The relation that an entry makes.
    fn relation(&self, index: usize) -> Option<&'a QualifiedName> {
        let entry = &self.entries[index];
        RELATIONS
            .contains(&entry.description.as_str())
            .then(|| entry.readings().find_map(|reading| self.names.get(reading).copied()))?
    }

    fn add(&mut self, index: usize) {
        if self.chosen.insert(index) {
            self.waiting.push(index);
        }
    }

    /// Both ways, until nothing more is needed.
    fn grow(&mut self) {
        while let Some(index) = self.waiting.pop() {
            let dependents = self.dependents.get(&self.entries[index].dump_id).cloned();
            for dependent in dependents.into_iter().flatten() {
                if self.comes_along(dependent, index) {
                    self.add(dependent);
                }
                self.add_partition(dependent, index);
            }
            for needed in self.needs(index) {
                let entry = &self.entries[needed];
                let is_helper = !RELATIONS.contains(&entry.description.as_str()) || entry.description == "SEQUENCE";
                if is_helper && self.present.has(entry) == Some(false) && entry.description != "INDEX" {
                    self.add(needed);
                }
            }
        }
    }

    fn needs(&self, index: usize) -> Vec<usize> {
        let ids = self.entries[index].dependencies.iter();
        ids.filter_map(|id| self.by_id.get(id).copied()).collect()
    }

    fn comes_along(&self, dependent: usize, with: usize) -> bool {
        let entry = &self.entries[dependent];
        let description = entry.description.as_str();
        let Some(relation) = self.relation(with) else {
            return REMARKS.contains(&description);
        };
        REMARKS.contains(&description)
            || SATELLITES.contains(&description)
            || PARTS.contains(&description) && entry.is(&relation.schema, &relation.name)
    }

    /// `TABLE ATTACH` names first the partition, then its parent: with the parent come all partitions.
    fn add_partition(&mut self, attach: usize, parent: usize) {
        if self.entries[attach].description == "TABLE ATTACH"
            && let [child, rest @ ..] = self.needs(attach).as_slice()
            && rest.contains(&parent)
        {
            self.add(*child);
        }
    }

    /// Attaches what was chosen on both sides, and says which partitions stay tables of their own.
    fn attach(&mut self, skipped: &mut Vec<String>) {
        for (index, entry) in self.entries.iter().enumerate() {
            if !["TABLE ATTACH", "INDEX ATTACH"].contains(&entry.description.as_str()) {
                continue;
            }
            let needs = self.needs(index);
            if needs.iter().all(|needed| self.chosen.contains(needed)) {
                self.chosen.insert(index);
            } else if entry.description == "TABLE ATTACH"
                && let Some(&child) = needs.first()
                && self.chosen.contains(&child)
            {
                self.chosen.remove(&index);
                let text = format!(
                    "attaching partition {}: its parent was not chosen",
                    tag(&self.entries[child])
                );
                skipped.push(text);
            } else {
                self.chosen.remove(&index);
            }
        }
    }

    /// Leaves out what refers to relations that will not be there; what cannot stand without one is an error.
    fn settle(&mut self, skipped: &mut Vec<String>) -> Result<()> {
        for index in self.chosen.clone() {
            let entry = &self.entries[index];
            let missing = self.needs(index).into_iter().find(|&needed| {
                RELATIONS.contains(&self.entries[needed].description.as_str())
                    && !self.chosen.contains(&needed)
                    && self.present.has(&self.entries[needed]) != Some(true)
                    && !self.is_partition_of(index, needed)
            });
            let Some(missing) = missing else { continue };
            let (what, other) = (tag(entry), tag(&self.entries[missing]));
            if !EXPENDABLE.contains(&entry.description.as_str()) {
                return Err(Error::Selection(format!(
                    "{what} needs {other}, which was not chosen and is not in the target; choose it too"
                )));
            }
            self.chosen.remove(&index);
            let satellites = self.dependents.get(&entry.dump_id).into_iter().flatten();
            satellites.for_each(|satellite| {
                self.chosen.remove(satellite);
            });
            let kind = entry.description.to_lowercase();
            skipped.push(format!(
                "{kind} {what}: {other} was not chosen and is not in the target"
            ));
        }
        let is_chosen = |id: &u32| self.by_id.get(id).is_some_and(|index| self.chosen.contains(index));
        for entry in self.entries {
            if entry.description == "PUBLICATION TABLE" && entry.dependencies.iter().any(is_chosen) {
                skipped.push(format!(
                    "publication {}: add the table to it where it is wanted",
                    tag(entry)
                ));
            }
        }
        Ok(())
    }

    /// A partition is created as a table of its own and attached later.
    fn is_partition_of(&self, child: usize, parent: usize) -> bool {
        let id = self.entries[child].dump_id;
        self.dependents.get(&id).into_iter().flatten().any(|&dependent| {
            let attach = &self.entries[dependent];
            attach.description == "TABLE ATTACH" && attach.dependencies.contains(&self.entries[parent].dump_id)
        })
    }

    /// Whatever is created must not be there, names of indexes included.
    fn refuse_conflicts(&self) -> Result<()> {
        let conflicts: Vec<String> = self
            .chosen
            .iter()
            .map(|&index| &self.entries[index])
            .filter(|entry| self.present.has(entry) == Some(true) || self.index_of_constraint_exists(entry))
            .map(|entry| format!("{} {}", entry.description.to_lowercase(), tag(entry)))
            .collect();
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(Error::Preflight(vec![Problem::ChosenExist(conflicts)]))
        }
    }

    /// A primary key or unique constraint has an index of its name.
    fn index_of_constraint_exists(&self, entry: &TocEntry) -> bool {
        entry.description == "CONSTRAINT"
            && entry.readings().any(|reading| {
                reading.match_indices(' ').any(|(end, _)| {
                    let table = self.names.get(&reading[..end]);
                    table.is_some_and(|table| {
                        self.present
                            .has_relation(&format!("{} {}", table.schema, &reading[end + 1..]))
                    })
                })
            })
    }
}

/// An entry's label for people, without its owner (its last word, for all but the oddest role names).
fn tag(entry: &TocEntry) -> &str {
    let tag = entry
        .label
        .rsplit_once(' ')
        .map_or(entry.label.as_str(), |(tag, _)| tag);
    tag.strip_prefix("- ").unwrap_or(tag)
}
