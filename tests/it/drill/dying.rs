//! kill -9 of the target's server in each phase of a drill: the backup is not to blame, and the next drill certifies it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kubebackup::drill::{Cause, Verdict, drill};
use kubebackup::telemetry::progress::Progress;
use tokio_util::sync::CancellationToken;

use super::Ground;
use crate::support::crash::{kill_server, start_again};

/// Something for every phase.
const CONTENTS: &str = "
CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 5000) i; ALTER TABLE t ADD PRIMARY KEY (i);
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE SEQUENCE s; SELECT lo_from_bytea(0, 'a large object');";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_server_killed_in_any_phase_leaves_an_unverified_drill_and_the_next_one_certifies() {
    let mut ground = Ground::with(CONTENTS).await;
    for phase in [
        "wipe",
        "pre-data",
        "data",
        "large objects",
        "post-data",
        "refresh",
        "compare",
    ] {
        let certificate = ground
            .drill_and(phase, &|| kill_server(&ground.target), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{phase}: {}",
            certificate.summary
        );
        assert!(!certificate.databases[0].equal, "{phase}");
        start_again(&mut ground.target);
        let next = ground.drill(&ground.options()).await;
        assert_eq!(next.verdict, Verdict::Certified, "after {phase}: {}", next.summary);
    }
}

/// Does something once a phase has ended.
struct AfterPhase<'a> {
    phase: &'a str,
    now: Mutex<String>,
    action: &'a (dyn Fn() + Send + Sync),
    done: AtomicBool,
}

impl Progress for AfterPhase<'_> {
    fn begin(&self, phase: &str, _total_bytes: Option<u64>) {
        phase.clone_into(&mut self.now.lock().unwrap());
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {
        if *self.now.lock().unwrap() == self.phase && !self.done.swap(true, Ordering::SeqCst) {
            (self.action)();
        }
    }
}

/// Everything was read and found equal by then. Whether that counts depends on whether the lost lock is seen first.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_server_killed_between_the_comparison_and_the_certificate_never_fails_a_drill() {
    let mut ground = Ground::with(CONTENTS).await;
    let progress = AfterPhase {
        phase: "compare",
        now: Mutex::default(),
        action: &|| kill_server(&ground.target),
        done: AtomicBool::new(false),
    };
    let cancel = CancellationToken::new();
    let certificate = drill(
        &ground.repository,
        &ground.backup_id,
        &ground.options(),
        &progress,
        &cancel,
    )
    .await
    .unwrap();
    assert!(progress.done.into_inner());
    match certificate.verdict {
        Verdict::Certified => assert!(certificate.databases[0].equal),
        verdict => assert_eq!(
            verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{}",
            certificate.summary
        ),
    }
    assert!(certificate.target.is_none(), "nobody was there to tell what it runs on");
    start_again(&mut ground.target);
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
}
