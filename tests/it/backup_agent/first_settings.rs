//! Settings that are missing or wrong at the start: the sidecar waits for better ones, and its pod stays in its Service.

use std::fs;

use kubebackup::http::status::{Status, Trigger};
use nix::sys::signal::Signal;

use super::{Agent, SELDOM, wait_for_backups};
use crate::support::{Program, S3, World, http};

/// What it says once about each thing that is wrong.
const WAITS: &str = "no settings that can be used; waiting for them";

fn world() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world
}

fn agent(settings: &str) -> Agent {
    let program = Program::new(&["--config", settings, "backup-agent"]).envs(S3::credentials());
    Agent::of_program(program, &[SELDOM])
}

fn get(agent: &Agent, path: &str) -> (u16, String) {
    let answer = http::get(([127, 0, 0, 1], agent.port).into(), path).unwrap();
    (answer.code, answer.body)
}

/// It has looked at its settings again, twice.
#[track_caller]
fn wait_for_two_looks(agent: &mut Agent) -> Status {
    let mut status = agent.status().unwrap();
    for _ in 0..2 {
        let turned = status.turned;
        status = agent.wait_until("another look at the settings", |status| status.turned > turned);
    }
    status
}

/// The port is opened anew, by the settings that were found.
#[track_caller]
fn wait_for_settings(agent: &mut Agent) {
    agent.wait_for("settings that can be used are there");
    agent.wait_for_port(2);
    agent.wait_until("the settings to be in force", |status| !status.waits_for_settings);
}

#[test]
fn a_settings_file_that_does_not_exist_is_waited_for() {
    let world = world();
    let file = world.directory().join("later.yaml");
    let mut agent = agent(file.to_str().unwrap());
    let status = wait_for_two_looks(&mut agent);
    assert!(status.waits_for_settings && status.repository.is_none());
    let waiting_for = status.waiting_for.unwrap();
    assert!(
        waiting_for.contains("later.yaml: No such file or directory"),
        "{waiting_for}"
    );
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&agent, path).0, 200, "{path}");
    }
    let (_, metrics) = get(&agent, "/metrics");
    for line in ["kubebackup_waiting 1\n", "kubebackup_waiting_for_settings 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_eq!(agent.running.printed().matches(WAITS).count(), 1, "said once");

    // Asked for meanwhile, and not forgotten.
    agent.trigger();
    fs::copy(&world.settings_file, &file).unwrap();
    wait_for_settings(&mut agent);
    wait_for_backups(&world, &mut agent, 1);
    let status = agent.wait_until("the run to end", |status| !status.runs.is_empty());
    assert_eq!(status.runs.last().unwrap().trigger, Trigger::Signal);
    assert!(
        get(&agent, "/metrics")
            .1
            .contains("kubebackup_waiting_for_settings 0\n")
    );
    agent.stop();
}

#[test]
fn settings_that_are_wrong_are_waited_for_and_each_mistake_is_told_once() {
    let world = world();
    let good = fs::read_to_string(&world.settings_file).unwrap();
    let write = |text: &str| fs::write(&world.settings_file, text).unwrap();
    write(&format!("{good}backup_agent: {{shedule: every 6h}}\n"));
    let mut agent = agent(world.settings_file.to_str().unwrap());
    let status = wait_for_two_looks(&mut agent);
    assert!(status.waits_for_settings);
    agent.wait_for("did you mean 'backup_agent.schedule'");
    assert_eq!(agent.running.printed().matches(WAITS).count(), 1);
    assert_eq!(get(&agent, "/readyz").0, 200);

    // Good for other verbs, and not enough for this one.
    write(&good.replace("cluster: production\n", ""));
    agent.running.signal(Signal::SIGHUP);
    agent.wait_for("cluster is not set");
    assert_eq!(agent.running.printed().matches(WAITS).count(), 2);
    write(&good);
    wait_for_settings(&mut agent);
    wait_for_backups(&world, &mut agent, 1);
    agent.stop();
}

#[test]
fn sigterm_ends_it_while_it_waits_and_other_verbs_do_not_wait() {
    let world = world();
    let missing = world.directory().join("missing.yaml");
    let missing = missing.to_str().unwrap();
    agent(missing).stop();
    for verb in ["restore-agent", "backup"] {
        let ended = Program::new(&["--config", missing, verb]).run().expect(2);
        assert!(ended.stderr.contains("missing.yaml"), "{}", ended.stderr);
    }
}
