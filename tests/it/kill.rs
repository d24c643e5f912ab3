//! kill -9 of a backup in each of its phases leaves no backup, nothing in the way of the next one, and no locks.

use crate::support::{World, wait};

const PHASES: &[&str] = &[
    "after-locks",
    "after-snapshot",
    "after-schema",
    "after-first-chunk",
    "before-manifest",
];

/// Stops a backup in `phase` (it says so itself), kills it, and looks at what is left.
fn killed_in(world: &World, phase: &str) {
    let before = world.keys("manifests/");
    let mut backup = world.program(&["backup"]).env("KUBEBACKUP_FAILPOINT", phase).spawn();
    backup.wait_for(&format!("failpoint {phase}"));
    let ended = backup.kill();
    assert_eq!(ended.signal(), Some(9), "{phase}: {}", ended.printed());
    assert_eq!(world.keys("manifests/"), before, "killed {phase}");
    // Its sessions end with it, and so do their locks and their hold on VACUUM.
    wait::until("the server to notice", || {
        world.source_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'") == "0"
    });
}

#[test]
fn a_backup_killed_in_any_phase_leaves_no_manifest_and_the_next_one_works() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE large AS SELECT i, md5(i::text) AS text FROM generate_series(1, 150000) i;
         CREATE TABLE small AS SELECT 1 AS one; SELECT lo_from_bytea(4711, 'large object');",
    );
    for phase in PHASES {
        killed_in(&world, phase);
    }
    world.program(&["backup"]).run().ok();
    assert_eq!(world.keys("manifests/").len(), 1);
    for phase in PHASES {
        killed_in(&world, phase);
    }
    let second = world.program(&["--output", "json", "backup"]).run().ok().json();
    assert!(second["stats"]["reused_chunks"].as_u64() > Some(0), "{second}");
    assert_eq!(world.keys("manifests/").len(), 2);
    world.program(&["verify", "--all"]).run().ok();
}

/// At moments that nobody chose: whatever it was doing, either the whole backup is there or nothing.
#[test]
fn a_backup_killed_at_some_moment_is_there_wholly_or_not_at_all() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 200000) i");
    world.program(&["backup"]).run().ok();
    let mut killed = 0;
    for objects in 1..6 {
        world.source_sql(&format!("UPDATE t SET text = md5(text) WHERE i % 5 = {objects} % 5"));
        let before = world.keys("").len();
        let mut backup = world.program(&["backup"]).spawn();
        wait::until("the backup to store objects or to end", || {
            world.keys("").len() >= before + objects || backup.has_ended()
        });
        killed += usize::from(backup.kill().signal() == Some(9));
    }
    assert!(killed > 0, "each backup ended before it could be killed");
    world.program(&["backup"]).run().ok();
    world.program(&["verify", "--all"]).run().ok();
}
