//! File and variables, merged by the `config` crate: defaults, then the file, then `KUBEBACKUP_*`.
//!
//! Every name is checked against the table before anything is merged, so that a slip of the pen is refused with the
//! nearest known name instead of being ignored.

use std::path::Path;

use config::{Config, File, FileFormat, Map, Value, ValueKind};

use super::copies;
use super::error::{Error, Result};
use super::nearest::nearest;
use super::settings::Settings;
use super::table::{Kind, SETTINGS, Setting};
use super::validate::{check_kind, validate};

const PREFIX: &str = "KUBEBACKUP_";

/// Variables of that prefix that are no settings: the file's path for `--config`, and what the demo and tests use.
const NO_SETTINGS: &[&str] = &[
    "KUBEBACKUP_CONFIG",
    "KUBEBACKUP_OUTPUT",
    "KUBEBACKUP_PG_BINDIR",
    #[cfg(feature = "demo")]
    "KUBEBACKUP_FAILPOINT",
    #[cfg(feature = "demo")]
    "KUBEBACKUP_CLOCK_FILE",
];

/// Reads and validates the settings of `file` (none: defaults) with the overrides among `variables`.
///
/// # Errors
/// Whatever is wrong first, naming the setting and the mend.
pub fn load(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings> {
    let mut builder = Config::builder();
    let internal = |error: config::ConfigError| Error::invalid("settings", format!("cannot be merged: {error}"));
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            builder = builder.set_default(setting.key, default).map_err(internal)?;
        }
    }
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let tree = check_file(path, &text)?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Yaml));
        if let Some(listed) = tree.get(copies::KEY) {
            builder = builder
                .set_override(copies::KEY, copies::complete(listed)?)
                .map_err(internal)?;
        }
    }
    for (name, value) in variables {
        if name.starts_with(PREFIX) && !NO_SETTINGS.contains(&name.as_str()) {
            let setting = setting_of(&name)?;
            let value = parse_variable(setting.kind, &value, &name)?;
            check_kind(&name, setting.kind, &value)?;
            builder = builder.set_override(setting.key, value).map_err(internal)?;
        }
    }
    let merged = builder.build().map_err(internal)?;
    let settings: Settings = merged.try_deserialize().map_err(internal)?;
    validate(&settings)?;
    Ok(settings)
}

fn check_file(path: &Path, text: &str) -> Result<Map<String, Value>> {
    let malformed = |error: config::ConfigError| Error::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    if let Some(reason) = beyond_the_parser(text) {
        return Err(Error::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
    let alone = Config::builder()
        .add_source(File::from_str(text, FileFormat::Yaml))
        .build()
        .map_err(malformed)?;
    let tree: Map<String, Value> = alone.try_deserialize().map_err(malformed)?;
    check_section("", &tree)?;
    Ok(tree)
}

/// No settings are larger, or refer to themselves more often.
const MAX_FILE_BYTES: usize = 256 * 1024;
const MAX_ALIASES: usize = 16;
const MAX_DASHES: usize = 64;

/// What the parser of the file would not survive, or would pass over without a word.
fn beyond_the_parser(text: &str) -> Option<&'static str> {
    let dashes = |line: &str| {
        line.split(' ')
            .filter(|word| !word.is_empty())
            .take_while(|word| *word == "-")
            .count()
    };
    // Not a pattern's or a cron expression's: those follow a dot or a quote, or have no name behind them.
    let is_alias =
        |at: &[u8]| b" \n[{,:".contains(&at[0]) && at[1] == b'*' && (at[2].is_ascii_alphanumeric() || at[2] == b'_');
    if text.contains('\0') {
        Some("it holds a zero byte, and what follows it would be lost")
    } else if text.len() > MAX_FILE_BYTES {
        Some("it is larger than 256 KiB")
    } else if text.as_bytes().windows(3).filter(|at| is_alias(at)).count() > MAX_ALIASES {
        Some("it holds more than 16 aliases ('*name'); write out what they stand for, and quote patterns")
    } else if text.lines().any(|line| dashes(line) > MAX_DASHES) {
        Some("it holds lists within lists beyond any measure")
    } else {
        None
    }
}

fn check_section(prefix: &str, section: &Map<String, Value>) -> Result<()> {
    for (name, value) in section {
        let key = format!("{prefix}{name}");
        let below = format!("{key}.");
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            check_kind(&key, setting.kind, value)?;
        } else if SETTINGS.iter().any(|setting| setting.key.starts_with(&below)) {
            match &value.kind {
                ValueKind::Table(inner) => check_section(&below, inner)?,
                _ => {
                    return Err(Error::invalid(
                        &key,
                        "is a section; give its settings below it, or leave it out",
                    ));
                }
            }
        } else {
            return Err(Error::Unknown {
                what: "setting",
                nearest: nearest(&key, SETTINGS.iter().map(|setting| setting.key.to_owned())),
                name: key,
            });
        }
    }
    Ok(())
}

fn setting_of(variable: &str) -> Result<&'static Setting> {
    let is_it = |setting: &&Setting| setting.variable().as_deref() == Some(variable);
    SETTINGS.iter().find(is_it).ok_or_else(|| Error::Unknown {
        what: "environment variable",
        name: variable.to_owned(),
        nearest: nearest(variable, SETTINGS.iter().filter_map(Setting::variable)),
    })
}

/// A variable's text as the file would say it: lists by commas, mappings as `a=b` by commas.
fn parse_variable(kind: Kind, text: &str, name: &str) -> Result<Value> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let value = match kind {
        Kind::TextList => items().map(ToOwned::to_owned).collect::<Vec<_>>().into(),
        Kind::TextMap => {
            let mut map = Map::new();
            for item in items() {
                let (key, value) = item.split_once('=').ok_or_else(|| {
                    Error::invalid(name, "must be pairs such as shop=shop_restored, separated by commas")
                })?;
                map.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            map.into()
        }
        _ => ValueKind::String(text.to_owned()),
    };
    Ok(Value::new(None, value))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong;
