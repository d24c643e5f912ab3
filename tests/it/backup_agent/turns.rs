//! Several agents of one cluster: only the one whose server has the right role, and only one at a time.

use std::time::Duration;

use jiff::Timestamp;
use kubebackup::demo::Treatment;
use kubebackup::http::status::Outcome;
use nix::sys::signal::Signal;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::{BACKUP_ROLE, World, http, wait};

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

/// Both timers come to each due time within a second of each other. A second backup of the same time would have begun
/// sooner after the first than the schedule says.
#[test]
fn two_agents_whose_timers_come_to_the_same_time_make_one_backup_of_it() {
    const TIMES: usize = 5;
    let world = world();
    world.program(&["backup"]).run().ok();
    let variables = [
        ("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 3s"),
        ("KUBEBACKUP_BACKUP_AGENT_RUN_ON", "any"),
    ];
    let [mut first, second] = [(); 2].map(|()| Agent::start(&world, &variables));
    let keys = wait_for_backups(&world, &mut first, 1 + TIMES);
    for agent in [first, second] {
        agent.stop();
    }
    let started = |key: &String| -> Timestamp {
        let root: serde_json::Value = serde_json::from_slice(&world.s3.read(&World::object(key))).unwrap();
        root["started"].as_str().unwrap().parse().unwrap()
    };
    let mut begun: Vec<Timestamp> = keys.iter().map(started).collect();
    begun.sort();
    for pair in begun.windows(2) {
        let apart = Duration::try_from(pair[1].duration_since(pair[0])).unwrap();
        assert!(apart >= Duration::from_secs(3), "{apart:?} apart: {begun:?}");
    }
}

#[test]
fn on_a_store_that_ignores_conditions_backups_are_made_and_the_lease_is_shown_as_degraded() {
    let world = world();
    world.s3.controls.treat_if_none_match(Treatment::Ignored);
    let mut agent = Agent::start(&world, &[SELDOM]);
    wait_for_backups(&world, &mut agent, 1);
    let degraded = |agent: &Agent| {
        let scrape = http::get(([127, 0, 0, 1], agent.port).into(), "/metrics").unwrap().body;
        scrape.contains("\nkubebackup_lease_degraded 1\n")
    };
    agent.wait_until("the run to end", |status| status.runs.len() == 1);
    assert!(degraded(&agent));

    // One that waits for another agent's lease knows it, too.
    let go = world.directory().join("go");
    let held = format!("after-snapshot=go:{}", go.display());
    let mut holder = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_FAILPOINT", &held)]);
    holder.trigger();
    holder.wait_for("failpoint after-snapshot");
    agent.trigger();
    let status = agent.wait_until("it to find the lease taken", |status| status.runs.len() == 2);
    assert_eq!(status.runs[0].outcome, Outcome::Skipped);
    assert!(degraded(&agent));
    std::fs::write(go, "").unwrap();
    let status = holder.wait_until("the holder's run to end", |status| status.runs.len() == 1);
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    holder.stop();
    agent.stop();
    assert_eq!(world.keys("manifests/").len(), 2);
}
