//! `trigger --wait` ends as the run ended, whatever came of it: a number for each outcome, on both agents; and in a
//! container, where the agent is process 1, it needs to be told nothing.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::triggering::trigger;
use super::{Agent, SELDOM};
use crate::support::{World, wait};

/// A world with a backup, so that nothing is due.
fn backed_up() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS n; ALTER TABLE t ADD PRIMARY KEY (n)");
    world.program(&["backup"]).run().ok();
    world
}

/// An agent that has nothing to do.
fn idle(world: &World, variables: &[(&str, &str)]) -> Agent {
    let mut agent = Agent::start(world, &[&[SELDOM], variables].concat());
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    agent
}

#[test]
fn a_run_that_is_another_agents_turn_ends_it_with_7() {
    let world = backed_up();
    let of_standbys = idle(&world, &[("KUBEBACKUP_BACKUP_AGENT_RUN_ON", "standby")]);
    let skipped = trigger(&world, &of_standbys, &["--wait"]).expect(7).json();
    assert_eq!(skipped["run"]["outcome"], "skipped");
    let message = skipped["run"]["message"].as_str().unwrap();
    assert!(message.contains("backup_agent.run_on is standby"), "{message}");
    of_standbys.stop();

    let mut holder = idle(&world, &[("KUBEBACKUP_FAILPOINT", "after-snapshot")]);
    holder.trigger();
    holder.wait_for("failpoint after-snapshot");
    let other = idle(&world, &[]);
    let skipped = trigger(&world, &other, &["--wait"]).expect(7).json();
    assert_eq!(skipped["run"]["outcome"], "skipped");
    assert!(skipped["run"]["backup_id"].is_null(), "{skipped}");
    let message = skipped["run"]["message"].as_str().unwrap();
    assert!(message.contains("backs this cluster up"), "{message}");
    other.stop();
    holder.stop();
    assert_eq!(world.keys("manifests/").len(), 1);
}

#[test]
fn a_run_that_gives_way_to_production_ends_it_with_7() {
    let world = backed_up();
    let budget = ("KUBEBACKUP_BACKUP_MAX_BLOCKING", "1s");
    let mut agent = idle(&world, &[budget, ("KUBEBACKUP_FAILPOINT", "after-snapshot")]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| trigger(&world, &agent, &["--wait"]));
        wait::until("the run to hold its locks", || {
            agent.running.printed().contains("failpoint after-snapshot")
        });
        // Waits for the backup's lock, until the backup gives way.
        world.source_sql("ALTER TABLE t ADD COLUMN later int");
        let yielded = waiting.join().unwrap().expect(7).json();
        assert_eq!(yielded["run"]["outcome"], "yielded");
        let message = yielded["run"]["message"].as_str().unwrap();
        assert!(message.contains("backup.max_blocking"), "{message}");
    });
    agent.wait_until("it to be idle", |status| status.current.is_none());
    assert_eq!(world.keys("manifests/").len(), 1);
    agent.stop();
}

#[test]
fn a_drill_ends_it_with_0_where_it_certified_3_where_it_failed_and_4_where_it_could_not_judge() {
    let mut world = backed_up();
    world.mark_targets();
    let soon = ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1s");
    let mut agent = Agent::of_program(world.program(&["restore-agent"]), &[soon]);
    agent.wait_until("the first drill to end", |status| status.runs.len() == 1);
    let drill = |world: &World, agent: &Agent, code, outcome| {
        let drilled = trigger(world, agent, &["--wait"]).expect(code).json();
        assert_eq!(drilled["agent"], "restore_agent");
        assert_eq!(drilled["run"]["outcome"], outcome, "{drilled}");
        assert_eq!(drilled["run"]["trigger"], "signal");
        let backup_id = drilled["run"]["backup_id"].as_str().unwrap();
        assert_eq!(world.keys("manifests/"), [format!("manifests/{backup_id}.json")]);
    };
    drill(&world, &agent, 0, "certified");

    world.target.stop(Signal::SIGINT).unwrap();
    drill(&world, &agent, 4, "unverified");

    world.target.start_server().unwrap();
    for chunk in world.keys("chunks/") {
        world.s3.flip_a_bit(&World::object(&chunk));
    }
    drill(&world, &agent, 3, "failed");
    agent.stop();
}

/// Namespaces of its own, as a container has them; the process inside dies with the one outside.
const CONTAINER: [&str; 7] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];

/// Where the kernel lets nobody make namespaces, it must say so, and the unit tests beside `process::find` are what shows
/// how process 1 is found.
fn may_make_containers() -> bool {
    let (program, arguments) = CONTAINER.split_first().unwrap();
    let tried = Command::new(program).args(arguments).arg("true").output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(tried.status.success() || said.contains("not permitted"), "{said}");
    tried.status.success()
}

#[test]
fn in_a_container_the_agent_is_process_1_and_needs_no_naming() {
    if !may_make_containers() {
        eprintln!("this machine allows no namespaces: process 1 is shown by the unit tests alone");
        return;
    }
    let world = backed_up();
    let mut agent = Agent::of_program(world.program(&["backup-agent"]).within(&CONTAINER), &[SELDOM]);
    agent.wait_until("it to have nothing to do", |status| status.next_run.is_some());
    let outside = agent.running.id();
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).unwrap();
    let inside = children.trim();
    // As `kubectl exec` does.
    let enter = [
        "nsenter",
        "--target",
        inside,
        "--user",
        "--preserve-credentials",
        "--pid",
        "--mount",
    ];
    let address = format!("127.0.0.1:{}", agent.port);
    let arguments = ["--output", "json", "trigger", "--wait", "--address", &address];
    let triggered = world.program(&arguments).within(&enter).run().ok().json();
    assert_eq!(triggered["pid"], 1);
    assert_eq!(triggered["run"]["outcome"], "succeeded");
    assert_eq!(world.keys("manifests/").len(), 2);
    kill(Pid::from_raw(inside.parse().unwrap()), Signal::SIGTERM).unwrap();
    agent.running.wait().ok();
}
