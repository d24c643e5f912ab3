//! The backup agent with `retention.after_backup`: it lets go after a backup, and no trouble with that touches the backup.

use kubebackup::demo::{Identity, S3Effect, S3Fault};
use kubebackup::http::status::{Outcome, Status};

use super::*;
use crate::backup_agent::{Agent, SELDOM};

const AFTER_BACKUP: (&str, &str) = ("KUBEBACKUP_RETENTION_AFTER_BACKUP", "true");

/// An unproven backup and a newer certified one; the unproven one's id.
fn two_backups() -> (World, String) {
    let world = world();
    let first = world.back_up_state(1);
    world.back_up_state(2);
    world.drill();
    world.age("", 3 * DAY);
    (world, first)
}

/// The backup that was asked for, and what followed it.
fn after_a_backup(agent: &mut Agent, is_over: impl Fn(&Status) -> bool) -> Status {
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    agent.trigger();
    let status = agent.wait_until("retention to end", is_over);
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    status
}

#[test]
fn it_expires_and_prunes_after_its_backup() {
    let (world, first) = two_backups();
    let mut agent = Agent::start(&world, &[SELDOM, AFTER_BACKUP]);
    let status = after_a_backup(&mut agent, |status| status.counts.retention.runs == 1);
    assert_eq!(status.counts.retention.expired_backups, 1);
    let left = world.keys("manifests/");
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&format!("manifests/{first}.json")));
    world.age("", 3 * DAY);
    let status = after_a_backup(&mut agent, |status| status.counts.retention.runs == 2);
    assert!(
        status.counts.retention.deleted_objects > 0,
        "{:?}",
        status.counts.retention
    );
    agent.stop();
    world.all_is_sound();
}

#[test]
fn a_backup_waits_for_no_expiry_and_one_that_was_made_meanwhile_makes_it_begin_once_more() {
    let (world, first) = two_backups();
    let go = world.directory().join("go");
    let failpoint = format!("expire-after-tombstones=go:{}", go.display());
    let settings = [SELDOM, AFTER_BACKUP, ("KUBEBACKUP_FAILPOINT", &failpoint)];
    let mut agent = Agent::start(&world, &settings);
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    agent.trigger();
    let step = |status: &Status| status.retention.current.as_ref().map(|current| current.step.clone());
    let status = agent.wait_until("the expiry", |status| step(status).is_some());
    assert!(status.next_run.is_some() && status.current.is_none(), "{status:?}");
    agent.wait_for("failpoint expire-after-tombstones");
    agent.trigger();
    let succeeded = |status: &Status| status.counts.runs.get(&Outcome::Succeeded) == Some(&2);
    let status = agent.wait_until("a second backup", succeeded);
    assert_eq!(step(&status).as_deref(), Some("expire"), "it goes on beside it");
    assert_eq!(status.counts.retention.runs, 0);

    fs::write(go, "").unwrap();
    let is_over = |status: &Status| status.counts.retention.runs == 2 && step(status).is_none();
    let status = agent.wait_until("both to end", is_over);
    assert_eq!(status.retention.failing(), None);
    assert!(status.retention.last_succeeded.is_some());
    assert!(!world.keys("manifests/").contains(&format!("manifests/{first}.json")));
    agent.stop();
    world.all_is_sound();
}

#[test]
fn an_agent_that_is_stopped_amid_an_expiry_ends_at_once_and_the_next_one_finishes_it() {
    let (world, first) = two_backups();
    let failpoint = ("KUBEBACKUP_FAILPOINT", "expire-after-tombstones");
    let mut agent = Agent::start(&world, &[SELDOM, AFTER_BACKUP, failpoint]);
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    agent.trigger();
    agent.wait_for("failpoint expire-after-tombstones");
    let printed = agent.stop().printed();
    assert!(printed.contains("retention interrupted"), "{printed}");
    assert!(world.keys("manifests/").contains(&format!("manifests/{first}.json")));
    let mut agent = Agent::start(&world, &[SELDOM, AFTER_BACKUP]);
    after_a_backup(&mut agent, |status| status.counts.retention.runs == 1);
    assert!(!world.keys("manifests/").contains(&format!("manifests/{first}.json")));
    agent.stop();
    world.all_is_sound();
}

