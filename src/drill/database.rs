//! The database itself, the roles it refers to, its extensions, and what its backup does not cover.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::{DatabaseProperties, LedgerState};
use crate::postgres::databases::{read_database_properties, read_extensions};
use crate::postgres::role::read_roles;
use crate::repository::manifest::{Database, Table};

/// Encoding, locale, owner, privileges, settings and comment. The name is the target's own.
pub(super) async fn compare_properties(client: &Client, expected: &DatabaseProperties) -> Result<Vec<Check>> {
    let found = read_database_properties(client).await?;
    let mut findings = Findings::new(CheckName::Database);
    let object = format!("database {}", expected.name);
    let mut expect = |what: &str, expected: &str, found: &str| findings.expect(&object, expected, found, what);
    expect("encoding", &expected.encoding, &found.encoding);
    expect("collation", &expected.collate, &found.collate);
    expect("character classification", &expected.ctype, &found.ctype);
    expect("locale provider", &expected.locale_provider, &found.locale_provider);
    expect(
        "ICU locale",
        optional(expected.icu_locale.as_ref()),
        optional(found.icu_locale.as_ref()),
    );
    expect("owner", &expected.owner, &found.owner);
    expect("privileges", &sorted(&expected.acl), &sorted(&found.acl));
    expect(
        "comment",
        optional(expected.comment.as_ref()),
        optional(found.comment.as_ref()),
    );
    expect(
        "connection limit",
        &expected.connection_limit.to_string(),
        &found.connection_limit.to_string(),
    );
    expect("settings", &settings(expected), &settings(&found));
    let versions = match (&expected.collation_version, &found.collation_version) {
        (Some(source), Some(target)) if source != target => {
            format!("; collation version {source} at the source and {target} here: indexes were built here")
        }
        _ => String::new(),
    };
    Ok(findings.finish(format!(
        "{}, {}, owner {}{versions}",
        found.encoding, found.collate, found.owner
    )))
}

fn optional(text: Option<&String>) -> &str {
    text.map_or("(none)", String::as_str)
}

fn sorted(texts: &[String]) -> String {
    let texts: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
    Vec::from_iter(texts).join(" ")
}

fn settings(properties: &DatabaseProperties) -> String {
    let texts: Vec<String> = properties
        .settings
        .iter()
        .map(|setting| match &setting.role {
            Some(role) => format!("{} (role {role})", setting.setting),
            None => setting.setting.clone(),
        })
        .collect();
    sorted(&texts)
}

/// Every role that objects refer to exists. Attributes belong to the cluster and are not a database's.
pub(super) async fn compare_roles(client: &Client, expected: &[String]) -> Result<Vec<Check>> {
    let found: BTreeSet<String> = read_roles(client).await?.into_iter().map(|role| role.name).collect();
    let mut findings = Findings::new(CheckName::Roles);
    for role in expected.iter().filter(|role| !found.contains(*role)) {
        findings.differs(format!("role {role}"), "present", "missing", "");
    }
    Ok(findings.finish(format!("{} roles that objects refer to exist", expected.len())))
}

/// Extensions with schema and version. Under another major its own versions are what stock tools install, so a
/// difference is then told and does not fail.
pub(super) async fn compare_extensions(client: &Client, database: &Database, same_major: bool) -> Result<Vec<Check>> {
    let found: BTreeMap<String, (String, String)> = read_extensions(client)
        .await?
        .into_iter()
        .map(|extension| (extension.name, (extension.schema, extension.version)))
        .collect();
    let mut findings = Findings::new(CheckName::Extensions);
    let mut told = Vec::new();
    for expected in &database.head.extensions {
        let object = format!("extension {}", expected.name);
        let Some((schema, version)) = found.get(&expected.name) else {
            findings.differs(object, "installed", "missing", "");
            continue;
        };
        findings.expect(&object, &expected.schema, schema, "schema");
        if same_major {
            findings.expect(&object, &expected.version, version, "version");
        } else if expected.version != *version {
            told.push(format!("{} {} instead of {}", expected.name, version, expected.version));
        }
    }
    let mut figures = format!("{} extensions", database.head.extensions.len());
    if !told.is_empty() {
        figures = format!("{figures}; by the target's major: {}", told.join(", "));
    }
    Ok(findings.finish(figures))
}

/// The ledger without holes: every relation that should have rows here has them, nothing was denied.
pub(super) fn check_coverage(database: &Database) -> Vec<Check> {
    let mut findings = Findings::new(CheckName::Coverage);
    let stored: BTreeSet<_> = database.tables.iter().map(Table::name).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &database.ledger {
        let object = format!("{} {}", entry.kind, entry.name);
        let words = match entry.state {
            LedgerState::Dumped => "with rows",
            LedgerState::Structure => "without rows of their own",
            LedgerState::Excluded => "excluded",
            LedgerState::Unlogged => "unlogged",
            LedgerState::Foreign => "foreign",
            LedgerState::Temporary => "temporary",
            LedgerState::Extension => "of extensions",
            LedgerState::Denied => "denied",
        };
        *counts.entry(words).or_default() += 1;
        match entry.state {
            LedgerState::Denied => findings.differs(object, "readable", "denied", &entry.reason),
            LedgerState::Dumped if !stored.contains(&entry.name) => {
                findings.differs(object, "stored", "no rows in the backup", "");
            }
            _ => {}
        }
    }
    let accounted: BTreeSet<_> = database.ledger.iter().map(|entry| &entry.name).collect();
    for name in stored.difference(&accounted) {
        findings.differs(format!("table {name}"), "in the ledger", "missing", "");
    }
    let figures: Vec<String> = counts.iter().map(|(words, count)| format!("{count} {words}")).collect();
    findings.finish(format!("relations: {}", figures.join(", ")))
}

/// Relations whose rows no drill can prove, as `kind name (why)`: they stand in the verdict's first line.
#[must_use]
pub fn not_covered(database: &Database) -> Vec<String> {
    database
        .ledger
        .iter()
        .filter_map(|entry| {
            let why = match entry.state {
                LedgerState::Excluded => "excluded",
                LedgerState::Unlogged => "unlogged",
                LedgerState::Foreign => "foreign",
                LedgerState::Temporary => "temporary",
                LedgerState::Denied => "denied",
                LedgerState::Extension if entry.kind == "table" => "of an extension, which fills it itself",
                LedgerState::Dumped | LedgerState::Structure | LedgerState::Extension => return None,
            };
            Some(format!("{} {} ({why})", entry.kind, entry.name))
        })
        .collect()
}
