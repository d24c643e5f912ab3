//! Several agents of one cluster: only the one whose server has the right role, and only one at a time.

use kubebackup::http::status::Outcome;
use nix::sys::signal::Signal;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::{BACKUP_ROLE, World, wait};

fn world() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world
}

#[test]
fn a_standbys_agent_leaves_the_backup_to_the_primarys_and_takes_over_when_it_is_promoted() {
    let mut world = world();
    let standby = world.source.start_standby().unwrap();
    let dsn = standby.dsn(BACKUP_ROLE, world.database());
    let of_standby = ("KUBEBACKUP_SOURCE_DSN", dsn.as_str());
    let mut second = Agent::start(&world, &[SELDOM, of_standby]);
    let status = second.wait_until("the standby's agent to pass", |status| {
        status.waiting_for.is_some() && status.runs.len() == 1
    });
    assert_eq!(status.runs[0].outcome, Outcome::Skipped);
    let reason = status.runs[0].message.clone().unwrap();
    assert!(
        reason.contains("a standby and backup_agent.run_on is primary"),
        "{reason}"
    );

    // The primary's agent makes the backup, and the standby's has nothing left to wait for.
    let mut first = Agent::start(&world, &[SELDOM]);
    wait_for_backups(&world, &mut first, 1);
    let status = second.wait_until("the backup to satisfy both", |status| status.waiting_for.is_none());
    assert_eq!(status.runs.len(), 1, "{:?}", status.runs);

    // Asked for, it says that it is not its turn.
    second.trigger();
    let status = second.wait_until("the asked run to end", |status| status.runs.len() == 2);
    assert_eq!(status.runs[0].outcome, Outcome::Skipped);

    // The primary is lost with a backup due; its agent waits, and the new primary's makes it.
    first.stop();
    second.stop();
    let often = ("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s");
    let mut second = Agent::start(&world, &[often, of_standby]);
    second.wait_until("the standby's agent to pass", |status| status.waiting_for.is_some());
    world.source.stop(Signal::SIGQUIT).unwrap();
    standby.sql("postgres", "SELECT pg_promote()").unwrap();
    wait_for_backups(&world, &mut second, 2);
    second.stop();
}

#[test]
fn a_standby_is_backed_up_where_the_settings_say_so() {
    let world = world();
    let standby = world.source.start_standby().unwrap();
    let run_on = ("KUBEBACKUP_BACKUP_AGENT_RUN_ON", "standby");
    let mut of_primary = Agent::start(&world, &[SELDOM, run_on]);
    let status = of_primary.wait_until("the primary's agent to pass", |status| status.waiting_for.is_some());
    assert!(status.waiting_for.unwrap().contains("is a primary"));
    let dsn = standby.dsn(BACKUP_ROLE, world.database());
    // What was created on the primary has to arrive first.
    wait::until("the standby to have caught up", || {
        standby.sql(world.database(), "TABLE t").is_ok_and(|rows| rows == "1")
    });
    let mut of_standby = Agent::start(&world, &[SELDOM, run_on, ("KUBEBACKUP_SOURCE_DSN", &dsn)]);
    wait_for_backups(&world, &mut of_standby, 1);
    of_standby.stop();
    of_primary.stop();
}

#[test]
fn of_two_agents_on_one_bucket_one_backs_up_at_a_time() {
    let world = world();
    let go = world.directory().join("go");
    let failpoint = format!("after-snapshot=go:{}", go.display());
    let mut first = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_FAILPOINT", &failpoint)]);
    first.wait_for("failpoint after-snapshot");
    let lease = first.status().unwrap().lease.unwrap();
    assert!(lease.is_held && !lease.is_degraded, "{lease:?}");

    let mut second = Agent::start(&world, &[SELDOM]);
    let status = second.wait_until("the second agent to pass", |status| {
        status.waiting_for.is_some() && status.runs.len() == 1
    });
    assert_eq!(status.runs[0].outcome, Outcome::Skipped);
    assert!(status.waiting_for.unwrap().contains("backs this cluster up"));
    assert!(!status.lease.unwrap().is_held);

    std::fs::write(go, "").unwrap();
    wait_for_backups(&world, &mut first, 1);
    second.wait_until("the first one's backup to satisfy both", |status| {
        status.waiting_for.is_none()
    });
    // The lease was given back: the second one may.
    second.trigger();
    let status = second.wait_until("its own run to end", |status| status.runs.len() == 2);
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    second.stop();
    first.stop();
    assert_eq!(world.keys("manifests/").len(), 2);
}