/// Nothing that prune decides by hangs on the expiry before it.
#[test]
fn an_expiry_that_fails_keeps_no_prune_from_running_and_both_failures_are_told() {
    let (world, first) = two_backups();
    world.back_up_state(3);
    world.age("", 3 * DAY);
    assert_eq!(world.expire()["expired"], serde_json::json!([first]));
    world.drill();
    world.age("", 3 * DAY);
    let refuse_a_tombstone = || {
        world.s3.controls.inject(S3Fault {
            operation: Some("PutObject"),
            key_prefix: World::object("tombstones/"),
            times: 1,
            effect: S3Effect::Refuse("InternalError"),
        });
    };
    let settings = [SELDOM, AFTER_BACKUP, ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1")];
    let mut agent = Agent::start(&world, &settings);
    refuse_a_tombstone();
    let status = after_a_backup(&mut agent, |status| status.counts.retention.failed_runs == 1);
    let counts = &status.counts.retention;
    assert!(
        counts.deleted_objects > 0 && counts.expired_backups == 0 && counts.runs == 0,
        "{counts:?}"
    );
    let failing = status.retention.failing().unwrap();
    assert!(failing.message.contains("put of 'tombstones/"), "{failing:?}");
    world.all_is_sound();

    refuse_a_tombstone();
    let damaged = format!("manifests/{}.json", status.runs[0].backup_id.as_ref().unwrap());
    world.s3.flip_a_bit(&World::object(&damaged));
    let status = after_a_backup(&mut agent, |status| status.counts.retention.failed_runs == 2);
    let failing = &status.retention.failing().unwrap().message;
    for what in ["put of 'tombstones/", "; ", &damaged] {
        assert!(failing.contains(what), "{what}: {failing}");
    }
    let printed = agent.stop().printed();
    assert_eq!(
        printed.matches("retention failed; the backups stand").count(),
        3,
        "{printed}"
    );
}

#[test]
fn without_the_setting_it_lets_nothing_go() {
    let (world, _) = two_backups();
    let mut agent = Agent::start(&world, &[SELDOM]);
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    agent.trigger();
    let status = agent.wait_until("a backup", |status| {
        !status.runs.is_empty() && status.next_run.is_some()
    });
    assert_eq!(
        status.counts.retention,
        kubebackup::http::status::RetentionCounts::default()
    );
    assert_eq!(world.keys("manifests/").len(), 3);
    agent.stop();
}

#[test]
fn credentials_without_delete_and_a_damaged_manifest_cost_no_backup() {
    let (world, first) = two_backups();
    world.s3.controls.admit(Identity {
        may_delete: Vec::new(),
        ..Identity::full("writer", "secret of the writer")
    });
    let writer = [
        SELDOM,
        AFTER_BACKUP,
        ("AWS_ACCESS_KEY_ID", "writer"),
        ("AWS_SECRET_ACCESS_KEY", "secret of the writer"),
    ];
    let mut agent = Agent::start(&world, &writer);
    let status = after_a_backup(&mut agent, |status| status.counts.retention.runs == 1);
    let last = status.retention.last_succeeded.unwrap();
    assert_eq!((last.expired_backups, last.retained_objects), (0, 1));
    assert!(last.message.unwrap().contains("access denied"));
    assert_eq!(status.counts.retention.expired_backups, 0);
    let metrics = agent.get("/metrics");
    assert!(metrics.contains("kubebackup_retained_objects 1\n"), "{metrics}");
    agent.wait_for("retained: some of what was to go stays; where the store does not let these credentials delete");

    world.s3.flip_a_bit(&World::object(&format!("manifests/{first}.json")));
    let status = after_a_backup(&mut agent, |status| status.counts.retention.failed_runs == 1);
    assert_eq!(status.counts.retention.runs, 1);
    agent.wait_for("retention failed; the backups stand");
    assert!(
        status.retention.failing().unwrap().message.contains(&first),
        "{status:?}"
    );
    let page = agent.get("/");
    assert!(
        page.contains("Retention failed") && page.contains("The store kept one object"),
        "{page}"
    );
    agent.stop();
}
