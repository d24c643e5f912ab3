//! What a receiver gets, and what a bad one does to the agent: nothing.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use kubebackup::repository::id::DrillId;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::receiver::{Answer, Receiver, SECRET, url_at};
use super::verdicts::damage;
use super::{agent, backed_up, backed_up_with, certificates, drills, status_of, stop, wait_for_drills};
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
    assert_eq!(events(&receiver), ["unverified"]);
    // A new process does not know whether it arrived.
    stop(running);
    running = telling(&world, &receiver).spawn();
    receiver.wait_for(2);
    let so_far = drills(&world, &backup_id).len();
    wait::until("one more drill", || drills(&world, &backup_id).len() > so_far + 1);
    world.mark_targets();
    receiver.wait_for(3);
    assert_eq!(events(&receiver), ["unverified", "unverified", "recovered"]);
    stop(running);
}

/// Somebody else's drill holds the target, or a restore does: no drill of the agent's own leaves a record.
#[test]
fn what_leaves_no_record_is_told_when_it_lasts_and_its_recovery_too() {
    let (world, backup_id) = backed_up_with("notify: {unverified_after: 1s, format: generic}\n");
    let go = world.directory().join("go");
    let failpoint = format!("after-wipe=go:{}", go.display());
    let drill = world.program(&["drill"]).env("KUBEBACKUP_FAILPOINT", &failpoint);
    let mut other = drill.spawn();
    other.wait_for("failpoint after-wipe");
    let receiver = Receiver::start(Answer::Ok);
    let running = telling(&world, &receiver).spawn();
    let told = receiver.wait_for(1).remove(0);
    assert_eq!(told["event"], "unverified", "{told}");
    let summary = told["summary"].as_str().unwrap();
    assert!(summary.contains("holds the target 'shop_restored'"), "{summary}");
    assert!(told.get("drill_id").is_none(), "{told}");
    assert_eq!(drills(&world, &backup_id), ["started"], "of the other one");
    other.kill();
    receiver.wait_for(2);
    assert_eq!(events(&receiver), ["unverified", "recovered"]);
    stop(running);
}

#[test]
fn what_a_receiver_does_not_take_is_kept_until_it_does() {
    let (world, first) = backed_up_with("notify: {format: generic}\n");
    damage(&world, &first);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut running = agent(&world).env("KUBEBACKUP_NOTIFY_WEBHOOK", &url_at(port)).spawn();
    wait_for_drills(&world, &mut running, &first, &["failed", "failed"]);
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    running.wait_for("notification not sent; it is tried again");
    assert!(counts(&mut running).1 > 0, "it counts as not sent meanwhile");
    // Of two failures the newer one, then the recovery.
    let receiver = Receiver::start_at(port, Answer::Ok);
    receiver.wait_for(2);
    wait::until("the counter", || counts(&mut running).0 == 2);
    assert_eq!(events(&receiver), ["failed", "recovered"]);
    assert!(!stop(running).printed().contains(SECRET));
}

#[test]
fn a_failure_that_reached_nobody_is_told_by_the_next_process() {
    let (world, backup_id) = backed_up_with("notify: {format: generic}\n");
    damage(&world, &backup_id);
    let receiver = Receiver::start(Answer::Hang);
    let mut running = telling(&world, &receiver).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["failed", "failed"]);
    let ended = stop(running);
    assert!(ended.stderr.contains("notifications were not sent"), "{}", ended.stderr);
    let before = receiver.bodies().len();
    receiver.answer(Answer::Ok);
    let running = telling(&world, &receiver).spawn();
    let told = receiver.wait_for(before + 1).pop().unwrap();
    assert_eq!(
        (&told["event"], &told["backup_id"]),
        (&"failed".into(), &backup_id.into())
    );
    assert!(told["summary"].as_str().unwrap().contains("is damaged"), "{told}");
    stop(running);
}

/// New settings are tried at once, however long the pause is by then.
#[test]
fn a_receiver_that_refuses_is_tried_again_and_at_once_under_new_settings() {
    let (world, _) = backed_up_with("notify: {success: each}\n");
    let receiver = Receiver::start(Answer::Refusal);
    let mut running = telling(&world, &receiver).spawn();
    for (answer, tries) in [(Answer::Refusal, 2), (Answer::Redirection, 3), (Answer::Error, 4)] {
        receiver.answer(answer);
        receiver.wait_for(tries);
        running.wait_for("notification not sent; it is tried again");
    }
    receiver.answer(Answer::Ok);
    running.signal(Signal::SIGHUP);
    wait::until("it to arrive", || counts(&mut running).0 == 1);
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
    assert!(ended.stderr.contains("notifications were not sent"), "{}", ended.stderr);
}

/// Yesterday's drills are real ones whose records are dated back: what a digest counts is what the bucket says.
#[test]
fn the_first_certified_drill_of_a_day_brings_the_digest_and_the_next_one_none() {
    let (world, first) = backed_up_with("notify: {format: generic, success: daily}\n");
    for _ in 0..3 {
        world.program(&["drill"]).run().ok();
    }
    date_back(&world, &first);
    let receiver = Receiver::start(Answer::Ok);
    let mut running = telling(&world, &receiver).spawn();
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    let digest = receiver.wait_for(1).remove(0);
    assert_eq!(
        (&digest["event"], &digest["backup_id"]),
        (&"digest".into(), &second.clone().into())
    );
    let summary = digest["summary"].as_str().unwrap();
    assert!(summary.starts_with("3 drills certified since "), "{summary}");
    assert!(summary.contains("; the last: CERTIFIED: shop "), "{summary}");
    running.signal(Signal::SIGUSR1);
    wait_for_drills(&world, &mut running, &second, &["certified", "certified"]);
    stop(running);
    // One a day, also where midnight passes just now.
    let day = |certificate: &Value| certificate["started"].as_str().unwrap()[..10].to_owned();
    let days: BTreeSet<String> = certificates(&world, &second, "certified").iter().map(day).collect();
    assert_eq!(receiver.bodies().len(), days.len());
}

/// Gives every drill of a backup an id of the day before, in its keys and inside.
fn date_back(world: &World, backup_id: &str) {
    for key in world.keys(&format!("certificates/{backup_id}/")) {
        let (directory, name) = key.rsplit_once('/').unwrap();
        let (drill_id, state) = name.split_once('.').unwrap();
        let id: DrillId = drill_id.parse().unwrap();
        let earlier = id.time() - jiff::SignedDuration::from_hours(24);
        let (_, random) = drill_id.split_once('-').unwrap();
        let dated = format!("{}-{random}", earlier.strftime("%Y%m%dT%H%M%SZ"));
        let body = String::from_utf8(world.s3.read(&World::object(&key))).unwrap();
        let body = body.replace(drill_id, &dated);
        world.s3.remove(&World::object(&key));
        let key = World::object(&format!("{directory}/{dated}.{state}"));
        world.s3.overwrite(&key, body.as_bytes());
    }
}

fn events(receiver: &Receiver) -> Vec<String> {
    let event = |body: &Value| body["event"].as_str().unwrap().to_owned();
    receiver.bodies().iter().map(event).collect()
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
