//! What the model knows: every state that the source was in, and for every backup which of them it must hold.
//!
//! A state is told by PostgreSQL alone: contents digested by SQL (`support::oracle`), definitions by stock `pg_dump`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::rc::Rc;

use kubebackup::demo::Cluster;

use crate::support::oracle::{self, Contents};

/// A database at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    contents: Contents,
    definitions: String,
}

impl State {
    #[track_caller]
    pub(super) fn of(cluster: &Cluster, database: &str) -> Rc<Self> {
        let mut contents = oracle::contents(cluster, database);
        // A restore computes them anew, however stale they were: that they are filled is all that is promised.
        let views = contents
            .iter_mut()
            .filter(|(name, _)| name.starts_with("materialized view "));
        views.for_each(|(_, digest)| "filled".clone_into(digest));
        Rc::new(Self {
            contents,
            definitions: definitions(cluster, database),
        })
    }

    /// In words; empty where there are none.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = oracle::differences(&self.contents, &found.contents);
        let lines = |state: &Self| state.definitions.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (expected, found_lines) = (lines(self), lines(found));
        differences.extend(expected.difference(&found_lines).map(|line| format!("missing: {line}")));
        differences.extend(
            found_lines
                .difference(&expected)
                .map(|line| format!("too much: {line}")),
        );
        if differences.is_empty() && self.definitions != found.definitions {
            differences.push("definitions in another order".to_owned());
        }
        differences
    }
}

#[track_caller]
fn definitions(cluster: &Cluster, database: &str) -> String {
    let dump = Command::new(cluster.bin_directory().join("pg_dump"))
        .args(["--schema-only", "-d", &cluster.dsn(cluster.superuser(), database)])
        .env("PGPASSWORD", cluster.password())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8(dump.stdout).unwrap();
    // Random in newer minors.
    let is_kept = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    text.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

/// A backup that exists.
#[derive(Debug)]
pub(super) struct Known {
    /// It must hold one of these; several only where it began beside a write.
    pub(super) states: Vec<Rc<State>>,
    /// Every object that it refers to.
    pub(super) keys: BTreeSet<String>,
    /// It was restored and was what it must be.
    pub(super) is_checked: bool,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) backups: BTreeMap<String, Known>,
    /// Those that have expired; a copy may still be there.
    pub(super) gone: BTreeMap<String, Known>,
    /// What each backup of the second repository refers to.
    pub(super) there: BTreeMap<String, BTreeSet<String>>,
    /// Objects in which a bit is wrong or that are gone, each with what it held.
    pub(super) damaged: BTreeMap<String, Vec<u8>>,
    /// Those that are gone.
    pub(super) lost: BTreeSet<String>,
    /// Backups that a drill has failed although they are sound, since the rebuilt database was changed behind its back.
    pub(super) slandered: BTreeSet<String>,
    pub(super) held: BTreeSet<String>,
}

impl Truth {
    pub(super) fn is_damaged(&self, backup_id: &str) -> bool {
        let known = self.backups.get(backup_id);
        known.is_some_and(|known| known.keys.iter().any(|key| self.damaged.contains_key(key)))
    }

    pub(super) fn newest(&self) -> Option<String> {
        self.backups.keys().next_back().cloned()
    }

    /// One of those that exist.
    pub(super) fn pick(&self, number: u64) -> Option<String> {
        let many = self.backups.len() as u64;
        (many > 0).then(|| {
            self.backups
                .keys()
                .nth(usize::try_from(number % many).unwrap())
                .cloned()
        })?
    }
}
