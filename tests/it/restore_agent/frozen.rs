//! A target that keeps its connections open and answers nothing: a drill ends all the same, and so does the agent's look
//! at the target.

use std::fs;
use std::time::Duration;

use kubebackup::demo::{S3Effect, S3Fault};
use kubebackup::postgres::{Session, connect};
use tokio::runtime::Runtime;

use super::{
    agent, backed_up_with, certificate, is_creating, slow_down, speed_up, stop, wait_for_drills, wait_for_last,
};
use crate::support::crash::Frozen;
use crate::support::library::cluster_options;
use crate::support::world::PREFIX;
use crate::support::{World, wait};

#[test]
fn a_target_that_is_stopped_between_two_connections_ends_the_drill_and_not_the_agent() {
    // Longer than the wipe and what a connection is waited for: it is the connection that ends this.
    let (world, _) = backed_up_with("drill: {max_duration: 60s}\n");
    for phase in ["after-drill-start", "after-wipe"] {
        let backup_id = world.back_up();
        let go = world.directory().join(phase);
        let failpoint = format!("{phase}=go:{}", go.display());
        let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
        running.wait_for(&format!("failpoint {phase}"));
        let frozen = Frozen::new(&world.target);
        fs::write(&go, "").unwrap();
        wait_for_last(&world, &backup_id, "unverified");
        let unverified = certificate(&world, &backup_id, "unverified");
        assert_eq!(unverified["cause"], "target_absent", "{unverified}");
        assert!(unverified["target"].is_null(), "it could not say what it runs on");
        drop(frozen);
        wait_for_last(&world, &backup_id, "certified");
        stop(running);
    }
}

/// Its sessions stay open: only the limit ends this.
#[test]
fn a_target_that_is_stopped_while_it_works_ends_the_drill_and_not_the_agent() {
    let (world, _) = backed_up_with("drill: {max_duration: 12s}\n");
    slow_down(&world);
    let backup_id = world.back_up();
    let running = agent(&world).spawn();
    wait::until("the index to be created", || is_creating(&world));
    let frozen = Frozen::new(&world.target);
    wait_for_last(&world, &backup_id, "unverified");
    let unverified = certificate(&world, &backup_id, "unverified");
    assert_eq!(unverified["cause"], "interrupted", "{unverified}");
    let summary = unverified["summary"].as_str().unwrap();
    assert!(summary.contains("longer than drill.max_duration (12s)"), "{summary}");
    drop(frozen);
    speed_up(&world);
    wait_for_last(&world, &backup_id, "certified");
    stop(running);
}

/// The verdict stands by then.
#[test]
fn a_target_that_is_stopped_before_it_is_cleaned_up_ends_the_drill_too() {
    let (world, backup_id) = backed_up_with("drill: {max_duration: 12s}\n");
    let go = world.directory().join("go");
    let failpoint = format!("after-restore=go:{}", go.display());
    let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for("failpoint after-restore");
    world.s3.controls.inject(S3Fault {
        operation: Some("PutObject"),
        key_prefix: format!("{PREFIX}/certificates/"),
        times: 1,
        effect: S3Effect::Delay(Duration::from_secs(3)),
    });
    let puts = || world.s3.controls.count("PutObject");
    let before = puts();
    fs::write(&go, "").unwrap();
    wait::until("the certificate to be on its way", || puts() > before);
    let frozen = Frozen::new(&world.target);
    running.wait_for("the target was not cleaned up in time");
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    drop(frozen);
    let next = world.back_up();
    wait_for_last(&world, &next, "certified");
    stop(running);
}

/// What the guards and the checks before the wipe ask the server, and what the agent asks it before a drill.
#[test]
fn a_target_that_lets_the_drill_in_and_does_not_answer_it_ends_the_drill() {
    let (world, _) = backed_up_with("drill: {max_duration: 10s}\n");
    let running = agent(&world).spawn();
    for view in ["pg_prepared_xacts", "pg_available_extensions"] {
        let held = Held::new(&world, view);
        let backup_id = world.back_up();
        wait_for_last(&world, &backup_id, "unverified");
        let unverified = certificate(&world, &backup_id, "unverified");
        assert_eq!(unverified["cause"], "interrupted", "{view}: {unverified}");
        drop(held);
        wait_for_last(&world, &backup_id, "certified");
    }
    let held = Held::new(&world, "pg_locks");
    let backup_id = world.back_up();
    wait_for_last(&world, &backup_id, "certified");
    drop(held);
    stop(running);
}

/// A session on the target's maintenance database that keeps others from reading a system view.
struct Held {
    _session: Session,
    _runtime: Runtime,
}

impl Held {
    fn new(world: &World, view: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let session = runtime.block_on(async {
            let session = connect(&cluster_options(&world.target, "postgres"), "test")
                .await
                .unwrap();
            let lock = format!("BEGIN; LOCK TABLE pg_catalog.{view} IN ACCESS EXCLUSIVE MODE");
            session.client.batch_execute(&lock).await.unwrap();
            session
        });
        Self {
            _session: session,
            _runtime: runtime,
        }
    }
}
