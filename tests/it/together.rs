//! One table that several sessions read as if they were one, whatever others do to it meanwhile.

use std::sync::Arc;

use kubebackup::content::{QualifiedName, RowTally, TableDescription, TableSource};
use kubebackup::demo::Cluster;
use kubebackup::postgres::copy::{CopyRange, copy_out_statement, tally_of};
use kubebackup::postgres::together::{SharedTable, is_same_table, join_table, leave_table, share_table};
use kubebackup::postgres::{Session, connect};
use tokio_postgres::error::SqlState;

use crate::support::library::cluster_options;
use crate::support::{source_cluster, wait};

/// Rows of which a dozen fill a block, and no room left in the first ones.
const TABLE: &str = "CREATE TABLE t (id int, filler text);
                     INSERT INTO t SELECT n, repeat('x', 600) FROM generate_series(1, 1000) n";

struct Readers {
    cluster: Arc<Cluster>,
    first: Session,
    second: Session,
}

impl Readers {
    async fn of(definitions: &str) -> Self {
        let cluster = source_cluster();
        cluster.sql("postgres", definitions).unwrap();
        Self::on(cluster).await
    }

    async fn on(cluster: Cluster) -> Self {
        let options = cluster_options(&cluster, "postgres");
        Self {
            first: connect(&options, "test").await.unwrap(),
            second: connect(&options, "test").await.unwrap(),
            cluster: Arc::new(cluster),
        }
    }

    async fn share(&self, table: &str) -> Option<SharedTable> {
        share_table(&self.first, &QualifiedName::new("public", table))
            .await
            .unwrap()
    }

    fn sql(&self, statements: &str) -> anyhow::Result<String> {
        self.cluster.sql("postgres", statements)
    }
}

/// Whether the session is in no transaction, and so has no lock and no snapshot.
async fn is_free(session: &Session) -> bool {
    let refused = session.client.batch_execute("SAVEPOINT nowhere").await.err();
    refused.is_some_and(|error| error.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION))
}

async fn read(session: &Session, first: u32, end: Option<u32>) -> RowTally {
    let table = TableDescription {
        name: QualifiedName::new("public", "t"),
        source: TableSource::Table,
        columns: vec!["id".to_owned(), "filler".to_owned()],
        generated_columns: Vec::new(),
        load_through: None,
    };
    let statement = copy_out_statement(&table, CopyRange::Blocks { first, end }, "UTF8");
    tally_of(session, &statement, "read a part").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_two_parts_is_in_neither() {
    let readers = Readers::of(TABLE).await;
    let whole = read(&readers.first, 0, None).await;
    let shared = readers.share("t").await.unwrap();
    assert!(shared.heap_blocks > 50, "{shared:?}");
    let first = read(&readers.first, 0, Some(40)).await;
    // Rows leave the first part for the last, others are new, others gone.
    let change =
        "UPDATE t SET filler = filler || id WHERE id < 50; DELETE FROM t WHERE id > 990; INSERT INTO t SELECT * FROM t";
    readers.sql(change).unwrap();
    assert!(join_table(&readers.second, &shared).await.unwrap());
    leave_table(&readers.first).await.unwrap();
    let second = read(&readers.second, 40, None).await;
    assert_eq!(first.union(second), whole);
    assert!(is_same_table(&readers.second, &shared).await.unwrap());
    leave_table(&readers.second).await.unwrap();
    assert!(is_free(&readers.first).await && is_free(&readers.second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_file_stays_as_it_is_until_the_last_session_has_left() {
    let readers = Readers::of(TABLE).await;
    let rewrite = "SET lock_timeout = '100ms'; VACUUM FULL t";
    let shared = readers.share("t").await.unwrap();
    assert!(readers.sql(rewrite).is_err(), "one session reads");
    assert!(join_table(&readers.second, &shared).await.unwrap());
    leave_table(&readers.first).await.unwrap();
    assert!(readers.sql(rewrite).is_err(), "the other still reads");
    leave_table(&readers.second).await.unwrap();
    readers.sql(rewrite).unwrap();
}

/// To wait behind it would be to wait for ever: it waits for the first session.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_somebody_who_waits_to_change_the_table_does_not_join() {
    let readers = Readers::of(TABLE).await;
    let shared = readers.share("t").await.unwrap();
    let cluster = Arc::clone(&readers.cluster);
    let altering = std::thread::spawn(move || cluster.sql("postgres", "ALTER TABLE t ADD COLUMN late int"));
    wait::until("the ALTER waits", || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        readers.sql(waiting).unwrap() == "1"
    });
    assert!(!join_table(&readers.second, &shared).await.unwrap());
    assert!(is_free(&readers.second).await);
    leave_table(&readers.first).await.unwrap();
    altering.join().unwrap().unwrap();
    assert!(
        !join_table(&readers.second, &shared).await.unwrap(),
        "the snapshot is gone"
    );
    assert!(is_free(&readers.second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_heap_of_its_own_or_not_to_be_had_is_not_shared() {
    let readers = Readers::of(
        "CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1;
         CREATE TABLE root (k int) PARTITION BY LIST (k); CREATE TABLE leaf PARTITION OF root DEFAULT;
         CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE elsewhere (a int) USING other;
         CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE far (a text) SERVER files OPTIONS (filename '/dev/null')",
    )
    .await;
    for absent in ["v", "m", "root", "elsewhere", "far", "nowhere"] {
        assert_eq!(readers.share(absent).await, None, "{absent}");
        assert!(is_free(&readers.first).await, "{absent}");
    }
    assert!(readers.share("leaf").await.is_some());
    leave_table(&readers.first).await.unwrap();
    let holder = "BEGIN; LOCK TABLE public.leaf";
    readers.second.client.batch_execute(holder).await.unwrap();
    assert_eq!(readers.share("leaf").await, None, "somebody changes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_means_another_table_is_noticed() {
    let readers = Readers::of(TABLE).await;
    let shared = readers.share("t").await.unwrap();
    let swap = "ALTER SCHEMA public RENAME TO blue; CREATE SCHEMA public; CREATE TABLE public.t (id int, filler text)";
    readers.sql(swap).unwrap();
    assert!(!join_table(&readers.second, &shared).await.unwrap());
    assert!(!is_same_table(&readers.first, &shared).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_standby_is_shared_as_well() {
    let primary = source_cluster();
    primary.sql("postgres", TABLE).unwrap();
    let readers = Readers::on(primary.start_standby().unwrap()).await;
    let whole = read(&readers.first, 0, None).await;
    let shared = readers.share("t").await.unwrap();
    assert!(join_table(&readers.second, &shared).await.unwrap());
    let parts = read(&readers.first, 0, Some(40)).await;
    assert_eq!(parts.union(read(&readers.second, 40, None).await), whole);
    let primary = Readers::on(primary).await;
    assert!(
        !join_table(&primary.first, &shared).await.unwrap(),
        "the primary knows no such snapshot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_an_error() {
    let readers = Readers::of(TABLE).await;
    let shared = readers.share("t").await.unwrap();
    readers
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'")
        .unwrap();
    assert!(join_table(&readers.second, &shared).await.is_err());
    assert!(share_table(&readers.first, &shared.name).await.is_err());
}
