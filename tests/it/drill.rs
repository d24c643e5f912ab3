//! Drills of real backups on a second cluster: certified, failed, unverified, interrupted, and what each leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kubebackup::backup::{BackupOptions, backup};
use kubebackup::content::QualifiedName;
use kubebackup::demo::Cluster;
use kubebackup::drill::{Cause, Certificate, CheckName, DrillOptions, Error, Outcome, Verdict, drill, render};
use kubebackup::postgres::{ConnectOptions, TlsMode};
use kubebackup::repository::id::{BackupId, RepositoryId};
use kubebackup::repository::{CertificateState, Repository};
use kubebackup::restore::{LoadFault, guard};
use kubebackup::storage::MemoryStore;
use kubebackup::telemetry::progress::{Progress, Silent};
use tokio_util::sync::CancellationToken;

use crate::support::world::mark_disposable;
use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, create_backup_role, source_cluster, target_cluster};

const EVERY_CLASS: &str = include_str!("compare/every_class.sql");

/// A source with a backup, and a marked target on another cluster.
struct Ground {
    source: Cluster,
    target: Cluster,
    repository: Repository,
    backup_id: BackupId,
}

impl Ground {
    async fn with(definitions: &str) -> Self {
        let source = source_cluster();
        create_backup_role(&source, true);
        let roles = "CREATE ROLE app_owner; CREATE ROLE app_user; CREATE DATABASE shop OWNER app_owner";
        source.sql("postgres", roles).unwrap();
        source.sql("shop", definitions).unwrap();
        let target = target_cluster();
        target.sql("postgres", "CREATE DATABASE restored").unwrap();
        let id = RepositoryId::new(11);
        let repository = Repository::open_or_create(Arc::new(MemoryStore::new()), id)
            .await
            .unwrap();
        mark_disposable(&target, "restored", repository.id().as_str());
        let mut ground = Self {
            source,
            target,
            repository,
            backup_id: BackupId::new(jiff::Timestamp::UNIX_EPOCH, 0),
        };
        ground.back_up(&["shop"]).await;
        ground
    }

    async fn back_up(&mut self, databases: &[&str]) {
        let mut options = BackupOptions::new("test");
        options.databases = Some(databases.iter().map(ToString::to_string).collect());
        let source = connect_options(&self.source, BACKUP_ROLE, BACKUP_PASSWORD, "shop");
        let (progress, cancel) = (Arc::new(Silent), CancellationToken::new());
        let stored = backup(&source, &self.repository, &options, progress, &cancel)
            .await
            .unwrap();
        self.backup_id = stored.manifest.backup_id;
    }

    fn target_options(&self) -> ConnectOptions {
        connect_options(
            &self.target,
            self.target.superuser(),
            self.target.password(),
            "restored",
        )
    }

    fn options(&self) -> DrillOptions {
        DrillOptions {
            targets: BTreeMap::from([("shop".to_owned(), self.target_options())]),
            ..DrillOptions::default()
        }
    }

    async fn drill(&self, options: &DrillOptions) -> Certificate {
        let cancel = CancellationToken::new();
        drill(&self.repository, &self.backup_id, options, &Silent, &cancel)
            .await
            .unwrap()
    }

    /// States of the objects beside the backup, in order.
    async fn states(&self) -> Vec<CertificateState> {
        let listed = self.repository.certificates_of(&self.backup_id).await.unwrap();
        listed.into_iter().map(|certificate| certificate.state).collect()
    }

    /// The key of the chunk that holds this table's first rows.
    async fn chunk_of(&self, table: &str) -> String {
        let backup = self.repository.read_backup(&self.backup_id).await.unwrap();
        let table = backup.databases[0]
            .tables
            .iter()
            .find(|stored| stored.name().name == table)
            .unwrap();
        backup.chunks[table.segments[0].chunk as usize].key.clone()
    }

    async fn flip_a_byte(&self, key: &str) {
        let store = self.repository.store();
        let mut bytes = store.get(key).await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.delete(key).await.unwrap();
        store.put_new(key, bytes.into()).await.unwrap();
    }

    fn restored(&self, query: &str) -> String {
        self.target.sql("restored", query).unwrap()
    }
}

