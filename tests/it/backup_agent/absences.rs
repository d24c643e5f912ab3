//! Servers and stores that are not there, go away and come back: the agent waits, leaves in time, and goes on.

use std::net::TcpListener;

use kubebackup::demo::{S3Effect, S3Fault};
use kubebackup::http::status::{Outcome, Status, Trigger};
use nix::sys::signal::Signal;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::crash::Frozen;
use crate::support::{World, wait};

/// Pauses that a test can sit out.
const SOON: (&str, &str) = ("KUBEBACKUP_BACKUP_AGENT_RETRY_FIRST", "1s");
/// The store's own retries would hide a short outage.
const ONE_ATTEMPT: (&str, &str) = ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1");

fn world() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
    world
}

fn refuse(operation: Option<&'static str>, key_prefix: &str, times: usize) -> S3Fault {
    S3Fault {
        operation,
        key_prefix: key_prefix.to_owned(),
        times,
        effect: S3Effect::Refuse("InternalError"),
    }
}

#[test]
fn a_server_that_is_absent_at_start_is_waited_for_and_nothing_fails() {
    let mut world = world();
    world.source.stop(Signal::SIGINT).unwrap();
    let mut agent = Agent::start(&world, &[SELDOM]);
    let status = agent.wait_until("it to wait", |status| status.waiting_for.is_some());
    let waiting_for = status.waiting_for.unwrap();
    assert!(waiting_for.contains("connect to 127.0.0.1"), "{waiting_for}");
    world.source.start_server().unwrap();
    wait_for_backups(&world, &mut agent, 1);
    let status = agent.wait_until("the run to end", |status| status.runs.len() == 1);
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert_eq!(status.waiting_for, None);
    agent.stop();
}

#[test]
fn a_store_that_is_absent_at_start_is_waited_for_and_nothing_fails() {
    let world = world();
    world.s3.controls.inject(refuse(None, "", 3));
    let mut agent = Agent::start(&world, &[SELDOM, ONE_ATTEMPT]);
    let status = agent.wait_until("it to wait", |status| status.waiting_for.is_some());
    let waiting_for = status.waiting_for.unwrap();
    assert!(waiting_for.contains("store unavailable"), "{waiting_for}");
    wait_for_backups(&world, &mut agent, 1);
    let status = agent.wait_until("the run to end", |status| status.runs.len() == 1);
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert!(status.counts.failed_polls > 0);
    assert!(status.counts.store.requests["list"]["ok"] > 0);
    agent.stop();
}

#[test]
fn sigterm_ends_it_while_it_waits_for_a_server_or_a_store_that_does_not_answer() {
    let world = world();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let dsn = format!(
        "host=127.0.0.1 port={} dbname=shop",
        silent.local_addr().unwrap().port()
    );
    let agent = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_SOURCE_DSN", &dsn)]);
    let _connection = silent.accept().unwrap();
    agent.stop();

    world.s3.controls.inject(S3Fault {
        effect: S3Effect::Hang,
        ..refuse(Some("ListObjectsV2"), "", 100)
    });
    let before = world.s3.controls.count("ListObjectsV2");
    let agent = Agent::start(&world, &[SELDOM]);
    wait::until("the store to be asked", || {
        world.s3.controls.count("ListObjectsV2") > before
    });
    agent.stop();
}

/// It has let the agent in by then, and no run has begun that would watch it.
#[test]
fn a_server_that_stands_still_before_a_run_ends_that_attempt_and_not_the_next() {
    let world = world();
    for asked_for in [false, true] {
        let before = world.keys("manifests/").len();
        let go = world.directory().join(format!("go-{asked_for}"));
        let failpoint = format!("before-role=go:{}", go.display());
        let variables = [("KUBEBACKUP_FAILPOINT", failpoint.as_str()), ("PGCONNECT_TIMEOUT", "2")];
        let mut agent = Agent::start(&world, &[&[SELDOM, SOON], &variables[..]].concat());
        if asked_for {
            agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
            agent.trigger();
        }
        agent.wait_for("failpoint before-role");
        let frozen = Frozen::new(&world.source);
        std::fs::write(go, "").unwrap();
        let status = agent.wait_until("the attempt to end", |status| {
            status.waiting_for.is_some() || !status.runs.is_empty()
        });
        let failed = status
            .runs
            .first()
            .map(|run| (run.outcome, run.message.clone().unwrap()));
        let said = if asked_for {
            let (outcome, message) = failed.unwrap();
            assert_eq!(outcome, Outcome::Failed);
            message
        } else {
            assert_eq!(failed, None, "no run has begun");
            status.waiting_for.unwrap()
        };
        assert!(
            said.contains("connect to 127.0.0.1:") && said.contains("no answer within 2 seconds"),
            "{said}"
        );
        drop(frozen);
        if asked_for {
            agent.trigger();
        }
        wait_for_backups(&world, &mut agent, before + 1);
        agent.stop();
    }
}

