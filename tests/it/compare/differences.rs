//! A real backup compared with a restored database: equal when nothing was touched, and each touch is named.

use super::*;

/// The backup of a `Pair`'s source, made as the documented role.
struct BackedUp {
    backup: Backup,
    archive: Bytes,
}

impl BackedUp {
    async fn of(pair: &Pair) -> Self {
        let assertion = AssertionQuery {
            name: "no debts".to_owned(),
            database: "source".to_owned(),
            query: "SELECT count(*) FROM app.account WHERE balance < 0 -- nobody".to_owned(),
        };
        Self::with(pair, vec![assertion]).await
    }

    async fn of_without_assertions(pair: &Pair) -> Self {
        Self::with(pair, Vec::new()).await
    }

    async fn with(pair: &Pair, assertions: Vec<AssertionQuery>) -> Self {
        let id = RepositoryId::new(7);
        let repository = Repository::open_or_create(Arc::new(MemoryStore::new()), id)
            .await
            .unwrap();
        let mut options = BackupOptions::new("test");
        options.databases = Some(vec!["source".to_owned()]);
        options.assertions = assertions;
        let source = pair.as_backup_role("source");
        let cancel = CancellationToken::new();
        let stored = backup(&source, &repository, &options, Arc::new(Silent), &cancel)
            .await
            .unwrap();
        let backup = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
        let archive = repository
            .read_segments(&backup, &backup.databases[0].head.schema_archive)
            .await
            .unwrap();
        Self { backup, archive }
    }

