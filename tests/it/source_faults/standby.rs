//! A backup of a standby whose replay does not wait for it.

use super::assert_failed;
use crate::support::{BACKUP_ROLE, Program, World, wait};

#[test]
fn a_standby_that_must_replay_what_the_backup_stands_in_the_way_of_ends_it_and_the_error_says_so() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i; CREATE TABLE other ()",
    );
    // The standby's copy of the settings has it too.
    world
        .source
        .sql("postgres", "ALTER SYSTEM SET max_standby_streaming_delay = 0")
        .unwrap();
    let standby = world.source.start_standby().unwrap();
    let backup = |variables: &[(&str, &str)]| -> Program {
        let dsn = standby.dsn(BACKUP_ROLE, "shop");
        let backup = world.program(&["backup"]).env("KUBEBACKUP_SOURCE_DSN", &dsn);
        backup.envs(variables.iter().copied())
    };
    for (number, change) in [
        // Row versions that the snapshot sees go away; a table that is locked is rewritten.
        "DELETE FROM t WHERE i <= 500; VACUUM t",
        "TRUNCATE other",
    ]
    .into_iter()
    .enumerate()
    {
        let go = world.directory().join(format!("go-{number}"));
        let failpoint = format!("after-schema=go:{}", go.display());
        let mut running = backup(&[("KUBEBACKUP_FAILPOINT", &failpoint)]).spawn();
        running.wait_for("failpoint after-schema");
        world.source_sql(change);
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kubebackup snapshot'";
        wait::until("the standby to replay it", || {
            standby.sql("postgres", ours).unwrap() == "0"
        });
        std::fs::write(go, "").unwrap();
        let words = ["conflict with recovery", "max_standby_streaming_delay"];
        assert_failed(&world, &running.wait(), (7, 0), &words);
    }
    backup(&[]).run().ok();
    world.mark_targets();
    world.program(&["drill", "--keep"]).run().ok();
    assert_eq!(world.restored_sql("SELECT count(*) FROM t"), "500");
}