#[test]
fn a_server_that_is_restarted_during_a_run_is_backed_up_afterwards() {
    let mut world = world();
    let go = world.directory().join("go");
    let failpoint = format!("after-snapshot=go:{}", go.display());
    let mut agent = Agent::start(&world, &[SELDOM, SOON, ("KUBEBACKUP_FAILPOINT", &failpoint)]);
    agent.wait_for("failpoint after-snapshot");
    world.source.stop(Signal::SIGINT).unwrap();
    std::fs::write(go, "").unwrap();
    let status = agent.wait_until("the run to end", |status| status.runs.len() == 1);
    assert_ne!(status.runs[0].outcome, Outcome::Succeeded);
    assert!(world.keys("manifests/").is_empty());
    world.source.start_server().unwrap();
    wait_for_backups(&world, &mut agent, 1);
    let status = agent.wait_until("the second run to end", |status| status.runs.len() == 2);
    assert_eq!(
        (status.runs[0].outcome, status.runs[0].trigger),
        (Outcome::Succeeded, Trigger::Retry)
    );
    agent.stop();
}

#[test]
fn a_smart_shutdown_is_not_held_up_by_a_run_and_the_agent_stays() {
    let mut world = world();
    let mut agent = Agent::start(&world, &[SELDOM, SOON, ("KUBEBACKUP_FAILPOINT", "after-snapshot")]);
    agent.wait_for("failpoint after-snapshot");
    world.source.stop(Signal::SIGTERM).unwrap();
    let pid_file = world.source.data().join("postmaster.pid");
    wait::for_some_within(std::time::Duration::from_secs(20), "the server to be gone", || {
        (!pid_file.exists()).then_some(())
    });
    let status = agent.wait_until("it to wait for the server", |status| {
        status.runs.len() == 1 && status.waiting_for.is_some()
    });
    assert_eq!(status.runs[0].outcome, Outcome::Yielded);
    let message = status.runs[0].message.clone().unwrap();
    assert!(message.contains("shutting down"), "{message}");
    agent.stop();
    assert!(world.keys("manifests/").is_empty());
}

#[test]
fn a_store_that_fails_during_a_run_is_tried_again() {
    let world = world();
    world
        .s3
        .controls
        .inject(refuse(Some("PutObject"), &World::object("chunks/"), 1));
    let mut agent = Agent::start(&world, &[SELDOM, SOON, ONE_ATTEMPT]);
    wait_for_backups(&world, &mut agent, 1);
    let status = agent.wait_until("the second run to end", |status| status.runs.len() == 2);
    let outcomes = status.runs.iter().map(|run| (run.outcome, run.trigger));
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [
            (Outcome::Succeeded, Trigger::Retry),
            (Outcome::Failed, Trigger::CatchUp)
        ]
    );
    agent.stop();
}

/// Requests to the store that found nobody there.
fn lost_requests(status: &Status) -> u64 {
    let requests = &status.counts.store.requests;
    let uploads = ["put", "head"].iter().filter_map(|operation| requests.get(*operation));
    uploads.filter_map(|outcomes| outcomes.get("unavailable")).sum()
}

#[test]
fn a_store_that_is_stopped_and_started_again_during_a_run_gets_the_whole_backup_or_none() {
    let mut world = world();
    // With the store's own retries the run outlasts the outage; without them its successor does.
    for (round, variables) in [(1, &[][..]), (2, &[ONE_ATTEMPT])] {
        world.source_sql(&format!(
            "INSERT INTO t SELECT i, 'round {round}' FROM generate_series(1, 1000) i"
        ));
        let go = world.directory().join(format!("go-{round}"));
        let failpoint = format!("after-snapshot=go:{}", go.display());
        let held = [SELDOM, SOON, ("KUBEBACKUP_FAILPOINT", failpoint.as_str())];
        let mut agent = Agent::start(&world, &[&held, variables].concat());
        agent.wait_until("the bucket to be seen", |status| status.repository.is_some());
        agent.trigger();
        agent.wait_for("failpoint after-snapshot");
        let before = world.keys("manifests/").len();
        world.s3.stop_server();
        std::fs::write(go, "").unwrap();
        agent.wait_until("the run to find no store", |status| lost_requests(status) > 0);
        assert_eq!(world.keys("manifests/").len(), before);
        if !variables.is_empty() {
            let status = agent.wait_until("the run to end", |status| !status.runs.is_empty());
            assert_eq!(status.runs[0].outcome, Outcome::Failed);
        }
        world.s3.start_server();
        let status = agent.wait_until("a backup", |status| {
            status.counts.runs.contains_key(&Outcome::Succeeded) && status.current.is_none()
        });
        let made = status
            .runs
            .iter()
            .filter(|run| run.outcome == Outcome::Succeeded)
            .count();
        assert_eq!(world.keys("manifests/").len(), before + made);
        agent.stop();
    }
    world.program(&["verify", "--all"]).run().ok();
}
