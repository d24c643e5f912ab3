//! Definitions as entries of `pg_dump --schema-only` plain text, and their comparison.
//!
//! A faithful restore does not deparse to its source's text, but one round of dump and restore is a fixed point. So what
//! is compared are two dumps of restored databases on one server: the target, and a scratch database (`scratch`) that stock
//! `pg_restore` loaded from the same archive. Entries are found by the headers that `pg_dump` writes; their order says
//! nothing. Bodies are compared but never shown: they may hold options of foreign servers and literals of any kind.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::connect::ConnectOptions;
use super::error::{Error, Result};
use super::program::ClientPrograms;

/// What is wrong with one entry of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    Missing,
    Extra,
    Changed,
}

/// An entry in which the target is not like the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionDifference {
    /// `TYPE schema.name`, for example `INDEX app.account_rich`.
    pub entry: String,
    pub kind: DifferenceKind,
}

/// What a comparison of definitions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionComparison {
    /// Entries that the archive defines.
    pub entries: usize,
    pub differences: Vec<DefinitionDifference>,
}

/// `pg_dump --schema-only` of a database as plain text, owners and privileges included.
///
/// # Errors
/// `Error::Program` with `pg_dump`'s words.
pub async fn dump_definitions(options: &ConnectOptions, programs: &ClientPrograms) -> Result<String> {
    let arguments = [
        "--schema-only",
        "--no-tablespaces",
        "--no-subscriptions",
        "--encoding=UTF8",
        "--no-password",
    ];
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let printed = match programs.run(&programs.pg_dump(), &arguments, Some(options)).await {
        // SQL_ASCII and broken text cannot be converted: both sides of a comparison then come as they are stored.
        Err(Error::Program { message, .. }) if message.words().contains("encoding") => {
            let arguments: Vec<OsString> = arguments
                .into_iter()
                .filter(|argument| argument != "--encoding=UTF8")
                .collect();
            programs.run(&programs.pg_dump(), &arguments, Some(options)).await?
        }
        other => other?,
    };
    Ok(String::from_utf8_lossy(&printed.stdout).into_owned())
}

/// Begins the name under which a table's access method is compared, which `pg_dump` writes outside of its entry.
const ACCESS_METHOD: &str = "access method of ";

/// Names every entry in which `target` differs from `scratch`, both as printed by [`dump_definitions`].
#[must_use]
pub fn compare_definitions(target: &str, scratch: &str) -> DefinitionComparison {
    let found = entries(target);
    let expected = entries(scratch);
    let mut differences = Vec::new();
    for (entry, bodies) in &expected {
        let kind = match found.get(entry) {
            None => DifferenceKind::Missing,
            Some(found) if found != bodies => DifferenceKind::Changed,
            Some(_) => continue,
        };
        differences.push(difference(entry, kind));
    }
    let extra = found.keys().filter(|entry| !expected.contains_key(*entry));
    differences.extend(extra.map(|entry| difference(entry, DifferenceKind::Extra)));
    differences.sort();
    DefinitionComparison {
        entries: expected
            .iter()
            .filter(|(entry, _)| !entry.starts_with(ACCESS_METHOD))
            .map(|(_, bodies)| bodies.len())
            .sum(),
        differences,
    }
}

fn difference(entry: &str, kind: DifferenceKind) -> DefinitionDifference {
    DefinitionDifference {
        entry: entry.to_owned(),
        kind,
    }
}

/// Bodies by entry name, sorted: overloaded operators share a name.
fn entries(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current: Option<(String, Vec<&str>)> = None;
    let mut access_method = String::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut position = 0;
    while position < lines.len() {
        if let Some(header) = header_at(&lines[position..]) {
            close(&mut entries, current.take(), &mut access_method);
            current = Some((entry_name(header), vec![header]));
            if header.contains("; Type: TABLE;") || header.contains("; Type: MATERIALIZED VIEW;") {
                // Said by a SET before the entry, wherever the last change was.
                entries
                    .entry(format!("{ACCESS_METHOD}{}", entry_name(header)))
                    .or_default()
                    .push(access_method.clone());
            }
            position += 3;
        } else {
            if let Some((_, body)) = &mut current {
                body.push(lines[position]);
            }
            position += 1;
        }
    }
    close(&mut entries, current.take(), &mut access_method);
    for bodies in entries.values_mut() {
        bodies.sort();
    }
    entries
}

