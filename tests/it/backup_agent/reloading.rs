//! SIGHUP: settings that are good are taken over, others are refused and the old ones stay.

use nix::sys::signal::Signal;

use super::{Agent, wait_for_backups};
use crate::support::World;

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