fn connect_options(cluster: &Cluster, user: &str, password: &str, database: &str) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: cluster.port(),
        user: user.to_owned(),
        database: database.to_owned(),
        password: password.into(),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_every_class_certifies_and_leaves_nothing_behind() {
    let ground = Ground::with(EVERY_CLASS).await;
    let options = DrillOptions {
        amcheck: true,
        login_role: Some("app_user".to_owned()),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", render(&certificate, 100));
    println!("{}", render(&certificate, 100));
    assert_eq!(
        ground.states().await,
        [CertificateState::Started, CertificateState::Certified]
    );
    assert!(
        certificate.summary.starts_with("CERTIFIED: shop"),
        "{}",
        certificate.summary
    );
    assert!(
        certificate.summary.contains("table \"app\".\"cache\" (unlogged)"),
        "{}",
        certificate.summary
    );
    assert!(certificate.recovery_seconds.unwrap() > 0.0);
    assert!(!certificate.target.as_ref().unwrap().machine.fsync);
    let outcome = |name| {
        let checks = &certificate.databases[0].checks;
        checks.iter().find(|check| check.name == name).unwrap().outcome
    };
    assert_eq!(
        (outcome(CheckName::Login), outcome(CheckName::Amcheck)),
        (Outcome::Passed, Outcome::Passed)
    );
    let listed = ground.repository.certificates_of(&ground.backup_id).await.unwrap();
    let stored = ground
        .repository
        .read_certificate(&ground.backup_id, &listed[1])
        .await
        .unwrap();
    assert_eq!(serde_json::from_slice::<Certificate>(&stored).unwrap(), certificate);
    assert_eq!(
        ground.restored("SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'"),
        ""
    );
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_drill_leaves_the_database_and_the_next_one_cleans_up_after_it() {
    let ground =
        Ground::with("CREATE TABLE t (a int); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO app_owner").await;
    let keep = DrillOptions {
        keep: true,
        ..ground.options()
    };
    assert_eq!(ground.drill(&keep).await.verdict, Verdict::Certified);
    assert_eq!(ground.restored("SELECT a FROM t"), "1");
    let created = ground.drill(&ground.options()).await.databases[0].roles_created.clone();
    assert_eq!(
        created,
        ["app_owner"],
        "the role that the first drill left was dropped and made anew"
    );
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_fails_the_drill_and_is_named_with_its_table() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    let key = ground.chunk_of("t").await;
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Failed);
    assert_eq!(certificate.damaged_objects, std::slice::from_ref(&key));
    let reasons = certificate.reasons.join("\n");
    assert!(
        reasons.contains(&key) && reasons.contains("table \"public\".\"t\""),
        "{reasons}"
    );
    assert!(
        ground.repository.damaged_keys().await.unwrap().contains(&key),
        "the next backup does not reuse it"
    );
    assert_eq!(
        ground.states().await,
        [CertificateState::Started, CertificateState::Failed]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_lost_while_loading_fails_the_comparison_and_names_the_table() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n; CREATE TABLE u (a int)").await;
    let options = DrillOptions {
        fault: Some(LoadFault::DropRow(QualifiedName::new("public", "t"))),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Failed);
    let differing: Vec<_> = certificate.databases[0]
        .tables
        .iter()
        .filter(|table| !table.equal)
        .collect();
    assert_eq!(differing.len(), 1);
    let found = differing[0].found.unwrap();
    assert_eq!(
        (differing[0].name.name.as_str(), differing[0].expected.rows, found.rows),
        ("t", 100, 99)
    );
    assert!(
        certificate.summary.contains("rows failed: table \"public\".\"t\""),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_target_is_not_certified_and_stands_in_the_first_line() {
    let mut ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.source.sql("postgres", "CREATE DATABASE books").unwrap();
    ground.back_up(&["shop", "books"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Unverified(Cause::TargetAbsent));
    assert!(
        certificate.summary.contains("database books (no target)"),
        "{}",
        certificate.summary
    );
    assert!(certificate.databases[0].equal, "the other one was drilled all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_the_backup_left_out_stands_in_the_first_line_of_a_certified_one() {
    let mut ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.source.sql("postgres", "CREATE DATABASE books").unwrap();
    ground.back_up(&["shop"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified);
    assert!(
        certificate.summary.contains("database books (not in the backup)"),
        "{}",
        certificate.summary
    );
}

type Change<'a> = &'a dyn Fn(&mut ConnectOptions);

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_or_not_marked_or_not_open_is_unverified() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let with = |change: Change<'_>| {
        let mut target = ground.target_options();
        change(&mut target);
        DrillOptions {
            targets: BTreeMap::from([("shop".to_owned(), target)]),
            ..DrillOptions::default()
        }
    };
    ground.target.sql("postgres", "CREATE DATABASE unmarked").unwrap();
    let cases: [(Change<'_>, Cause); 4] = [
        (
            &|target| "nowhere".clone_into(&mut target.database),
            Cause::TargetAbsent,
        ),
        (
            &|target| "unmarked".clone_into(&mut target.database),
            Cause::TargetAbsent,
        ),
        (&|target| target.port = 1, Cause::TargetAbsent),
        (&|target| target.password = "wrong".into(), Cause::Credentials),
    ];
    for (change, cause) in cases {
        let certificate = ground.drill(&with(change)).await;
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(cause),
            "{}",
            certificate.summary
        );
        assert!(certificate.summary.starts_with("UNVERIFIED"), "{}", certificate.summary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_not_wiped_for_a_backup_that_cannot_be_restored_into_it() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    ground.restored("CREATE TABLE precious AS SELECT 1 AS one");
    let without_programs = DrillOptions {
        bin_directory: Some("/nonexistent".into()),
        ..ground.options()
    };
    assert_ne!(ground.drill(&without_programs).await.verdict, Verdict::Certified);
    assert_eq!(ground.restored("TABLE precious"), "1");

    let backup = ground.repository.read_backup(&ground.backup_id).await.unwrap();
    let segment = &backup.databases[0].head.schema_archive[0];
    let key = backup.chunks[segment.chunk as usize].key.clone();
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(
        (certificate.verdict, certificate.damaged_objects),
        (Verdict::Failed, vec![key])
    );
    assert_eq!(ground.restored("TABLE precious"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_takes_too_long_is_ended_and_unverified() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let options = DrillOptions {
        max_duration: Duration::from_millis(1),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Unverified(Cause::Interrupted));
    assert!(
        certificate.summary.contains("drill.max_duration"),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_by_default_is_certified() {
    let ground = Ground::with(
        "CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO app_user;
         ALTER DATABASE shop SET default_transaction_read_only = on",
    )
    .await;
    let options = DrillOptions {
        login_role: Some("app_user".to_owned()),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_role_may_not_create_a_scratch_database_is_unverified_and_keeps_what_it_has() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let poor = "CREATE ROLE poor LOGIN PASSWORD 'poor'; ALTER DATABASE restored OWNER TO poor";
    ground.target.sql("postgres", poor).unwrap();
    ground.restored("CREATE TABLE precious AS SELECT 1 AS one");
    let target = connect_options(&ground.target, "poor", "poor", "restored");
    let options = DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), target)]),
        ..DrillOptions::default()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(
        certificate.verdict,
        Verdict::Unverified(Cause::Credentials),
        "{}",
        certificate.summary
    );
    assert!(
        certificate.summary.contains("permission denied to create database"),
        "{}",
        certificate.summary
    );
    assert_eq!(ground.restored("TABLE precious"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_drills_on_one_server_leave_each_other_their_roles() {
    let ground = Ground::with("CREATE TABLE t (a int); ALTER TABLE t OWNER TO app_owner").await;
    ground.target.sql("postgres", "CREATE DATABASE other").unwrap();
    mark_disposable(&ground.target, "other", ground.repository.id().as_str());
    let other = DrillOptions {
        targets: BTreeMap::from([("shop".to_owned(), ground.target_options().with_database("other"))]),
        ..DrillOptions::default()
    };
    // The first has made its roles, which own nothing yet.
    let drill_the_other = || {
        let drilled = async { ground.drill(&other).await };
        let certificate = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drilled));
        assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    };
    let certificate = ground
        .drill_and("pre-data", &drill_the_other, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    assert_eq!(
        ground.restored("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_'"),
        "",
        "the last one dropped them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materialized_view_that_reads_a_foreign_grandchild_is_not_refreshed() {
    let ground = Ground::with(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
         CREATE USER MAPPING FOR PUBLIC SERVER away;
         CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
         CREATE MATERIALIZED VIEW m AS SELECT a FROM parent;
         CREATE FOREIGN TABLE grandchild () INHERITS (child) SERVER away",
    )
    .await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    let remarks = certificate.databases[0].remarks.join("\n");
    assert!(
        remarks.contains("\"m\": reads a foreign table, not refreshed"),
        "{remarks}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_that_was_not_restored_stands_in_the_first_line() {
    let mut ground = Ground::with("").await;
    for statement in [
        "ALTER ROLE CURRENT_USER SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE fast LOCATION ''",
    ] {
        ground.source.sql("postgres", statement).unwrap();
    }
    let table = "CREATE TABLE t (a int) TABLESPACE fast";
    ground.source.sql("shop", table).unwrap();
    ground.back_up(&["shop"]).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    assert!(
        certificate.summary.contains("tablespace fast (objects rebuilt"),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drill_leaves_its_start_marker_and_no_certificate() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = drill(
        &ground.repository,
        &ground.backup_id,
        &ground.options(),
        &Silent,
        &cancel,
    )
    .await;
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!(ground.states().await, [CertificateState::Started]);
}

/// Two agents that begin in the same moment: the lock decides, and the loser says nothing about the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_gives_way_to_who_holds_its_target_leaves_no_certificate() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let target = ground.target_options();
    let maintenance = target.with_database("postgres");
    let holder = guard(&ground.repository, &target, &maintenance).await.unwrap();
    let gives_way = DrillOptions {
        gives_way: true,
        ..ground.options()
    };
    let cancel = CancellationToken::new();
    let ended = drill(&ground.repository, &ground.backup_id, &gives_way, &Silent, &cancel).await;
    assert!(
        matches!(&ended, Err(Error::Held { database }) if database == "restored"),
        "{ended:?}"
    );
    assert_eq!(ground.states().await, [CertificateState::Started]);
    drop(holder);
    assert_eq!(ground.drill(&gives_way).await.verdict, Verdict::Certified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_index_is_damaged_fails_and_names_the_object() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let stored = ground.repository.read_manifest(&ground.backup_id).await.unwrap();
    let key = stored.manifest.index[0].key.clone();
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(
        (certificate.verdict, certificate.damaged_objects),
        (Verdict::Failed, vec![key])
    );
}

/// Does something the first time that a phase begins.
struct AtPhase<'a> {
    phase: &'a str,
    action: &'a (dyn Fn() + Send + Sync),
    done: AtomicBool,
}

impl Progress for AtPhase<'_> {
    fn begin(&self, phase: &str, _total_bytes: Option<u64>) {
        if phase == self.phase && !self.done.swap(true, Ordering::SeqCst) {
            (self.action)();
        }
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}
}

impl Ground {
    async fn drill_and(&self, phase: &str, action: &(dyn Fn() + Send + Sync), cancel: &CancellationToken) -> Outcomes {
        let progress = AtPhase {
            phase,
            action,
            done: AtomicBool::new(false),
        };
        let ended = drill(&self.repository, &self.backup_id, &self.options(), &progress, cancel).await;
        assert!(progress.done.into_inner(), "the phase {phase} was never reached");
        ended
    }
}

type Outcomes = Result<Certificate, Error>;

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_loses_its_lock_stops_and_is_unverified() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    for phase in ["wipe", "data", "compare"] {
        let end_the_lock = || {
            let terminate = "SELECT count(pg_terminate_backend(l.pid, 10000)) FROM pg_locks l \
                             JOIN pg_stat_activity a USING (pid) \
                             WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'kubebackup guard'";
            assert_eq!(ground.target.sql("postgres", terminate).unwrap(), "1");
        };
        let certificate = ground
            .drill_and(phase, &end_the_lock, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{phase}: {}",
            certificate.summary
        );
        assert!(
            certificate.summary.contains("lock on target 'restored' was lost"),
            "{}",
            certificate.summary
        );
    }
    assert_eq!(
        ground.drill(&ground.options()).await.verdict,
        Verdict::Certified,
        "the next one is none the worse"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_cancelled_in_any_phase_leaves_no_certificate_and_the_next_one_certifies() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    for phase in ["wipe", "pre-data", "data", "post-data", "compare"] {
        let cancel = CancellationToken::new();
        let ended = ground.drill_and(phase, &|| cancel.cancel(), &cancel).await;
        assert!(matches!(ended, Err(Error::Interrupted)), "{phase}: {ended:?}");
    }
    assert_eq!(ground.states().await, [CertificateState::Started; 5]);
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
    let databases = ground.target.sql(
        "postgres",
        "SELECT datname FROM pg_database WHERE datname ~ '^kubebackup'",
    );
    assert_eq!(databases.unwrap(), "", "no scratch database is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_the_restored_database_before_the_comparison_is_found() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    let touch = || drop(ground.restored("UPDATE t SET n = 0 WHERE n = 50"));
    let certificate = ground
        .drill_and("compare", &touch, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(certificate.verdict, Verdict::Failed);
    assert!(
        certificate.summary.contains("rows failed: table \"public\".\"t\""),
        "{}",
        certificate.summary
    );
}
