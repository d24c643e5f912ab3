//! What is not there yet is waited for.

use std::fs;

use kubebackup::demo::{S3Effect, S3Fault};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{agent, backed_up, certificates, drills, status_of, stop, wait_for_drills, world};
use crate::support::wait;
use crate::support::world::PREFIX;

#[test]
fn an_agent_waits_for_the_first_backup_and_for_a_target_that_is_marked() {
    let world = world("");
    let mut running = agent(&world).spawn();
    running.wait_for("the first backup, which makes the repository");
    let waiting = status_of(&mut running)["waiting_for"].clone();
    assert_eq!(waiting, "the first backup, which makes the repository");
    let backup_id = world.back_up();
    running.wait_for("is not marked as disposable");
    world.mark_targets();
    wait::until("the backup to be certified", || {
        drills(&world, &backup_id)
            .last()
            .is_some_and(|state| state == "certified")
    });
    let states = drills(&world, &backup_id);
    assert!(
        states[..states.len() - 1].iter().all(|state| state == "unverified"),
        "{states:?}"
    );
    wait::until("nothing to be waited for", || {
        status_of(&mut running)["waiting_for"].is_null()
    });
    stop(running);
}

/// A server that is up within the first pause costs no record.
#[test]
fn a_target_that_is_only_starting_is_waited_for() {
    let (mut world, backup_id) = backed_up();
    world.target.stop(Signal::SIGINT).unwrap();
    let mut running = agent(&world).env("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1m").spawn();
    running.wait_for("the target's server");
    world.target.start_server().unwrap();
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    stop(running);
}

#[test]
fn an_absent_target_leaves_a_backup_unverified_until_it_appears() {
    let (mut world, backup_id) = backed_up();
    world.target.stop(Signal::SIGINT).unwrap();
    let mut running = agent(&world).spawn();
    wait::until("two drills that could not judge", || {
        drills(&world, &backup_id).starts_with(&["unverified".to_owned(), "unverified".to_owned()])
    });
    wait::until("the next drill to be announced", || {
        status_of(&mut running)["next_run"]["trigger"] == "retry"
    });
    world.target.start_server().unwrap();
    wait::until("the backup to be certified", || {
        drills(&world, &backup_id)
            .last()
            .is_some_and(|state| state == "certified")
    });
    // Each pause is as long as it should be: 1, 2, 4, 4, ... seconds.
    let time =
        |certificate: &Value, name: &str| certificate[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for (number, pair) in certificates(&world, &backup_id, "unverified").windows(2).enumerate() {
        let pause = time(&pair[1], "started").duration_since(time(&pair[0], "finished"));
        let least = 1 << number.min(2);
        assert!(pause.as_secs() >= least, "pause {number} was {pause:#}");
    }
    let ended = stop(running);
    assert!(!ended.stderr.contains("failed"), "{}", ended.stderr);
}

#[test]
fn a_store_that_does_not_answer_is_waited_for() {
    let (world, backup_id) = backed_up();
    world.s3.controls.inject(S3Fault {
        operation: None,
        key_prefix: String::new(),
        times: 6,
        effect: S3Effect::Refuse("InternalError"),
    });
    let mut running = agent(&world).env("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1").spawn();
    running.wait_for("the store: ");
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    stop(running);
}

/// A drill without a record is remembered, and not repeated without a pause.
#[test]
fn a_store_that_takes_no_certificate_is_tried_again_after_pauses() {
    let (world, backup_id) = backed_up();
    let refuse = |times| {
        world.s3.controls.inject(S3Fault {
            operation: Some("PutObject"),
            key_prefix: format!("{PREFIX}/certificates/"),
            times,
            effect: S3Effect::Refuse("AccessDenied"),
        });
    };
    refuse(2);
    let mut running = agent(&world).spawn();
    running.wait_for("no certificate was stored: put of 'certificates/");
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    stop(running);
}

#[test]
fn an_agent_without_a_target_does_not_begin() {
    let world = world("");
    let text = fs::read_to_string(&world.settings_file).unwrap();
    let (before, target) = text.split_once("target:\n").unwrap();
    let (_, after) = target.split_once("agent:").unwrap();
    fs::write(&world.settings_file, format!("{before}agent:{after}")).unwrap();
    let ended = agent(&world).run().expect(2);
    assert!(ended.stderr.contains("target.dsn is not set"), "{}", ended.stderr);
}