/// Ends an entry. Settings that `pg_dump` writes between two entries belong to neither.
fn close(entries: &mut BTreeMap<String, Vec<String>>, entry: Option<(String, Vec<&str>)>, access_method: &mut String) {
    let Some((name, mut body)) = entry else { return };
    while let Some(last) = body.last() {
        let between = last.is_empty()
            || *last == "--"
            || last.starts_with("SET default_tablespace = ")
            || last.starts_with("-- PostgreSQL database dump complete")
            || last.starts_with("\\unrestrict ");
        let method = last.strip_prefix("SET default_table_access_method = ");
        if let Some(method) = method {
            method.clone_into(access_method);
        }
        if !between && method.is_none() {
            break;
        }
        body.pop();
    }
    entries.entry(name).or_default().push(body.join("\n"));
}

/// `Name: ..; Type: ..; Schema: ..; Owner: ..` when the lines begin with an entry's header.
fn header_at<'text>(lines: &[&'text str]) -> Option<&'text str> {
    match lines {
        ["--", middle, "--", ..] => middle.strip_prefix("-- ").filter(|header| header.starts_with("Name: ")),
        _ => None,
    }
}

/// The owner is part of the body, not of the name: another owner is a change.
fn entry_name(header: &str) -> String {
    let parts = || {
        let header = header.rsplit_once("; Owner: ").map_or(header, |(before, _)| before);
        let (before, schema) = header.rsplit_once("; Schema: ")?;
        let (name, kind) = before.rsplit_once("; Type: ")?;
        Some((name.strip_prefix("Name: ")?, kind, schema))
    };
    match parts() {
        Some((name, kind, "-")) => format!("{kind} {name}"),
        Some((name, kind, schema)) => format!("{kind} {schema}.{name}"),
        None => header.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 15\n\n";

    fn entry(name: &str, kind: &str, owner: &str, body: &str) -> String {
        format!("--\n-- Name: {name}; Type: {kind}; Schema: app; Owner: {owner}\n--\n\n{body}\n\n\n")
    }

    fn compared(target: &[String], scratch: &[String]) -> Vec<(String, DifferenceKind)> {
        let text = |entries: &[String]| {
            format!(
                "{HEAD}{}--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n",
                entries.concat()
            )
        };
        compare_definitions(&text(target), &text(scratch))
            .differences
            .into_iter()
            .map(|difference| (difference.entry, difference.kind))
            .collect()
    }

    #[test]
    fn order_and_random_lines_say_nothing() {
        let (one, two) = (
            entry("a", "VIEW", "o", "CREATE VIEW a"),
            entry("b", "VIEW", "o", "CREATE VIEW b"),
        );
        assert_eq!(compared(&[one.clone(), two.clone()], &[two, one]), []);
    }

    #[test]
    fn missing_extra_and_changed_entries_are_named() {
        let same = entry("a", "VIEW", "o", "CREATE VIEW a");
        let (missing, extra) = (entry("m", "INDEX", "o", "x"), entry("e", "INDEX", "o", "x"));
        let (before, after) = (entry("c", "VIEW", "o", "1"), entry("c", "VIEW", "other", "1"));
        assert_eq!(
            compared(&[same.clone(), extra, after], &[same, missing, before]),
            [
                ("INDEX app.e".to_owned(), DifferenceKind::Extra),
                ("INDEX app.m".to_owned(), DifferenceKind::Missing),
                ("VIEW app.c".to_owned(), DifferenceKind::Changed),
            ]
        );
    }

    #[test]
    fn overloads_that_share_a_name_are_told_apart_by_their_bodies() {
        let (int, text) = (entry("=", "OPERATOR", "o", "int"), entry("=", "OPERATOR", "o", "text"));
        assert_eq!(compared(&[int.clone(), text.clone()], &[text.clone(), int.clone()]), []);
        let changed = [("OPERATOR app.=".to_owned(), DifferenceKind::Changed)];
        assert_eq!(compared(std::slice::from_ref(&int), &[int.clone(), text]), changed);
    }

    #[test]
    fn a_tables_access_method_counts_wherever_it_was_set() {
        let before = entry("v", "VIEW", "o", "1\n\nSET default_table_access_method = heap;");
        let other = entry("v", "VIEW", "o", "1\n\nSET default_table_access_method = columnar;");
        let table = entry("t", "TABLE", "o", "CREATE TABLE t");
        let changed = [("access method of TABLE app.t".to_owned(), DifferenceKind::Changed)];
        assert_eq!(compared(&[before, table.clone()], &[other, table]), changed);
    }
}
