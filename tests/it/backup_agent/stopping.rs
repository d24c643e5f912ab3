//! SIGTERM, whatever the agent is at: it ends with 0 within five seconds, leaves no backup and no session behind.

use std::fs::{self, File};
use std::io::Write as _;

use kubebackup::demo::{S3Effect, S3Fault};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Agent, SELDOM};
use crate::support::{Program, S3, World, wait};

/// Sessions of ours at the server.
fn sessions(world: &World) -> String {
    world.source_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'")
}

#[test]
fn it_ends_in_every_phase_of_a_backup_and_leaves_nothing() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 150000) i");
    for phase in [
        "after-locks",
        "after-snapshot",
        "after-schema",
        "after-first-chunk",
        "before-manifest",
    ] {
        let mut agent = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_FAILPOINT", phase)]);
        agent.wait_for(&format!("failpoint {phase}"));
        let printed = agent.stop().printed();
        assert!(printed.contains("outcome=\"interrupted\""), "{phase}:\n{printed}");
        assert!(world.keys("manifests/").is_empty(), "{phase}");
        wait::until("its sessions to be gone", || sessions(&world) == "0");
    }
}

/// The end of a run: its index goes up, what it reuses is looked for, its root goes up. The store answers none of it.
#[test]
fn it_ends_in_every_step_of_the_commit_and_leaves_no_backup() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
    world.program(&["backup"]).run().ok();
    for (operation, below) in [
        ("PutObject", "chunks/"),
        ("HeadObject", "chunks/"),
        ("PutObject", "manifests/"),
    ] {
        let step = format!("{operation} {below}");
        let go = world.directory().join(format!("go-{}", step.replace('/', "")));
        let failpoint = format!("before-manifest=go:{}", go.display());
        let mut agent = Agent::start(&world, &[SELDOM, ("KUBEBACKUP_FAILPOINT", &failpoint)]);
        agent.wait_for("next backup at=");
        agent.trigger();
        agent.wait_for("failpoint before-manifest");
        let begun = world.s3.controls.requests().len();
        world.s3.controls.inject(S3Fault {
            operation: Some(operation),
            key_prefix: World::object(below),
            times: 1,
            effect: S3Effect::Hang,
        });
        fs::write(go, "").unwrap();
        wait::until(&step, || {
            let requests = world.s3.controls.requests();
            let mut of_commit = requests[begun..].iter();
            of_commit.any(|request| request.operation == operation && request.key.starts_with(&World::object(below)))
        });
        let printed = agent.stop().printed();
        assert!(printed.contains("outcome=\"interrupted\""), "{step}:\n{printed}");
        assert_eq!(world.keys("manifests/").len(), 1, "{step}");
        wait::until("its sessions to be gone", || sessions(&world) == "0");
    }
    world.program(&["verify", "--all"]).run().ok();
}

#[test]
fn it_ends_while_nothing_is_to_be_done() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.program(&["backup"]).run().ok();
    let mut agent = Agent::start(&world, &[SELDOM]);
    agent.wait_for("next backup at=");
    agent.stop();
    assert_eq!(sessions(&world), "0");
}

/// Opening a pipe for writing waits for the reader: the agent is reading its settings then, and nothing else is there yet.
#[test]
fn a_signal_that_comes_while_the_settings_are_read_is_kept() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.program(&["backup"]).run().ok();
    let pipe = world.directory().join("pipe.yaml");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let running = Program::new(&["--config", pipe.to_str().unwrap(), "backup-agent"])
        .envs(S3::credentials())
        .env("KUBEBACKUP_AGENT_LISTEN", "127.0.0.1:0")
        .envs([SELDOM])
        .spawn();
    let mut settings = File::options().write(true).open(&pipe).unwrap();
    running.signal(Signal::SIGUSR1);
    settings.write_all(&fs::read(&world.settings_file).unwrap()).unwrap();
    drop(settings);
    wait::until("the backup that was asked for", || world.keys("manifests/").len() == 2);
    running.signal(Signal::SIGTERM);
    let printed = running.wait().ok().printed();
    assert!(printed.contains("trigger=\"signal\""), "{printed}");
}

#[test]
fn signals_that_mean_something_to_agents_alone_end_other_verbs_as_they_end_programs() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    for signal in [Signal::SIGUSR1, Signal::SIGHUP] {
        let mut backup = world
            .program(&["backup"])
            .env("KUBEBACKUP_FAILPOINT", "after-snapshot")
            .spawn();
        backup.wait_for("failpoint after-snapshot");
        backup.signal(signal);
        assert_eq!(backup.wait().signal(), Some(signal as i32));
    }
}
