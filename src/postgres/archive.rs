//! A `pg_dump` archive held in memory and what `pg_restore` does with it: list its entries, restore some of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;

use super::connect::ConnectOptions;
use super::error::{Error, Result};
use super::program::{ClientPrograms, MemoryFile};

/// Half of a database's definitions, before or after its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    PreData,
    PostData,
}

impl Section {
    fn argument(self) -> &'static str {
        match self {
            Self::PreData => "--section=pre-data",
            Self::PostData => "--section=post-data",
        }
    }
}

/// One entry of the archive's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocEntry {
    pub dump_id: u32,
    /// Its kind in `pg_dump`'s words: `TABLE`, `FK CONSTRAINT`, ...
    pub description: String,
    /// Schema, name and owner separated by blanks, all unquoted: unambiguous only against known names.
    pub label: String,
    /// Entries that it needs, where they are in the archive.
    pub dependencies: Vec<u32>,
}

impl TocEntry {
    /// Whether its schema is `schema` (`-` for none) and its name `tag`.
    #[must_use]
    pub fn is(&self, schema: &str, tag: &str) -> bool {
        self.after(&format!("{schema} {tag}")).is_some()
    }

    /// What follows `beginning` and a blank in its label.
    #[must_use]
    pub fn after(&self, beginning: &str) -> Option<&str> {
        self.label.strip_prefix(&sanitized(beginning))?.strip_prefix(' ')
    }

    /// The ways to read its label as `schema name` without the owner, longest first.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        self.label.rmatch_indices(' ').map(|(end, _)| &self.label[..end])
    }
}

/// How to restore entries.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveOptions {
    pub jobs: usize,
    pub tablespaces: bool,
}

/// An archive and the programs that read it.
#[derive(Debug)]
pub struct Archive {
    file: MemoryFile,
    programs: ClientPrograms,
    /// The server can notice that its client is gone, and shall.
    watch_for_lost_client: bool,
}

impl Archive {
    /// `watch_for_lost_client`: whether the target can (`load::watch_for_lost_client`).
    ///
    /// # Errors
    /// When the kernel gives no memory file.
    pub fn new(contents: &[u8], programs: ClientPrograms, watch_for_lost_client: bool) -> Result<Self> {
        Ok(Self {
            file: MemoryFile::new(contents)?,
            programs,
            watch_for_lost_client,
        })
    }

    /// All entries, of both sections, in the order in which they are restored.
    ///
    /// # Errors
    /// `pg_restore`'s, for example when the archive cannot be read.
    pub async fn list(&self) -> Result<Vec<TocEntry>> {
        // Only a verbose list says what depends on what, and it leaves no entry out whatever else is asked for.
        let arguments: Vec<OsString> = vec!["--list".into(), "--verbose".into(), self.file.path().into()];
        let printed = self.programs.run(&self.programs.pg_restore(), &arguments, None).await?;
        parse_list(&String::from_utf8_lossy(&printed.stdout))
    }

    /// Tablespaces that its objects were in, apart from their database's own.
    ///
    /// # Errors
    /// `pg_restore`'s.
    pub async fn tablespaces(&self) -> Result<BTreeSet<String>> {
        let arguments: Vec<OsString> = vec!["--file=-".into(), self.file.path().into()];
        let printed = self.programs.run(&self.programs.pg_restore(), &arguments, None).await?;
        Ok(tablespaces_of(&String::from_utf8_lossy(&printed.stdout)))
    }

    /// Restores those of `entries` that belong to `section`, in their order, into the database of `target`; subscriptions
    /// never. Returns what may be told of `pg_restore`'s remarks.
    ///
    /// # Errors
    /// `pg_restore`'s at the first entry that fails.
    pub async fn restore(
        &self,
        section: Section,
        entries: &[&TocEntry],
        target: &ConnectOptions,
        options: ArchiveOptions,
    ) -> Result<Vec<String>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = String::new();
        for entry in entries {
            let _ = writeln!(list, "{};", entry.dump_id);
        }
        let list = MemoryFile::new(list.as_bytes())?;
        let mut arguments: Vec<OsString> = vec![
            "--exit-on-error".into(),
            "--no-password".into(),
            "--no-subscriptions".into(),
            section.argument().into(),
            "--use-list".into(),
            list.path().into(),
            format!(
                "--dbname={}",
                connection_string(&target.database, self.watch_for_lost_client, self.programs.language())
            )
            .into(),
        ];
        if options.jobs > 1 {
            arguments.push(format!("--jobs={}", options.jobs).into());
        }
        if !options.tablespaces {
            arguments.push("--no-tablespaces".into());
        }
        arguments.push(self.file.path().into());
        let printed = self
            .programs
            .run(&self.programs.pg_restore(), &arguments, Some(target))
            .await?;
        Ok(printed.remarks())
    }
}

