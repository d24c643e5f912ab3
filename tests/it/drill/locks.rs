//! Somebody else's session that holds a lock in the target: no more than that is known about the backup.

use std::sync::Mutex;
use std::time::Duration;

use kubebackup::drill::{Cause, DrillOptions, Verdict};
use kubebackup::postgres::{Session, connect};
use kubebackup::restore::{RestoreOptions, restore_database};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::{AtPhase, Ground};
use crate::support::library::cluster_options;
use crate::support::wait;

const CONTENTS: &str = "
CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i; CREATE SEQUENCE s; SELECT nextval('s');
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t;";

const SOON: Duration = Duration::from_millis(300);

impl Ground {
    /// A session like a migration's, which has locked `relation` in the target.
    async fn lock(&self, relation: &str) -> Session {
        let session = connect(&cluster_options(&self.target, "restored"), "test")
            .await
            .unwrap();
        let lock = format!("SET application_name = 'migration'; BEGIN; LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE");
        session.client.batch_execute(&lock).await.unwrap();
        session
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_locks_what_is_loaded_leaves_a_drill_unverified_and_is_named() {
    let ground = Ground::with(CONTENTS).await;
    let options = DrillOptions {
        lock_timeout: SOON,
        // It would wait for the lock as well.
        keep: true,
        ..ground.options()
    };
    for (phase, relation, doing) in [
        ("data", "public.t", "load \"public\".\"t\""),
        ("refresh", "public.t", "refresh materialized view \"public\".\"m\""),
    ] {
        let held = Mutex::new(None);
        let lock = || {
            let session = block_in_place(|| Handle::current().block_on(ground.lock(relation)));
            *held.lock().unwrap() = Some(session);
        };
        let ended = ground.drill_as(&options, phase, &lock, &CancellationToken::new()).await;
        let certificate = ended.unwrap();
        let summary = &certificate.summary;
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{summary}"
        );
        let holds = format!("('migration' of postgres) holds {relation}, in a transaction since 20");
        for words in [doing, &holds, "lock timeout"] {
            assert!(summary.contains(words), "{words}: {summary}");
        }
        drop(held);
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migration'";
        wait::until("the session to be gone", || ground.restored(gone) == "0");
        assert_eq!(ground.drill(&options).await.verdict, Verdict::Certified);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_restores_beside_a_lock_is_told_who_holds_it_and_what_to_do() {
    let ground = Ground::with(CONTENTS).await;
    let backup = ground.repository.read_backup(&ground.backup_id).await.unwrap();
    let held = Mutex::new(None);
    let lock = || {
        let session = block_in_place(|| Handle::current().block_on(ground.lock("public.t")));
        *held.lock().unwrap() = Some(session);
    };
    let progress = AtPhase::new("data", &lock);
    let options = RestoreOptions {
        lock_timeout: SOON,
        ..RestoreOptions::default()
    };
    let (target, cancel) = (ground.target_options(), CancellationToken::new());
    let database = &backup.databases[0];
    let restored = restore_database(
        &ground.repository,
        &backup,
        database,
        &target,
        &options,
        &progress,
        &cancel,
    )
    .await;
    let error: kubebackup::agent::Error = restored.unwrap_err().into();
    assert!(
        error.to_string().contains("('migration' of postgres) holds "),
        "{error}"
    );
    let hint = error.meaning().hint.unwrap();
    assert!(hint.contains("another session holds a lock"), "{hint}");
}
