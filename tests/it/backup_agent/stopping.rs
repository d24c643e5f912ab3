//! SIGTERM, whatever the agent is at: it ends with 0 within five seconds, leaves no backup and no session behind.

use super::{Agent, SELDOM};
use crate::support::{World, wait};

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