/// `pg_restore` takes a name with an `=` for a connection string, so it always gets one. A long CREATE INDEX of a
/// `pg_restore` that was killed must not keep the target busy. What stands here replaces PGOPTIONS, so the limit that
/// `pg_restore` does not lift itself is lifted here too: one of its sessions may wait for another's index.
fn connection_string(database: &str, watch_for_lost_client: bool, language: &str) -> String {
    let watch = if watch_for_lost_client {
        " -c client_connection_check_interval=1s"
    } else {
        ""
    };
    format!(
        "dbname='{}' options='-c idle_session_timeout=0 -c default_transaction_read_only=off{watch}{language}'",
        database.replace('\\', "\\\\").replace('\'', "\\'")
    )
}

/// `pg_restore` writes line breaks in names as blanks.
#[must_use]
pub fn sanitized(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// Kinds of more than one word, longest first where one begins another.
const LONG_DESCRIPTIONS: &[&str] = &[
    "ACCESS METHOD",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "LARGE OBJECT",
    "MATERIALIZED VIEW DATA",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLES IN SCHEMA",
    "PUBLICATION TABLE",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
];

/// Those that a script sets for what it creates next.
fn tablespaces_of(script: &str) -> BTreeSet<String> {
    script
        .lines()
        .filter_map(|line| line.strip_prefix("SET default_tablespace = ")?.strip_suffix(';'))
        .filter(|name| *name != "''")
        .map(|name| name.trim_matches('"').replace("\"\"", "\""))
        .collect()
}

fn parse_list(text: &str) -> Result<Vec<TocEntry>> {
    let mut entries: Vec<TocEntry> = Vec::new();
    for line in text.lines() {
        if let Some(ids) = line.strip_prefix(";\tdepends on:") {
            if let Some(entry) = entries.last_mut() {
                entry.dependencies = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
            }
        } else if !line.starts_with(';') && !line.trim().is_empty() {
            entries.push(
                parse_entry(line)
                    .ok_or_else(|| Error::Protocol("pg_restore --list printed a line of another shape".to_owned()))?,
            );
        }
    }
    Ok(entries)
}

/// `<dump id>; <class oid> <oid> <description> <schema> <name> <owner>`
fn parse_entry(line: &str) -> Option<TocEntry> {
    let (dump_id, rest) = line.split_once("; ")?;
    let mut words = rest.splitn(3, ' ');
    let (_class, _oid, rest) = (words.next()?, words.next()?, words.next()?);
    let description = LONG_DESCRIPTIONS
        .iter()
        .find(|description| {
            rest.strip_prefix(**description)
                .is_some_and(|rest| rest.starts_with(' '))
        })
        .copied()
        .or_else(|| rest.split(' ').next())?;
    Some(TocEntry {
        dump_id: dump_id.parse().ok()?,
        description: description.to_owned(),
        label: rest[description.len()..].trim_start_matches(' ').to_owned(),
        dependencies: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_what_they_depend_on() {
        let text = ";\n; Archive created at 2026\n;\n215; 1259 16389 TABLE public odd name owner\n;\tdepends on: 5 6\n\
                    3210; 2606 16400 FK CONSTRAINT public orders orders_customer_fkey owner\n";
        let entries = parse_list(text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].dependencies, [5, 6]);
        assert!(entries[0].is("public", "odd name"));
        assert!(!entries[0].is("public", "od"));
        assert_eq!(entries[1].description, "FK CONSTRAINT");
        assert_eq!(entries[1].after("public orders"), Some("orders_customer_fkey owner"));
        assert!(entries[0].readings().any(|reading| reading == "public odd name"));
        assert!(parse_list("nonsense\n").is_err());
    }

    #[test]
    fn tablespaces_are_those_that_the_script_sets() {
        let script = "SET default_tablespace = '';\nSET default_tablespace = fast;\nCREATE TABLE t ();\n\
                      SET default_tablespace = \"Odd \"\"one\";\nSET default_tablespace = fast;\n";
        assert_eq!(Vec::from_iter(tablespaces_of(script)), ["Odd \"one", "fast"]);
    }
}
