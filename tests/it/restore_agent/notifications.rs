//! What a receiver gets, and what a bad one does to the agent: nothing.

use std::fs;

use super::receiver::{Answer, Receiver, SECRET};
use super::verdicts::damage;
use super::{agent, backed_up, backed_up_with, drills, status_of, stop, wait_for_drills};
use crate::support::{Program, Running, World, wait};

fn telling(world: &World, receiver: &Receiver) -> Program {
    agent(world).env("KUBEBACKUP_NOTIFY_WEBHOOK", &receiver.url())
}

/// How often the agent has told and failed to tell, as its port shows it.
fn counts(running: &mut Running) -> (u64, u64) {
    let counts = &status_of(running)["counts"];
    let number = |name: &str| counts[name].as_u64().unwrap();
    (number("notifications"), number("failed_notifications"))
}

#[test]
fn failures_are_told_and_so_is_the_recovery() {
    let (world, first) = backed_up();
    damage(&world, &first);
    let receiver = Receiver::start(Answer::Ok);
    let mut running = telling(&world, &receiver).spawn();
    wait_for_drills(&world, &mut running, &first, &["failed", "failed"]);
    receiver.wait_for(2);
    let second = world.back_up();
    let bodies = receiver.wait_for(3);
    let texts: Vec<&str> = bodies.iter().map(|body| body["text"].as_str().unwrap()).collect();
    for failed in &texts[..2] {
        let beginning = format!("failed: backup {first} of production: FAILED: ");
        assert!(
            failed.starts_with(&beginning) && failed.contains("is damaged"),
            "{failed}"
        );
    }
    let beginning = format!("recovered: backup {second} of production: CERTIFIED: shop ");
    assert!(texts[2].starts_with(&beginning), "{}", texts[2]);
    assert_eq!(bodies[2].as_object().unwrap().len(), 1, "nothing else, for Slack");
    wait::until("the counter", || counts(&mut running) == (3, 0));
    // The next one is nothing to talk about.
    let third = world.back_up();
    wait_for_drills(&world, &mut running, &third, &["certified"]);
    let ended = stop(running);
    assert_eq!(receiver.bodies().len(), 3);
    assert!(!ended.printed().contains(SECRET), "{}", ended.printed());
}

#[test]
fn a_receiver_of_json_gets_every_field_and_success_is_told_to_who_wants_it() {
    let (world, backup_id) = backed_up_with(
        "notify: {format: generic, success: each, text: '{event} {verdict} {drill_id} {cluster}'}\n\
         objectives: {rto: 1h}\n",
    );
    let receiver = Receiver::start(Answer::Ok);
    let running = telling(&world, &receiver).spawn();
    let body = receiver.wait_for(1).remove(0);
    let drill_id = body["drill_id"].as_str().unwrap();
    assert_eq!(body["text"], format!("certified certified {drill_id} production"));
    assert_eq!(body["backup_id"], backup_id);
    assert_eq!(
        (&body["event"], &body["verdict"]),
        (&"certified".into(), &"certified".into())
    );
    assert!(body["summary"].as_str().unwrap().starts_with("CERTIFIED"), "{body}");
    assert_eq!(body["reasons"], serde_json::json!([]));
    assert_eq!(body["objectives"]["rto_exceeded"], false);
    assert!(body["recovery_seconds"].as_f64() > Some(0.0), "{body}");
    stop(running);
}

#[test]
fn what_nobody_can_judge_for_too_long_is_told_once_and_its_recovery_too() {
    let (world, backup_id) = backed_up_with("notify: {unverified_after: 1s, format: generic}\n");
    let unmarked = "ALTER DATABASE shop_restored RESET kubebackup.disposable";
    world.target.sql("postgres", unmarked).unwrap();
    let receiver = Receiver::start(Answer::Ok);
    let mut running = telling(&world, &receiver).spawn();
    let first = receiver.wait_for(1).remove(0);
    assert_eq!(
        (&first["event"], &first["cause"]),
        (&"unverified".into(), &"target_absent".into())
    );
    let so_far = drills(&world, &backup_id).len();
    wait::until("one more drill", || drills(&world, &backup_id).len() > so_far + 1);
    // A restart forgets nothing and repeats nothing.
    stop(running);
    running = telling(&world, &receiver).spawn();
    let so_far = drills(&world, &backup_id).len();
    wait::until("one more drill", || drills(&world, &backup_id).len() > so_far + 1);
    world.mark_targets();
    let bodies = receiver.wait_for(2);
    let events: Vec<&str> = bodies.iter().map(|body| body["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["unverified", "recovered"]);
    stop(running);
}

#[test]
fn a_receiver_that_answers_with_errors_is_tried_again_and_given_up() {
    let (world, first) = backed_up_with("notify: {success: each}\n");
    let receiver = Receiver::start(Answer::Error);
    let mut running = telling(&world, &receiver).spawn();
    running.wait_for("notification not sent");
    assert_eq!(receiver.bodies().len(), 3, "three tries");
    assert_eq!(counts(&mut running), (0, 1));
    // Who refuses, or points elsewhere, is not asked again.
    for answer in [Answer::Refusal, Answer::Redirection] {
        let before = (receiver.bodies().len(), counts(&mut running).1);
        receiver.answer(answer);
        world.back_up();
        wait::until("it to be given up", || counts(&mut running).1 == before.1 + 1);
        assert_eq!(receiver.bodies().len(), before.0 + 1, "{answer:?}");
    }
    receiver.answer(Answer::Ok);
    world.back_up();
    wait::until("one to arrive", || counts(&mut running).0 == 1);
    assert_eq!(drills(&world, &first), ["certified"]);
    assert!(!stop(running).printed().contains(SECRET));
}

#[test]
fn a_receiver_that_never_answers_blocks_no_drill_and_no_end() {
    let (world, first) = backed_up_with("notify: {success: each, timeout: 1h}\n");
    let receiver = Receiver::start(Answer::Hang);
    let mut running = telling(&world, &receiver).spawn();
    receiver.wait_for(1);
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    assert_eq!(drills(&world, &first), ["certified"]);
    assert_eq!(receiver.bodies().len(), 1, "the second waits for the first");
    let ended = stop(running);
    assert!(ended.stderr.contains("given up"), "{}", ended.stderr);
}

#[test]
fn the_url_is_read_from_its_file_each_time_and_shown_nowhere() {
    let (world, _) = backed_up_with("notify: {success: each}\nlog: {level: trace}\n");
    let receiver = Receiver::start(Answer::Ok);
    let file = world.directory().join("webhook");
    // A port that nobody listens at.
    fs::write(&file, format!("http://127.0.0.1:1/hooks/{SECRET}\n")).unwrap();
    let mut running = agent(&world)
        .env("KUBEBACKUP_NOTIFY_WEBHOOK_FILE", &file.to_string_lossy())
        .env("RUST_LOG", "trace")
        .spawn();
    running.wait_for("notification not sent");
    fs::write(&file, format!("{}\n", receiver.url())).unwrap();
    world.back_up();
    receiver.wait_for(1);
    let status = status_of(&mut running).to_string();
    let printed = format!("{status}{}", stop(running).printed());
    assert!(!printed.contains(SECRET), "{printed}");
}