    async fn compare(&self, pair: &Pair, database: &str) -> Comparison {
        let options = CompareOptions {
            amcheck: true,
            ..CompareOptions::default()
        };
        compare_database(
            &self.backup,
            &self.backup.databases[0],
            &self.archive,
            &pair.options(database),
            &options,
            &Silent,
            &CancellationToken::new(),
        )
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_equals_its_backup() {
    let pair = Pair::with(EVERY_CLASS).await;
    let backed_up = BackedUp::of(&pair).await;
    let comparison = backed_up.compare(&pair, "target").await;
    let blocking: Vec<&Check> = comparison.checks.iter().filter(|check| check.blocks()).collect();
    assert!(comparison.is_equal(), "{blocking:#?}");
    let account = comparison
        .tables
        .iter()
        .find(|table| table.name.name == "account")
        .unwrap();
    assert_eq!((account.expected.rows, account.found), (50, Some(account.expected)));
    let felt: Vec<_> = comparison
        .tables
        .iter()
        .filter(|table| table.name.name.starts_with("felt"))
        .collect();
    assert_eq!(
        (felt.len(), felt[0].leaves, felt[0].expected.rows),
        (1, 2, 60),
        "hash by enum is compared at its root"
    );
}

/// What is done to the restored database, the check that must fail, and the object it names.
const TOUCHES: &[(&str, CheckName, &str)] = &[
    (
        "UPDATE app.account SET balance = 0.1 WHERE id = 7",
        CheckName::Rows,
        "table \"app\".\"account\"",
    ),
    (
        "DELETE FROM app.account WHERE id = 7",
        CheckName::Rows,
        "table \"app\".\"account\"",
    ),
    (
        "INSERT INTO app.base SELECT * FROM ONLY app.base",
        CheckName::Rows,
        "table \"app\".\"base\"",
    ),
    ("DELETE FROM app.child", CheckName::Rows, "table \"app\".\"child\""),
    (
        "UPDATE app.event SET id = 3 WHERE id = 4",
        CheckName::Rows,
        "table \"app\".\"event_2025\"",
    ),
    (
        "DELETE FROM app.felt WHERE n = 1",
        CheckName::Rows,
        "table \"app\".\"felt\"",
    ),
    ("DROP TABLE app.base CASCADE", CheckName::Rows, "table \"app\".\"base\""),
    (
        "ALTER TABLE app.base DROP COLUMN b CASCADE",
        CheckName::Rows,
        "table \"app\".\"base\"",
    ),
    (
        "ALTER TABLE app.customer ALTER COLUMN twice DROP EXPRESSION; UPDATE app.customer SET twice = 1 WHERE id = 1",
        CheckName::GeneratedColumns,
        "table \"app\".\"customer\"",
    ),
    (
        "ALTER TABLE app.base ALTER COLUMN a TYPE bigint",
        CheckName::Definitions,
        "TABLE app.base",
    ),
    (
        "DROP INDEX app.account_rich",
        CheckName::Inventory,
        "index app.account_rich",
    ),
    (
        "DROP INDEX app.account_rich",
        CheckName::Definitions,
        "INDEX app.account_rich",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.account_rich'::regclass",
        CheckName::Validity,
        "index app.account_rich is invalid",
    ),
    (
        "ALTER TABLE app.account DISABLE TRIGGER ALL",
        CheckName::Validity,
        "foreign keys of app.account are switched off",
    ),
    (
        "ALTER TABLE app.account DROP CONSTRAINT owner_fk, ADD CONSTRAINT owner_fk FOREIGN KEY (owner) \
         REFERENCES app.customer NOT VALID",
        CheckName::Validity,
        "constraint owner_fk on app.account is not validated",
    ),
    (
        "REVOKE USAGE ON SCHEMA app FROM app_user",
        CheckName::Inventory,
        "schema app",
    ),
    (
        "SELECT nextval('app.counter')",
        CheckName::Sequences,
        "sequence \"app\".\"counter\"",
    ),
    (
        "SELECT setval('app.counter', 5, false)",
        CheckName::Sequences,
        "sequence \"app\".\"counter\"",
    ),
    (
        "DROP SEQUENCE app.counter",
        CheckName::Sequences,
        "sequence \"app\".\"counter\"",
    ),
    ("SELECT lo_unlink(4242)", CheckName::LargeObjects, "large object 4242"),
    ("SELECT lo_create(4243)", CheckName::LargeObjects, "large object 4243"),
    (
        "SELECT lo_put(4242, 5000, '\\x00')",
        CheckName::LargeObjects,
        "contents of all large objects",
    ),
    (
        "SELECT lo_put(4242, 20000, '\\x00')",
        CheckName::LargeObjects,
        "large object 4242",
    ),
    (
        "REVOKE SELECT ON LARGE OBJECT 4242 FROM app_user",
        CheckName::LargeObjects,
        "large object 4242",
    ),
    (
        "COMMENT ON LARGE OBJECT 4242 IS NULL",
        CheckName::LargeObjects,
        "large object 4242",
    ),
    (
        "REFRESH MATERIALIZED VIEW app.sums WITH NO DATA",
        CheckName::MaterializedViews,
        "materialized view \"app\".\"sums\"",
    ),
    ("DROP EXTENSION amcheck", CheckName::Extensions, "extension amcheck"),
    (
        "UPDATE app.account SET balance = -1 WHERE id = 1",
        CheckName::Assertions,
        "assertion no debts",
    ),
    (
        "COMMENT ON DATABASE altered IS 'x'",
        CheckName::Database,
        "database source",
    ),
    (
        "ALTER DATABASE altered SET work_mem = '5MB'",
        CheckName::Database,
        "database source",
    ),
    (
        "GRANT CREATE ON DATABASE altered TO app_user",
        CheckName::Database,
        "database source",
    ),
    (
        "ALTER DATABASE altered OWNER TO app_owner",
        CheckName::Database,
        "database source",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_touch_of_a_restored_database_fails_the_comparison_and_is_named() {
    let pair = Pair::with(EVERY_CLASS).await;
    let backed_up = BackedUp::of(&pair).await;
    let mut missed = Vec::new();
    for (touch, check, object) in TOUCHES {
        pair.alter(touch);
        let comparison = backed_up.compare(&pair, "altered").await;
        let blocking: Vec<_> = comparison
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed)
            .map(|check| (check.name, check.object.clone().unwrap_or_default()))
            .collect();
        if comparison.is_equal() || !blocking.contains(&(*check, (*object).to_owned())) {
            missed.push(format!("{touch}: {check:?} {object} is not among {blocking:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scratch_database_definitions_are_not_run_and_nothing_is_certified() {
    let pair = Pair::with("CREATE TABLE t (a int)").await;
    let mut backed_up = BackedUp::of_without_assertions(&pair).await;
    backed_up.archive = Bytes::from_static(b"not an archive");
    let comparison = backed_up.compare(&pair, "target").await;
    let outcome = |name| {
        comparison
            .checks
            .iter()
            .find(|check| check.name == name)
            .unwrap()
            .outcome
    };
    assert_eq!(outcome(CheckName::Definitions), Outcome::NotRun);
    assert_eq!(outcome(CheckName::Validity), Outcome::NotRun);
    assert!(!comparison.is_equal());
    assert_eq!(pair.scratch_databases(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_relation_and_a_hole_in_the_ledger_are_named() {
    let pair = Pair::with("CREATE TABLE t (a int); CREATE TABLE u (a int)").await;
    let mut backed_up = BackedUp::of_without_assertions(&pair).await;
    let database = &mut backed_up.backup.databases[0];
    for entry in &mut database.ledger {
        if entry.name.name == "t" {
            entry.state = LedgerState::Denied;
        }
    }
    database.tables.retain(|table| table.name().name != "u");
    let named = failed(&backed_up.compare(&pair, "target").await.checks);
    assert_eq!(named, ["table \"public\".\"t\"", "table \"public\".\"u\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_comparison_drops_its_scratch_database_and_one_that_was_left_over() {
    let pair = Pair::with("CREATE TABLE t (a int)").await;
    let leftover = "CREATE DATABASE kubebackup_scratch_1700000000_0badcafe;
         COMMENT ON DATABASE kubebackup_scratch_1700000000_0badcafe
             IS 'scratch database of a kubebackup comparison, which drops it';
         CREATE DATABASE kubebackup_scratch_1700000000_00c0ffee";
    pair.cluster.sql("postgres", leftover).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let read = read_scratch(&pair.options("target"), &pair.programs, &pair.archive, 2, &cancel).await;
    assert!(read.unwrap().is_none());
    assert_eq!(
        pair.scratch_databases(),
        "kubebackup_scratch_1700000000_00c0ffee",
        "what only looks like one is not ours"
    );
}
