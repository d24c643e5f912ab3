//! When the agent backs up: by its timer, at once where a run was missed, and on SIGUSR1.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kubebackup::http::status::{Outcome, Status, Trigger};
use kubebackup::repository::id::Sha256Digest;
use serde_json::Value;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::{World, wait};

/// A world with one small table.
fn world() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
    world
}

#[test]
fn the_timer_fires_again_and_again_and_a_signal_stops_it() {
    let world = world();
    let mut agent = Agent::start(&world, &[("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s")]);
    wait_for_backups(&world, &mut agent, 3);
    let printed = agent.stop().printed();
    for trigger in ["trigger=\"catch_up\"", "trigger=\"schedule\""] {
        assert!(printed.contains(trigger), "{trigger}:\n{printed}");
    }
    world.program(&["verify", "--all"]).run().ok();
}

#[test]
fn a_missed_run_is_caught_up_at_start_and_a_made_one_is_not_repeated() {
    let world = world();
    // The first start finds no backup at all, which is the most overdue that there is.
    let mut first = Agent::start(&world, &[SELDOM]);
    wait_for_backups(&world, &mut first, 1);
    first.wait_for("next backup at=");
    first.stop();

    // A pod that was moved finds the backup in the bucket and leaves it at that.
    let mut second = Agent::start(&world, &[SELDOM]);
    second.wait_for("next backup at=");
    let printed = second.stop().printed();
    assert!(!printed.contains("backup begins"), "{printed}");
    assert_eq!(world.keys("manifests/").len(), 1);

    // After a downtime longer than the interval it is overdue again.
    let stopped = Instant::now();
    wait::until("the downtime to be longer", || {
        stopped.elapsed() > Duration::from_secs(1)
    });
    let mut third = Agent::start(&world, &[("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s")]);
    third.wait_for("trigger=\"catch_up\"");
    wait_for_backups(&world, &mut third, 2);
    third.stop();
}

#[test]
fn signals_during_a_run_lead_to_exactly_one_more() {
    let world = world();
    world.program(&["backup"]).run().ok();
    let go = world.directory().join("go");
    let failpoint = format!("after-snapshot=go:{}", go.display());
    let mut agent = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_FAILPOINT", &failpoint)]);
    agent.wait_for("next backup at=");
    agent.trigger();
    agent.wait_for("failpoint after-snapshot");
    agent.trigger();
    agent.wait_until("the second signal to be kept", |status| status.is_queued);
    for signals in 1..=2 {
        agent.trigger();
        agent.wait_until("a signal to be coalesced", |status| {
            status.counts.coalesced_signals == signals
        });
    }
    std::fs::write(go, "").unwrap();
    wait_for_backups(&world, &mut agent, 3);
    let status = agent.wait_until("both runs to end", |status| {
        status.runs.len() == 2 && status.next_run.is_some()
    });
    assert!(!status.is_queued);
    assert_eq!(status.counts.triggers[&Trigger::Signal], 2);
    assert_eq!(status.counts.runs[&Outcome::Succeeded], 2);
    let printed = agent.stop().printed();
    assert_eq!(printed.matches("backup begins").count(), 2, "{printed}");
    assert_eq!(world.keys("manifests/").len(), 3);
}

/// The root of the only backup there is.
fn root(world: &World) -> String {
    let keys = world.keys("manifests/");
    assert_eq!(keys.len(), 1, "{keys:?}");
    World::object(&keys[0])
}

/// As the repository writes its roots: after a line with the digest of all that follows.
fn sealed(mut root: Value) -> Vec<u8> {
    root.as_object_mut().unwrap().remove("sha256");
    let body = format!("{root}\n").split_off(1);
    let digest = Sha256Digest::of(body.as_bytes());
    format!("{{\"sha256\":\"{digest}\",\n{body}").into_bytes()
}

#[test]
fn a_backup_of_a_clock_that_was_far_ahead_does_not_stop_the_timer() {
    let world = world();
    world.program(&["backup"]).run().ok();
    let key = root(&world);
    let mut manifest: Value = serde_json::from_slice(&world.s3.read(&key)).unwrap();
    let ahead = Timestamp::now() + SignedDuration::from_hours(80_000);
    manifest["started"] = ahead.to_string().into();
    world.s3.overwrite(&key, &sealed(manifest));
    let mut agent = Agent::start(&world, &[("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s")]);
    wait_for_backups(&world, &mut agent, 3);
    agent.stop();
}

/// Whoever looks only at what comes after the last one seen never sees it.
#[test]
fn a_backup_of_a_long_run_that_comes_after_a_newer_one_is_seen_and_changes_nothing() {
    let world = world();
    world.program(&["backup"]).run().ok();
    let late = root(&world);
    let contents = world.s3.read(&late);
    world.s3.remove(&late);
    world.program(&["backup"]).run().ok();
    let newer = root(&world);
    let mut agent = Agent::start(&world, &[SELDOM]);
    let backups = |status: &Status| -> Vec<String> {
        let backups = status.repository.iter().flat_map(|repository| &repository.backups);
        backups
            .map(|backup| World::object(&format!("manifests/{}.json", backup.backup_id)))
            .collect()
    };
    let before = agent.wait_until("the newer one to be seen", |status| {
        backups(status) == [newer.clone()] && status.next_run.is_some()
    });
    world.s3.overwrite(&late, &contents);
    let after = agent.wait_until("the late one to be seen", |status| {
        backups(status) == [late.clone(), newer.clone()] && status.next_run.is_some()
    });
    assert_eq!(after.next_run, before.next_run);
    assert_eq!(after.runs, []);
    agent.stop();
}
