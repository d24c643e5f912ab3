//! What a backup run may and should do.

use std::path::PathBuf;
use std::time::Duration;

use crate::content::QualifiedName;
use crate::postgres::snapshot::SnapshotOptions;
use crate::repository::Lease;

/// How large chunks are and where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No chunk of a large table ends before this many raw bytes.
    pub min_bytes: usize,
    /// Where a chunk ends on average.
    pub mean_bytes: usize,
    /// No chunk grows beyond this, unless a single row does.
    pub max_bytes: usize,
}

impl Default for ChunkSizes {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            min_bytes: 2 * MIB,
            mean_bytes: 7 * MIB,
            max_bytes: 10 * MIB,
        }
    }
}

/// Who goes first, the backup or what else the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceOption {
    /// The backup reads as fast as it can.
    Full,
    /// It pauses as the server needs it.
    Polite,
}

/// Settings of one backup run.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// The cluster's name in the repository; backups of one name form one line of predecessors.
    pub cluster: String,
    /// Databases by name; none means all that take connections and are no templates.
    pub databases: Option<Vec<String>>,
    /// Tables whose rows are left out: `schema.table`, `*` and `?` as wildcards in either part.
    pub exclude_tables: Vec<TablePattern>,
    /// Store rows of unlogged tables too.
    pub include_unlogged: bool,
    pub jobs: usize,
    pub pace: PaceOption,
    /// zstd level.
    pub compression_level: i32,
    pub chunks: ChunkSizes,
    /// A table is copied in parts when it is at least this large and too large a share for the jobs to balance.
    pub split_table_bytes: u64,
    /// Heap blocks of one part.
    pub part_blocks: u32,
    pub snapshot: SnapshotOptions,
    /// The whole run ends after this, without a backup: it bounds how long the snapshot holds back VACUUM.
    pub max_duration: Duration,
    /// Give way when sessions have waited this long for the backup's locks.
    pub max_blocking: Duration,
    /// Read-only queries whose answers must be the same after the restore.
    pub assertions: Vec<AssertionQuery>,
    /// What of an earlier backup must not be missing.
    pub drift: DriftOptions,
    /// Directory of `pg_dump` and `pg_restore`; found by itself when none.
    pub bin_directory: Option<PathBuf>,
    /// Kept during the run, which ends when it is lost. Whoever acquired it releases it.
    pub lease: Option<Lease>,
}

impl BackupOptions {
    /// The defaults, for the cluster of that name.
    #[must_use]
    pub fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            databases: None,
            exclude_tables: Vec::new(),
            include_unlogged: false,
            jobs: 2,
            pace: PaceOption::Full,
            compression_level: 1,
            chunks: ChunkSizes::default(),
            split_table_bytes: 8 * 1024 * 1024 * 1024,
            part_blocks: 65_536,
            snapshot: SnapshotOptions {
                lock_timeout: Duration::from_secs(10),
                attempts: 5,
            },
            max_duration: Duration::from_hours(6),
            max_blocking: Duration::from_secs(30),
            assertions: Vec::new(),
            drift: DriftOptions::default(),
            bin_directory: None,
            lease: None,
        }
    }
}

/// What counts as drift: a share of the rows or bytes of a table, a table, anything larger.
#[derive(Clone, Debug)]
pub struct DriftOptions {
    /// A table may lose this share of its rows and bytes, and no more.
    pub max_loss_percent: u8,
    /// Tables with no more rows than this may lose rows.
    pub min_rows: u64,
    /// Tables that may be emptied and dropped.
    pub ignore_tables: Vec<TablePattern>,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self {
            max_loss_percent: 50,
            min_rows: 1000,
            ignore_tables: Vec::new(),
        }
    }
}

/// A user's query, evaluated in the snapshot of its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionQuery {
    pub name: String,
    pub database: String,
    pub query: String,
}

/// `schema.table` with `*` and `?` as wildcards; a quoted dot is not needed because the first dot separates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    schema: String,
    table: String,
}

/// A pattern without a dot between schema and table.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not schema.table")]
pub struct ParseTablePatternError(String);

impl TablePattern {
    #[must_use]
    pub fn matches(&self, name: &QualifiedName) -> bool {
        wildcard_match(&self.schema, &name.schema) && wildcard_match(&self.table, &name.name)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for TablePattern {
    type Err = ParseTablePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => Ok(Self {
                text: text.to_owned(),
                schema: schema.to_owned(),
                table: table.to_owned(),
            }),
            _ => Err(ParseTablePatternError(text.to_owned())),
        }
    }
}

/// Greedy matching with one point to return to: linear in practice, no recursion.
fn wildcard_match(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    at_pattern = after + 1;
                    at_text = taken + 1;
                    star = Some((after, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_schema_and_table_apart() {
        let matches = |pattern: &str, schema: &str, table: &str| {
            pattern
                .parse::<TablePattern>()
                .unwrap()
                .matches(&QualifiedName::new(schema, table))
        };
        assert!(matches("public.log_*", "public", "log_2026"));
        assert!(matches("*.cache", "a", "cache"));
        assert!(matches("public.a?c*e", "public", "abcdde"));
        assert!(matches("public.*a*b", "public", "xaxbab"));
        assert!(!matches("public.log_*", "other", "log_2026"));
        assert!(!matches("public.log", "public", "log2"));
        assert!(!matches("public.a?", "public", "a"));
        assert!("nodot".parse::<TablePattern>().is_err());
        assert!(".t".parse::<TablePattern>().is_err());
    }
}
