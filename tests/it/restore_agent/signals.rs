//! SIGTERM at any moment, SIGUSR1, SIGHUP.

use std::fs;

use kubebackup::demo::{S3Effect, S3Fault};
use kubebackup::postgres::connect;
use nix::sys::signal::Signal;

use super::{agent, backed_up, drills, is_creating, slow_down, speed_up, status_of, stop, wait_for_drills};
use crate::support::library::cluster_options;
use crate::support::wait;
use crate::support::world::PREFIX;

#[test]
fn an_agent_that_is_told_to_end_leaves_no_certificate_and_the_next_one_repeats_the_drill() {
    let (world, backup_id) = backed_up();
    let mut interrupted = Vec::new();
    for phase in ["after-drill-start", "after-wipe", "after-restore"] {
        let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", phase).spawn();
        running.wait_for(&format!("failpoint {phase}"));
        stop(running);
        interrupted.push("started");
        assert_eq!(drills(&world, &backup_id), interrupted, "{phase}");
        wait::until("its sessions to end", || sessions(&world) == "0");
    }
    let mut running = agent(&world).spawn();
    interrupted.push("certified");
    wait_for_drills(&world, &mut running, &backup_id, &interrupted);
    stop(running);
}

fn sessions(world: &crate::support::World) -> String {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'";
    world.target.sql("postgres", count).unwrap()
}

/// `pg_restore` works in processes of its own, which must not outlive it on the server.
#[test]
fn an_agent_that_is_told_to_end_takes_its_programs_along() {
    let (world, _) = backed_up();
    slow_down(&world);
    let backup_id = world.back_up();
    let running = agent(&world).spawn();
    wait::until("the index to be created", || is_creating(&world));
    stop(running);
    wait::until("its sessions to end", || sessions(&world) == "0");
    speed_up(&world);
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["started", "certified"]);
    stop(running);
}

/// Somebody locks a table of the rebuilt database, so that the comparison, or its `pg_dump`, waits for it.
#[test]
fn an_agent_that_is_told_to_end_while_it_compares_leaves_no_certificate() {
    let (world, backup_id) = backed_up();
    let go = world.directory().join("go");
    let failpoint = format!("after-restore=go:{}", go.display());
    let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for("failpoint after-restore");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let locked = runtime.block_on(async {
        let session = connect(&cluster_options(&world.target, &world.restored()), "test")
            .await
            .unwrap();
        session
            .client
            .batch_execute("BEGIN; LOCK TABLE public.t")
            .await
            .unwrap();
        session
    });
    fs::write(go, "").unwrap();
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE application_name LIKE 'kubebackup%' AND wait_event_type = 'Lock'";
    wait::until("the comparison to wait for the table", || {
        world.target.sql("postgres", waiting).unwrap() == "t"
    });
    stop(running);
    assert_eq!(drills(&world, &backup_id), ["started"]);
    drop(locked);
    wait::until("its sessions to end", || sessions(&world) == "0");
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["started", "certified"]);
    stop(running);
}

#[test]
fn an_agent_that_is_told_to_end_while_its_certificate_is_on_its_way_ends_in_time() {
    let (world, backup_id) = backed_up();
    let go = world.directory().join("go");
    let failpoint = format!("after-restore=go:{}", go.display());
    let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for("failpoint after-restore");
    world.s3.controls.inject(S3Fault {
        operation: Some("PutObject"),
        key_prefix: format!("{PREFIX}/certificates/"),
        times: 1,
        effect: S3Effect::Hang,
    });
    let puts = || world.s3.controls.count("PutObject");
    let before = puts();
    fs::write(go, "").unwrap();
    wait::until("the certificate to be on its way", || puts() > before);
    stop(running);
    assert_eq!(drills(&world, &backup_id), ["started"]);
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["started", "certified"]);
    stop(running);
}

#[test]
fn a_signal_drills_the_newest_backup_whatever_its_verdict_and_more_of_them_only_once_more() {
    let (world, backup_id) = backed_up();
    let go = world.directory().join("go");
    let failpoint = format!("after-wipe=go:{}", go.display());
    let mut running = agent(&world).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for("failpoint after-wipe");
    running.signal(Signal::SIGUSR1);
    running.wait_for("one more drill begins when the present one has ended");
    for coalesced in 1..3 {
        running.signal(Signal::SIGUSR1);
        wait::until("the signal to be counted", || {
            status_of(&mut running)["counts"]["coalesced_signals"] == coalesced
        });
    }
    let status = status_of(&mut running);
    assert_eq!(status["is_queued"], true, "{status}");
    assert_eq!(status["current"]["backup_id"], backup_id, "{status}");
    assert_eq!(status["current"]["trigger"], "poll", "{status}");
    fs::write(go, "").unwrap();
    wait_for_drills(&world, &mut running, &backup_id, &["certified", "certified"]);
    running.signal(Signal::SIGUSR1);
    wait_for_drills(&world, &mut running, &backup_id, &["certified"; 3]);
    wait::until("the third run to be shown", || {
        status_of(&mut running)["runs"][0]["number"] == 3
    });
    let status = status_of(&mut running);
    let run = &status["runs"][0];
    assert_eq!(
        (&run["trigger"], &run["outcome"]),
        (&"signal".into(), &"certified".into()),
        "{run}"
    );
    assert!(run["message"].as_str().unwrap().starts_with("CERTIFIED"), "{run}");
    assert_eq!(status["is_queued"], false, "{status}");
    assert_eq!(
        status["counts"]["triggers"],
        serde_json::json!({ "poll": 1, "signal": 2 }),
        "{status}"
    );
    stop(running);
}

#[test]
fn an_agent_whose_store_never_answers_ends_in_time() {
    let (world, _) = backed_up();
    world.s3.controls.inject(S3Fault {
        operation: Some("ListObjectsV2"),
        key_prefix: String::new(),
        times: usize::MAX,
        effect: S3Effect::Hang,
    });
    let lists = || world.s3.controls.count("ListObjectsV2");
    let before = lists();
    let running = agent(&world).spawn();
    wait::until("the agent to ask", || lists() > before);
    stop(running);
}

#[test]
fn new_settings_are_taken_over_by_a_signal_and_bad_ones_are_not() {
    let (world, backup_id) = backed_up();
    let good = fs::read_to_string(&world.settings_file).unwrap();
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["certified"]);
    fs::write(&world.settings_file, good.replace("retry_first", "retry_frist")).unwrap();
    running.signal(Signal::SIGHUP);
    running.wait_for("the new settings cannot be used; the old ones stay");
    // Another bucket prefix: nothing is there yet.
    fs::write(&world.settings_file, good.replace("prefix: it", "prefix: elsewhere")).unwrap();
    running.signal(Signal::SIGHUP);
    running.wait_for("settings read anew");
    running.wait_for("the first backup, which makes the repository");
    fs::write(&world.settings_file, good).unwrap();
    running.signal(Signal::SIGHUP);
    wait::until("both to be counted", || {
        status_of(&mut running)["counts"]["reloads"] == 2
    });
    assert_eq!(status_of(&mut running)["counts"]["refused_reloads"], 1);
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    stop(running);
}
