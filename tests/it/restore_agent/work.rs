//! What is drilled, and in which order.

use std::fs;

use serde_json::Value;

use super::{agent, backed_up, certificate, drills, status_of, stop, wait_for_drills};
use crate::support::wait;

#[test]
fn a_backup_is_noticed_and_certified_and_so_is_the_next_one() {
    let (world, first) = backed_up();
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &first, &["certified"]);
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    let ended = stop(running);
    assert_eq!(drills(&world, &first), ["certified"], "once is enough");
    assert!(ended.stderr.contains("restore agent stopped"), "{}", ended.stderr);
    // Another agent finds that there is nothing to do.
    let mut running = agent(&world).spawn();
    let third = world.back_up();
    wait_for_drills(&world, &mut running, &third, &["certified"]);
    assert_eq!(
        [drills(&world, &first), drills(&world, &second)],
        [["certified"], ["certified"]]
    );
    stop(running);
}

/// Lines of several drills in one log are told apart.
#[test]
fn each_line_of_a_drills_phases_names_the_backup_and_why_it_is_drilled() {
    let (world, backup_id) = backed_up();
    let mut running = agent(&world).env("KUBEBACKUP_LOG_FORMAT", "json").spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    let ended = stop(running);
    let lines = ended
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let phases: Vec<Value> = lines.filter(|line| line.get("phase").is_some()).collect();
    assert!(phases.len() > 4, "{}", ended.stderr);
    for line in &phases {
        let drill = line["spans"]
            .as_array()
            .and_then(|spans| spans.first())
            .unwrap_or(&Value::Null);
        assert_eq!(
            [&drill["name"], &drill["backup_id"], &drill["trigger"]],
            ["drill", backup_id.as_str(), "poll"],
            "{line}"
        );
    }
}

/// The newest first, then those that came while nobody looked.
#[test]
fn every_backup_without_a_verdict_is_drilled_the_newest_first() {
    let (world, first) = backed_up();
    let (second, third) = (world.back_up(), world.back_up());
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &first, &["certified"]);
    let started = |backup_id: &str| {
        certificate(&world, backup_id, "certified")["started"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(started(&third) < started(&second) && started(&second) < started(&first));
    stop(running);
}

#[test]
fn a_newer_backup_waits_until_the_drill_that_runs_has_ended() {
    let (world, first) = backed_up();
    let go = world.directory().join("go");
    let failpoint = format!("after-restore=go:{}", go.display());
    let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for("failpoint after-restore");
    let second = world.back_up();
    let lists = || world.s3.controls.count("ListObjectsV2");
    let before = lists();
    wait::until("the agent to look again", || lists() > before + 4);
    assert_eq!(
        (drills(&world, &first), drills(&world, &second)),
        (vec!["started".to_owned()], vec![])
    );
    fs::write(go, "").unwrap();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    assert_eq!(drills(&world, &first), ["certified"], "it was not broken off");
    stop(running);
}

#[test]
fn an_older_certified_backup_is_proven_again_by_its_schedule() {
    let (world, first) = backed_up();
    let second = world.back_up();
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &first, &["certified"]);
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    stop(running);
    let mut running = agent(&world)
        .env("KUBEBACKUP_RESTORE_AGENT_REPROVE", "every 1s")
        .spawn();
    wait_for_drills(&world, &mut running, &first, &["certified", "certified"]);
    assert_eq!(drills(&world, &second), ["certified"], "the newest is left alone");
    running.wait_for("trigger=\"reprove\"");
    stop(running);
}

#[test]
fn two_agents_on_one_target_leave_each_other_alone() {
    let (world, first) = backed_up();
    let go = world.directory().join("go");
    let failpoint = format!("after-wipe=go:{}", go.display());
    let mut one = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    one.wait_for("failpoint after-wipe");
    let mut other = agent(&world).spawn();
    other.wait_for("another drill or a restore holds the target 'shop_restored'");
    assert_eq!(drills(&world, &first), ["started"], "the other has written nothing");
    wait::until("the run to be shown", || {
        status_of(&mut other)["runs"][0]["outcome"] == "skipped"
    });
    fs::write(go, "").unwrap();
    wait_for_drills(&world, &mut one, &first, &["certified"]);
    let second = world.back_up();
    wait::until("one of them to certify the next one", || {
        drills(&world, &second).iter().any(|state| state == "certified")
    });
    for running in [one, other] {
        stop(running);
    }
    let states = drills(&world, &second);
    assert!(
        states.iter().all(|state| state == "certified" || state == "started"),
        "{states:?}"
    );
}
