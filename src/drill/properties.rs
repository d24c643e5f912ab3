//! The database itself: encoding, locale, owner, privileges, settings and comment.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::DatabaseProperties;
use crate::postgres::databases::read_database_properties;

/// All of them but the name, which is the target's own.
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
