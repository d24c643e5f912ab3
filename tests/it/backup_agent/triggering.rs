//! `trigger`: it finds the agent, and with `--wait` ends as the run ended.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::{Ended, World};

/// An agent that has made its first backup and waits for the next day.
fn settled(variables: &[(&str, &str)]) -> (World, Agent) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.program(&["backup"]).run().ok();
    let mut all = vec![SELDOM];
    all.extend(variables);
    let mut agent = Agent::start(&world, &all);
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    (world, agent)
}

pub(crate) fn trigger(world: &World, agent: &Agent, more: &[&str]) -> Ended {
    let (pid, address) = (agent.running.id().to_string(), format!("127.0.0.1:{}", agent.port));
    let mut arguments = vec!["--output", "json", "trigger", "--pid", &pid];
    if more.contains(&"--wait") {
        arguments.extend(["--address", &address]);
    }
    arguments.extend(more);
    world.program(&arguments).run()
}

#[test]
fn it_waits_for_the_backup_that_it_asked_for_and_names_it() {
    let (world, mut agent) = settled(&[]);
    let triggered = trigger(&world, &agent, &["--wait"]).ok().json();
    assert_eq!(triggered["agent"], "backup_agent");
    assert_eq!(triggered["run"]["outcome"], "succeeded");
    assert_eq!(triggered["run"]["trigger"], "signal");
    let backup_id = triggered["run"]["backup_id"].as_str().unwrap();
    let keys = world.keys("manifests/");
    assert_eq!(keys.len(), 2);
    assert!(keys.contains(&format!("manifests/{backup_id}.json")), "{keys:?}");

    let sent = trigger(&world, &agent, &[]).ok().json();
    assert_eq!(sent["run"], Value::Null);
    wait_for_backups(&world, &mut agent, 3);
    agent.stop();
}

#[test]
fn it_ends_as_a_run_that_failed_and_says_why() {
    let (mut world, agent) = settled(&[]);
    world.source.stop(Signal::SIGINT).unwrap();
    let triggered = trigger(&world, &agent, &["--wait"]).expect(1).json();
    assert_eq!(triggered["run"]["outcome"], "failed");
    let message = triggered["run"]["message"].as_str().unwrap();
    assert!(message.contains("connect to 127.0.0.1"), "{message}");
    agent.stop();
}

#[test]
fn it_does_not_wait_longer_than_it_was_told_and_leaves_the_run_alone() {
    let (world, agent) = settled(&[("KUBEBACKUP_FAILPOINT", "after-snapshot")]);
    let late = trigger(&world, &agent, &["--wait", "--timeout", "1s"]).expect(8);
    assert!(late.stderr.contains("has not ended within 1s"), "{}", late.stderr);
    assert!(agent.status().unwrap().current.is_some());
    agent.stop();
}

#[test]
fn it_notices_that_the_agent_ends_under_the_run() {
    let (world, mut agent) = settled(&[("KUBEBACKUP_FAILPOINT", "after-snapshot")]);
    let (pid, address) = (agent.running.id().to_string(), format!("127.0.0.1:{}", agent.port));
    let arguments = ["trigger", "--wait", "--pid", &pid, "--address", &address];
    let waiting = world.program(&arguments).spawn();
    agent.wait_for("failpoint after-snapshot");
    agent.stop();
    let ended = waiting.wait();
    // It either still saw the run's end or finds nobody there.
    assert!(
        ended.code() == Some(130) || ended.stderr.contains("has ended"),
        "{}",
        ended.printed()
    );
}

#[test]
fn without_an_agent_or_among_several_it_signals_nobody() {
    let (world, agent) = settled(&[]);
    let own = std::process::id().to_string();
    let none = world.program(&["trigger", "--pid", &own]).run().expect(1);
    assert!(none.stderr.contains("is no agent"), "{}", none.stderr);

    let other = Agent::start(&world, &[SELDOM]);
    let several = world.program(&["trigger"]).run().expect(1);
    assert!(several.stderr.contains("several agents run here"), "{}", several.stderr);
    assert_eq!(agent.status().unwrap().runs.len(), 0);
    other.stop();
    agent.stop();
}
