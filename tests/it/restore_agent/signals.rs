//! SIGTERM at any moment, SIGUSR1, SIGHUP.

use std::fs;

use nix::sys::signal::Signal;

use super::{agent, backed_up, drills, stop, wait_for_drills};
use crate::support::wait;

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
    let (world, _) = super::backed_up_with("");
    world.source_sql(
        "CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_setting('test.slow', true) = 'yes' THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$;
         CREATE INDEX ON t (slow(n));",
    );
    let backup_id = world.back_up();
    world
        .target
        .sql("postgres", "ALTER ROLE postgres SET test.slow = 'yes'")
        .unwrap();
    let running = agent(&world).spawn();
    let find = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^CREATE INDEX' AND state = 'active'";
    wait::until("the index to be created", || {
        world.target.sql("postgres", find).unwrap() == "1"
    });
    stop(running);
    wait::until("its sessions to end", || sessions(&world) == "0");
    world
        .target
        .sql("postgres", "ALTER ROLE postgres RESET test.slow")
        .unwrap();
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
    for _ in 0..3 {
        running.signal(Signal::SIGUSR1);
    }
    running.wait_for("one more drill begins when the present one has ended");
    fs::write(go, "").unwrap();
    wait_for_drills(&world, &mut running, &backup_id, &["certified", "certified"]);
    running.signal(Signal::SIGUSR1);
    wait_for_drills(&world, &mut running, &backup_id, &["certified"; 3]);
    assert!(
        running.printed().contains("trigger=\"signal\""),
        "{}",
        running.printed()
    );
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
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    stop(running);
}
