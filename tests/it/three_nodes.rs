//! A primary and two streaming standbys, an agent beside each, one bucket: the right one backs up, and one at a time.

use kubebackup::demo::Cluster;
use kubebackup::http::status::{Outcome, Status};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::backup_agent::{Agent, SELDOM, wait_for_backups};
use crate::support::{BACKUP_ROLE, World};

const ON_ANY: (&str, &str) = ("KUBEBACKUP_BACKUP_AGENT_RUN_ON", "any");

fn world() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
    world
}

/// An agent whose server is `node`.
fn agent_beside(node: &Cluster, world: &World, variables: &[(&str, &str)]) -> Agent {
    let dsn = node.dsn(BACKUP_ROLE, world.database());
    let own = [SELDOM, ("KUBEBACKUP_SOURCE_DSN", dsn.as_str())];
    Agent::start(world, &[&own, variables].concat())
}

/// Triggers it and waits for the end of that run.
#[track_caller]
fn triggered(agent: &mut Agent) -> (Outcome, String) {
    let runs = |status: &Status| status.counts.runs.values().sum::<u64>();
    let before = runs(&agent.wait_until("a status", |status| status.current.is_none()));
    agent.trigger();
    let status = agent.wait_until("the run to end", |status| {
        status.current.is_none() && runs(status) > before
    });
    let run = &status.runs[0];
    (run.outcome, run.message.clone().unwrap_or_default())
}

/// Every backup's root in the order of the leases under which they were made, first those without; ids of one second have no order.
fn manifests(world: &World) -> Vec<Value> {
    let read = |key: &String| serde_json::from_slice(&world.s3.read(&World::object(key))).unwrap();
    let mut manifests: Vec<Value> = world.keys("manifests/").iter().map(read).collect();
    manifests.sort_by_key(|manifest| manifest["lease_generation"].as_u64());
    manifests
}

#[test]
fn only_the_primarys_agent_backs_up_and_after_a_switch_over_it_is_another() {
    let mut world = world();
    let standbys = [(); 2].map(|()| world.source.start_standby().unwrap());
    let mut first = agent_beside(&world.source, &world, &[]);
    wait_for_backups(&world, &mut first, 1);
    let mut others = [0, 1].map(|number| agent_beside(&standbys[number], &world, &[]));
    for agent in &mut others {
        let (outcome, message) = triggered(agent);
        assert_eq!(outcome, Outcome::Skipped, "{message}");
        assert!(message.contains("standby"), "{message}");
    }
    assert_eq!(world.keys("manifests/").len(), 1);

    world.source.stop(Signal::SIGINT).unwrap();
    assert_eq!(standbys[0].sql("postgres", "SELECT pg_promote()").unwrap(), "t");
    standbys[0]
        .sql(world.database(), "INSERT INTO t VALUES (0, 'after')")
        .unwrap();
    let [mut promoted, mut still_standby] = others;
    assert_eq!(triggered(&mut promoted), (Outcome::Succeeded, String::new()));
    assert_eq!(triggered(&mut still_standby).0, Outcome::Skipped);

    let manifests = manifests(&world);
    let [before, after] = &manifests[..] else {
        panic!("{manifests:?}")
    };
    assert_eq!(after["predecessor"]["backup_id"], before["backup_id"]);
    for (manifest, rows, timeline) in [(before, 1000, 1), (after, 1001, 2)] {
        assert_eq!(manifest["stats"]["rows"], rows);
        assert_eq!(manifest["source"]["timeline"], timeline);
    }
    for agent in [first, promoted, still_standby] {
        agent.stop();
    }
}

#[test]
fn two_agents_that_may_both_back_up_do_so_one_at_a_time() {
    let world = world();
    let standby = world.source.start_standby().unwrap();
    // Neither has anything to catch up: what is made is what was asked for.
    world.program(&["backup"]).run().ok();
    let go = world.directory().join("go");
    let held = format!("before-manifest=go:{}", go.display());
    let mut first = agent_beside(&world.source, &world, &[ON_ANY, ("KUBEBACKUP_FAILPOINT", &held)]);
    let mut second = agent_beside(&standby, &world, &[ON_ANY]);
    first.wait_for("next backup at=");
    second.wait_for("next backup at=");
    first.trigger();
    first.wait_for("failpoint before-manifest");
    let (outcome, message) = triggered(&mut second);
    assert_eq!(outcome, Outcome::Skipped, "{message}");
    assert!(message.contains("another agent"), "{message}");
    assert_eq!(world.keys("manifests/").len(), 1);

    std::fs::write(go, "").unwrap();
    let status = first.wait_until("its backup", |status| {
        status.current.is_none() && !status.runs.is_empty()
    });
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert_eq!(status.lease.map(|lease| lease.is_held), Some(false), "given back");
    assert_eq!(triggered(&mut second), (Outcome::Succeeded, String::new()));
    let in_recovery: Vec<Value> = manifests(&world)
        .iter()
        .map(|manifest| manifest["source"]["in_recovery"].clone())
        .collect();
    assert_eq!(in_recovery, [false, false, true]);
    first.stop();
    second.stop();
}

#[test]
fn the_lease_of_an_agent_that_was_killed_runs_out_and_another_takes_over() {
    let world = world();
    let brief = ("KUBEBACKUP_BACKUP_AGENT_LEASE_DURATION", "10s");
    let killed = agent_beside(
        &world.source,
        &world,
        &[ON_ANY, brief, ("KUBEBACKUP_FAILPOINT", "before-manifest")],
    );
    let mut killed = killed.running;
    killed.wait_for("failpoint before-manifest");
    let mut other = agent_beside(&world.source, &world, &[ON_ANY, brief]);
    assert_eq!(triggered(&mut other).0, Outcome::Skipped);
    killed.kill();
    wait_for_backups(&world, &mut other, 1);
    assert!(manifests(&world)[0]["lease_generation"].as_u64().unwrap() > 1);
    other.stop();
}
