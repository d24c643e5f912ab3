//! The list `copies`: each entry a name, the settings of the section `repository`, and perhaps retention of its own, with
//! the same defaults and checks.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::error::{Error, Result};
use super::nearest::nearest;
use super::table::{Kind, SETTINGS, Setting};
use super::validate::check_kind;

pub(super) const KEY: &str = "copies";

const NAME: &str = "name";

/// Whether the backup agent fills it.
const AFTER_BACKUP: &str = "after_backup";

/// Sections that an entry may have for itself. What one leaves open holds the default, not what the outer section says.
const SECTIONS: [&str; 2] = ["retention", "prune"];

/// Checks the list as it stands in a file.
pub(super) fn check(listed: &Value) -> Result<()> {
    let mut names = BTreeSet::new();
    for (number, entry) in entries(listed)?.into_iter().enumerate() {
        let place = format!("{KEY}[{number}]");
        let ValueKind::Table(fields) = &entry.kind else {
            return Err(Error::invalid(
                &place,
                "must be a mapping with a name and a bucket or directory",
            ));
        };
        let Some(ValueKind::String(name)) = fields.get(NAME).map(|name| &name.kind) else {
            return Err(Error::invalid(&place, "has no name; every copy needs one, a text"));
        };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            let problem = "must be letters, digits, dots, hyphens and underscores";
            return Err(Error::invalid(&format!("{place}.{NAME}"), problem));
        }
        if !names.insert(name.clone()) {
            return Err(Error::invalid(
                &place,
                format!("has the name '{name}' of an earlier entry"),
            ));
        }
        for (field, value) in fields.iter().filter(|(field, _)| *field != NAME) {
            let key = format!("{place}.{field}");
            match field.as_str() {
                AFTER_BACKUP => check_kind(&key, Kind::Flag, value)?,
                section if SECTIONS.contains(&section) => check_section(&key, section, value)?,
                field => check_field(&key, "repository", field, value)?,
            }
        }
    }
    Ok(())
}

fn check_section(key: &str, section: &str, value: &Value) -> Result<()> {
    let ValueKind::Table(fields) = &value.kind else {
        return Err(Error::invalid(
            key,
            "is a section; give its settings below it, or leave it out",
        ));
    };
    fields
        .iter()
        .try_for_each(|(field, value)| check_field(&format!("{key}.{field}"), section, field, value))
}

fn check_field(key: &str, section: &str, field: &str, value: &Value) -> Result<()> {
    if let Some((_, setting)) = fields_of(section).find(|(name, _)| *name == field) {
        return check_kind(key, setting.kind, value);
    }
    let own = [NAME, AFTER_BACKUP].into_iter().chain(SECTIONS);
    let own = own.filter(|_| section == "repository");
    let known = own.chain(fields_of(section).map(|(name, _)| name));
    Err(Error::Unknown {
        what: "setting",
        name: key.to_owned(),
        nearest: nearest(field, known.map(str::to_owned)),
    })
}

/// The checked list as the structs want it: what an entry leaves open holds the default.
pub(super) fn complete(listed: &Value) -> Result<Value> {
    let complete = |entry: Value| {
        let ValueKind::Table(mut fields) = entry.kind else {
            return entry;
        };
        let mut outer = Map::new();
        if let Some(name) = fields.remove(NAME) {
            outer.insert(NAME.to_owned(), name);
        }
        let after_backup = fields.remove(AFTER_BACKUP).unwrap_or_else(|| true.into());
        outer.insert(AFTER_BACKUP.to_owned(), after_backup);
        for section in SECTIONS {
            if let Some(ValueKind::Table(own)) = fields.remove(section).map(|own| own.kind) {
                outer.insert(section.to_owned(), with_defaults(section, own));
            }
        }
        outer.insert("repository".to_owned(), with_defaults("repository", fields));
        outer.into()
    };
    let entries: Vec<Value> = entries(listed)?.into_iter().map(complete).collect();
    Ok(entries.into())
}

fn entries(listed: &Value) -> Result<Vec<Value>> {
    match &listed.kind {
        ValueKind::Array(entries) => Ok(entries.clone()),
        _ => Err(Error::invalid(KEY, "must be a list of mappings, each with a name")),
    }
}

fn with_defaults(section: &str, mut fields: Map<String, Value>) -> Value {
    for (field, setting) in fields_of(section) {
        if let Some(default) = setting.default {
            fields.entry(field.to_owned()).or_insert_with(|| default.into());
        }
    }
    fields.into()
}

/// The settings of a section, by their names in it.
fn fields_of(section: &str) -> impl Iterator<Item = (&'static str, &'static Setting)> {
    SETTINGS.iter().filter_map(move |setting| {
        let field = setting.key.strip_prefix(section)?.strip_prefix('.')?;
        Some((field, setting))
    })
}
