//! A table that is most of a database is compared by several sessions at once, and what is wrong with it is found in any part.

use std::collections::BTreeSet;
use std::sync::Arc;

use kubebackup::drill::{CheckName, CompareOptions, Comparison, DrillOptions, Outcome, Verdict, compare_database};
use kubebackup::repository::manifest::Backup;
use kubebackup::telemetry::progress::{Progress, Silent};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::Ground;
use crate::support::library::blocking_checks;
use crate::support::wait;

/// Some five hundred blocks; `small` is read whole beside it, and `child` by nobody who reads `big`.
const BIG: &str = "
    CREATE TABLE big (id int PRIMARY KEY, filler text, doubled int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO big SELECT n, repeat(md5(n::text), 3) FROM generate_series(1, 30000) n;
    CREATE TABLE child () INHERITS (big); INSERT INTO child SELECT n, 'child' FROM generate_series(1, 100) n;
    CREATE TABLE small AS SELECT n FROM generate_series(1, 100) n";

/// A drilled backup of it, whose database is still there.
struct Drilled {
    ground: Ground,
    backup: Backup,
}

impl Drilled {
    async fn new() -> Self {
        let ground = Ground::with(BIG).await;
        let keep = DrillOptions {
            keep: true,
            ..ground.options()
        };
        let certificate = ground.drill(&keep).await;
        assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
        let backup = ground.repository.read_backup(&ground.backup_id).await.unwrap();
        Self { ground, backup }
    }

    async fn compare(&self) -> Comparison {
        self.compare_as(&in_small_parts(), &Silent).await
    }

    async fn compare_as(&self, options: &CompareOptions, progress: &dyn Progress) -> Comparison {
        let (repository, database) = (&self.ground.repository, &self.backup.databases[0]);
        let archive = repository
            .read_segments(&self.backup, &database.head.schema_archive)
            .await
            .unwrap();
        let (target, cancel) = (self.ground.target_options(), CancellationToken::new());
        compare_database(&self.backup, database, &archive, &target, options, progress, &cancel)
            .await
            .unwrap()
    }

    /// What a check says of the big table: how it was found, and why.
    async fn found(&self, name: CheckName) -> Option<(String, String)> {
        let comparison = self.compare().await;
        let differs = comparison.checks.into_iter().find(|check| {
            check.name == name && check.outcome == Outcome::Failed && check.object.as_deref() == Some(BIG_TABLE)
        });
        differs.map(|check| (check.found, check.detail))
    }

    /// The server's sessions that have read parts of the big table, with their statements.
    fn readers(&self) -> BTreeSet<(String, String)> {
        let log = self.ground.target.log();
        let parts = log
            .lines()
            .filter(|line| line.contains("FROM ONLY \"public\".\"big\" WHERE ctid"));
        parts
            .map(|line| {
                let pid = line.split(['[', ']']).nth(1).unwrap();
                let range = line
                    .split("WHERE ")
                    .nth(1)
                    .unwrap()
                    .split(") TO STDOUT")
                    .next()
                    .unwrap();
                (pid.to_owned(), range.to_owned())
            })
            .collect()
    }
}

/// By two sessions, in parts of at least 64 KiB.
fn in_small_parts() -> CompareOptions {
    CompareOptions {
        part_bytes: 1 << 16,
        ..CompareOptions::default()
    }
}

const BIG_TABLE: &str = "table \"public\".\"big\"";

/// Counts the bytes that are done.
#[derive(Default)]
struct Bytes(std::sync::atomic::AtomicU64);

impl Progress for Bytes {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
    }

    fn end(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_most_of_a_database_is_read_by_several_sessions_and_equal() {
    let drilled = Drilled::new().await;
    drilled
        .ground
        .target
        .sql(
            "postgres",
            "ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()",
        )
        .unwrap();
    wait::until("statements to be logged", || {
        drilled.ground.restored("SHOW log_statement") == "all"
    });
    let expected = drilled.backup.databases[0].tables.iter();
    let total: u64 = expected.map(|table| table.tally.raw_bytes).sum();
    let progress = Bytes::default();
    // Nobody reads a second part before each has read a first one.
    let options = CompareOptions {
        after_first_part: Some(Arc::new(Barrier::new(2))),
        ..in_small_parts()
    };
    let comparing = tokio::time::timeout(wait::DEADLINE, drilled.compare_as(&options, &progress));
    let comparison = comparing.await.expect("both sessions read a part");
    assert!(comparison.is_equal(), "{:?}", blocking_checks(&comparison));
    assert_eq!(progress.0.into_inner(), total);
    let big = comparison.tables.iter().find(|table| table.name.name == "big").unwrap();
    assert_eq!((big.expected.rows, big.found), (30_000, Some(big.expected)));
    let readers = drilled.readers();
    let different = |of: fn(&(String, String)) -> &String| readers.iter().map(of).collect::<BTreeSet<_>>().len();
    let (sessions, ranges) = (different(|(pid, _)| pid), different(|(_, range)| range));
    assert_eq!(
        (readers.len(), ranges, sessions),
        (4, 4, 2),
        "each part is read by one session, and each session reads: {readers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_changed_missing_or_doubled_in_any_part_is_found() {
    let drilled = Drilled::new().await;
    drilled
        .ground
        .restored("CREATE TABLE public.aside (LIKE big); ALTER TABLE big DROP CONSTRAINT big_pkey");
    let rows = || drilled.found(CheckName::Rows);
    for id in [1, 10_000, 20_000, 30_000] {
        drilled.ground.restored(&format!(
            "WITH gone AS (DELETE FROM ONLY big WHERE id = {id} RETURNING *) INSERT INTO aside SELECT * FROM gone"
        ));
        let (found, _) = rows().await.unwrap();
        assert!(found.starts_with("29999 rows"), "{id}: {found}");
        drilled
            .ground
            .restored("INSERT INTO big (id, filler) SELECT id, filler FROM aside; TRUNCATE aside");
        assert_eq!(rows().await, None, "{id} is back, elsewhere in the heap");
    }
    drilled
        .ground
        .restored("UPDATE ONLY big SET filler = reverse(filler) WHERE id = 15000");
    assert!(rows().await.unwrap().0.starts_with("30000 rows"));
    drilled
        .ground
        .restored("UPDATE ONLY big SET filler = reverse(filler) WHERE id = 15000");
    drilled
        .ground
        .restored("INSERT INTO big (id, filler) SELECT id, filler FROM ONLY big WHERE id = 7");
    assert!(rows().await.unwrap().0.starts_with("30001 rows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_columns_of_any_part_are_compared() {
    let drilled = Drilled::new().await;
    drilled
        .ground
        .restored("ALTER TABLE big ALTER COLUMN doubled DROP EXPRESSION");
    for id in [1, 10_000, 20_000, 30_000] {
        drilled
            .ground
            .restored(&format!("UPDATE ONLY big SET doubled = 1 WHERE id = {id}"));
        assert!(drilled.found(CheckName::GeneratedColumns).await.is_some(), "{id}");
        drilled
            .ground
            .restored(&format!("UPDATE ONLY big SET doubled = id * 2 WHERE id = {id}"));
        assert_eq!(drilled.found(CheckName::GeneratedColumns).await, None, "{id}");
    }
    drilled.ground.restored("ALTER TABLE big DROP COLUMN doubled");
    assert_eq!(
        drilled.found(CheckName::Rows).await,
        None,
        "the rows themselves are as they were"
    );
    let (found, detail) = drilled.found(CheckName::GeneratedColumns).await.unwrap();
    assert_eq!(
        (found.as_str(), detail.as_str()),
        ("unreadable", "column \"doubled\" does not exist")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_that_is_not_there_is_unreadable_in_the_servers_words() {
    let drilled = Drilled::new().await;
    drilled.ground.restored("ALTER TABLE big RENAME TO bigger");
    let (found, detail) = drilled.found(CheckName::Rows).await.unwrap();
    assert_eq!(
        (found.as_str(), detail.as_str()),
        ("unreadable", "relation \"public.big\" does not exist")
    );
    drilled.ground.restored("CREATE VIEW big AS SELECT * FROM ONLY bigger");
    let (found, detail) = drilled.found(CheckName::Rows).await.unwrap();
    assert_eq!(
        (found.as_str(), detail.as_str()),
        ("unreadable", "cannot copy from view \"big\"")
    );
    drilled
        .ground
        .restored("DROP VIEW big; ALTER TABLE bigger RENAME TO big; ALTER TABLE big DROP COLUMN filler");
    let (found, detail) = drilled.found(CheckName::Rows).await.unwrap();
    assert_eq!(
        (found.as_str(), detail.as_str()),
        ("unreadable", "column \"filler\" of relation \"big\" does not exist")
    );
}
