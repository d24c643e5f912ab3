//! SIGHUP: settings that are good are taken over, others are refused and the old ones stay.

use kubebackup::http::status::Status;
use nix::sys::signal::Signal;

use super::{Agent, wait_for_backups};
use crate::support::{World, wait};

const SELDOM: &str = "backup_agent:\n  schedule: every 24h\n";

#[test]
fn good_settings_and_the_log_level_are_taken_over_and_bad_ones_refused() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.write_settings("settings.yaml", SELDOM);
    let mut agent = Agent::start(&world, &[]);
    wait_for_backups(&world, &mut agent, 1);
    agent.wait_until("the first run to end", |status| status.runs.len() == 1);

    world.write_settings("settings.yaml", "backup_agent:\n  schedule: sometimes\n");
    agent.running.signal(Signal::SIGHUP);
    let status = agent.wait_until("the refusal", |status| status.counts.refused_reloads == 1);
    assert_eq!(status.counts.reloads, 0);
    agent.wait_for("the old ones stay");
    // The old ones are in force: it goes on, and a signal still leads to a backup.
    agent.trigger();
    wait_for_backups(&world, &mut agent, 2);
    assert!(!agent.running.printed().contains("DEBUG"));

    world.write_settings(
        "settings.yaml",
        "backup_agent:\n  schedule: every 1s\nlog:\n  level: debug\n",
    );
    agent.running.signal(Signal::SIGHUP);
    let status = agent.wait_until("the settings to be taken over", |status| status.counts.reloads == 1);
    assert_eq!(status.counts.refused_reloads, 1);
    wait_for_backups(&world, &mut agent, 4);
    agent.wait_for("DEBUG");
    agent.stop();
}

#[test]
fn settings_that_would_not_have_let_it_start_are_refused_too() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let good = std::fs::read_to_string(&world.settings_file).unwrap();
    let mut agent = Agent::start(&world, &[super::SELDOM]);
    agent.wait_until("the first run to end", |status| status.runs.len() == 1);
    for (line, nothing) in [("cluster: production\n", ""), ("  bucket: backups\n", "")] {
        let before = agent.status().unwrap().counts.refused_reloads;
        assert!(good.contains(line), "{line}");
        std::fs::write(&world.settings_file, good.replace(line, nothing)).unwrap();
        agent.running.signal(Signal::SIGHUP);
        agent.wait_until("the refusal", |status| status.counts.refused_reloads == before + 1);
    }
    agent.stop();
}

#[test]
fn changes_that_wait_for_the_next_start_are_named() {
    let world = World::start();
    let with = |more: &str| world.write_settings("settings.yaml", &format!("{SELDOM}{more}"));
    with("agent: {listen: '127.0.0.1:0'}\n");
    let mut agent = world.program(&["backup-agent"]).spawn();
    agent.wait_for("listening address=");
    let reload = |more: &str, times: usize| {
        with(more);
        agent.signal(Signal::SIGHUP);
        wait::until("the settings to be read", || {
            agent.printed().matches("settings read anew").count() == times
        });
    };
    reload("agent: {listen: '127.0.0.1:0', poll_interval: 2m}\n", 1);
    reload("agent: {listen: '127.0.0.1:1'}\nlog: {format: json}\n", 2);
    agent.wait_for("in force from the next start on settings=\"agent.listen, log.format\"");
    agent.signal(Signal::SIGTERM);
    let printed = agent.wait().ok().printed();
    assert_eq!(printed.matches("from the next start on").count(), 1, "{printed}");
}

#[test]
fn requests_of_a_run_that_outlives_its_settings_are_counted() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let go = world.directory().join("go");
    let failpoint = format!("after-snapshot=go:{}", go.display());
    // A request that a reload cuts off has been made and never ends: the looks at the bucket are to have ended by then.
    let variables = [
        super::SELDOM,
        ("KUBEBACKUP_AGENT_POLL_INTERVAL", "10m"),
        ("KUBEBACKUP_FAILPOINT", failpoint.as_str()),
    ];
    let mut agent = Agent::start(&world, &variables);
    agent.wait_for("failpoint after-snapshot");
    let read_at = |status: &Status| status.repository.as_ref().map(|repository| repository.read_at);
    for reloads in 1..=2 {
        let before = read_at(&agent.status().unwrap());
        agent.running.signal(Signal::SIGHUP);
        agent.wait_until("the bucket to be read by the new settings", |status| {
            status.counts.reloads == reloads && read_at(status) > before
        });
    }
    std::fs::write(go, "").unwrap();
    let uploads = |status: &Status| status.counts.store.requests["put"].values().sum::<u64>();
    let status = agent.wait_until("the run to end", |status| {
        status.runs.len() == 1 && status.next_run.is_some()
    });
    assert_eq!(uploads(&status), world.s3.controls.count("PutObject") as u64);
    agent.stop();
}
