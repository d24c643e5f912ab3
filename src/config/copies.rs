//! The list `copies`: each entry a name and the settings of the section `repository`, with the same defaults and checks.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::error::{Error, Result};
use super::nearest::nearest;
use super::table::{SETTINGS, Setting};
use super::validate::check_kind;

pub(super) const KEY: &str = "copies";

const NAME: &str = "name";

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
            match setting_of(field) {
                Some(setting) => check_kind(&key, setting.kind, value)?,
                None => {
                    return Err(Error::Unknown {
                        what: "setting",
                        name: key,
                        nearest: nearest(field, fields_of_a_repository().map(|(field, _)| field.to_owned())),
                    });
                }
            }
        }
    }
    Ok(())
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
        for (field, setting) in fields_of_a_repository() {
            if let Some(default) = setting.default {
                fields.entry(field.to_owned()).or_insert_with(|| default.into());
            }
        }
        outer.insert("repository".to_owned(), fields.into());
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

fn setting_of(field: &str) -> Option<&'static Setting> {
    fields_of_a_repository()
        .find(|(name, _)| *name == field)
        .map(|(_, setting)| setting)
}

fn fields_of_a_repository() -> impl Iterator<Item = (&'static str, &'static Setting)> {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting.key.strip_prefix("repository.")?, setting)))
}
