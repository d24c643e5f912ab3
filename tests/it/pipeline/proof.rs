//! The jobs that talk to the agents: a pipeline is green only when the very backup that it asked for has been proven.

use std::process::Stdio;

use super::stand_in::{Ended, StandIn};
use crate::backup_agent::{Agent, SELDOM, wait_for_backups};
use crate::support::{World, wait};

/// A world with a table, and a cluster whose pod in `app-test` is a backup agent that has made its first backup.
pub(super) fn beside_production() -> (World, StandIn, Agent) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
    let cluster = StandIn::new();
    let mut agent = Agent::start(&world, &[SELDOM]);
    wait_for_backups(&world, &mut agent, 1);
    add_pod(&cluster, "app-test", &world, &agent);
    world.mark_targets();
    (world, cluster, agent)
}

fn add_pod(cluster: &StandIn, namespace: &str, world: &World, agent: &Agent) {
    let settings = world.settings_file.to_string_lossy();
    cluster.add_pod(namespace, &settings, agent.running.id().as_raw(), agent.port);
}

pub(super) fn restore_agent(world: &World, cluster: &StandIn) -> Agent {
    let mut agent = Agent::of_program(world.program(&["restore-agent"]), &[]);
    agent.wait_until("its status", |_| true);
    add_pod(cluster, "app-restore-test", world, &agent);
    agent
}

/// The backup that came after `before`; ids within one second have no order.
fn asked_for(world: &World, before: &[String]) -> String {
    let mut new = backups(world);
    new.retain(|backup_id| !before.contains(backup_id));
    assert_eq!(new.len(), 1, "{new:?}");
    new.remove(0)
}

/// Ids of the backups.
pub(super) fn backups(world: &World) -> Vec<String> {
    let name = |key: &String| {
        key.trim_start_matches("manifests/")
            .trim_end_matches(".json")
            .to_owned()
    };
    world.keys("manifests/").iter().map(name).collect()
}

#[test]
fn smoke_ends_well_once_the_very_backup_that_it_asked_for_is_certified() {
    let (world, cluster, backup) = beside_production();
    let before = backups(&world);
    let restore = restore_agent(&world, &cluster);
    let ended = cluster.run("smoke.sh", &[]).expect(0);
    let said = format!("smoke: backup {} is certified\n", asked_for(&world, &before));
    assert!(ended.stdout.ends_with(&said), "{}", ended.stdout);
    restore.stop();
    backup.stop();
}

#[test]
fn smoke_fails_when_the_drill_of_its_backup_fails_and_shows_what_the_agents_say() {
    let (world, cluster, backup) = beside_production();
    let before = backups(&world);
    let mut smoke = cluster.script("smoke.sh", &[]);
    let smoke = smoke.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the backup that smoke asks for", || backups(&world).len() == 2);
    let largest = world
        .keys("chunks/")
        .into_iter()
        .max_by_key(|key| world.s3.read(&World::object(key)).len())
        .unwrap();
    world.s3.flip_a_bit(&World::object(&largest));
    world.program(&["drill"]).run().expect(3);

    let ended = Ended::of(&smoke.wait_with_output().unwrap()).expect(1);
    let said = format!(
        "smoke: error: the drill of backup {} failed\n",
        asked_for(&world, &before)
    );
    assert!(ended.stderr.ends_with(&said), "{}", ended.stderr);
    for shown in [
        "\"agent\": \"backup_agent\"",
        "error: no pod in app-restore-test\nsmoke: cannot be asked",
    ] {
        assert!(ended.stderr.contains(shown), "{shown} is not in:\n{}", ended.stderr);
    }
    backup.stop();
}

#[test]
fn smoke_fails_without_an_agent_and_when_nobody_proves_its_backup_in_time() {
    let ended = StandIn::new().run("smoke.sh", &[]).expect(1);
    assert!(
        ended.stderr.ends_with("the backup did not succeed\n"),
        "{}",
        ended.stderr
    );

    let (world, cluster, backup) = beside_production();
    let before = backups(&world);
    let ended = cluster.run("smoke.sh", &[("DRILL_TIMEOUT", "0s")]).expect(1);
    let said = format!("backup {} was not certified within 0s\n", asked_for(&world, &before));
    assert!(ended.stderr.ends_with(&said), "{}", ended.stderr);
    backup.stop();
}

#[test]
fn the_jobs_by_hand_back_up_drill_and_bring_a_table_back() {
    let (world, cluster, backup) = beside_production();
    cluster.run("backup.sh", &[]).expect(0);
    assert_eq!(backups(&world).len(), 2);

    let restore = restore_agent(&world, &cluster);
    cluster.run("drill.sh", &[]).expect(0);
    assert!(
        world
            .keys("certificates/")
            .iter()
            .any(|key| key.ends_with(".certified.json"))
    );

    world.source_sql("DROP TABLE t");
    let into = world.source.dsn(world.source.superuser(), world.database());
    let table = [
        ("RESTORE_INTO", into.as_str()),
        ("RESTORE_TABLE", "public.t"),
        ("RESTORE_PASSWORD", world.source.password()),
    ];
    let ended = cluster.run("restore.sh", &table).expect(0);
    assert_eq!(world.source_sql("SELECT count(*) FROM t"), "1000");
    for shown in [ended.printed(), cluster.calls()] {
        assert!(!shown.contains(world.source.password()), "{shown}");
    }
    restore.stop();
    backup.stop();
}
