//! Backups that a newer version of the program wrote into the same repository: they are told apart from damage, never
//! mistaken for another backup, and stand in the way only where they could be the one that is meant.

use kubebackup::repository::id::BackupId;
use serde_json::Value;

use crate::support::{Ended, World, wait};

/// All that a later format promises to keep.
const NEWER: &str = "{\"format_version\": 7, \"shape\": \"unheard of\"}";

/// Two backups; the older one, the newer one.
fn two_backups() -> (World, String, String) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS n");
    let older = world.back_up();
    // Ids tell the second alone: of two backups in the same one, either could be the newer.
    let second = older.parse::<BackupId>().unwrap().time().as_second();
    wait::until("the second of the first backup to pass", || {
        jiff::Timestamp::now().as_second() > second
    });
    world.source_sql("INSERT INTO t VALUES (2)");
    let newer = world.back_up();
    world.mark_targets();
    (world, older, newer)
}

/// As a newer version would have written this backup.
fn rewrite(world: &World, backup_id: &str) -> String {
    let root = format!("manifests/{backup_id}.json");
    world.s3.overwrite(&World::object(&root), NEWER.as_bytes());
    root
}

fn restore(world: &World, into: &str, which: &[&str]) -> Ended {
    let into = world.target.dsn(world.target.superuser(), into);
    let arguments = ["--output", "json", "restore", "--into", &into, "--create-database"];
    let program = world.program(&[&arguments[..], which].concat());
    program.env("PGPASSWORD", world.target.password()).run()
}

#[test]
fn an_old_backup_of_a_newer_format_is_passed_over_and_no_target_is_wiped_beside_it() {
    let (world, older, newer) = two_backups();
    let root = rewrite(&world, &older);
    let restored = restore(&world, "again", &[]).ok();
    assert_eq!(restored.json()["backup_id"], newer.as_str());
    for words in ["backup passed over", &older, "has format version 7"] {
        assert!(restored.stderr.contains(words), "{words}: {}", restored.stderr);
    }
    let listed = world.program(&["--output", "json", "list"]).run().expect(5).json();
    assert!(
        listed.to_string().contains(&format!("'{root}' has format version 7")),
        "{listed}"
    );

    // The server that it came from is not known, and this may be it.
    world.restored_sql("CREATE TABLE precious AS SELECT 1 AS one");
    let certificate = world.program(&["--output", "json", "drill"]).run().expect(4).json();
    assert_eq!(certificate["cause"], "target_absent", "{certificate}");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(
        summary.contains(&root) && summary.contains("update this program"),
        "{summary}"
    );
    assert_eq!(
        certificate["damaged_objects"],
        Value::Array(Vec::new()),
        "{certificate}"
    );
    assert_eq!(world.restored_sql("TABLE precious"), "1");
}

#[test]
fn the_newest_backup_of_a_newer_format_is_not_replaced_by_an_older_one_unless_that_is_asked_for() {
    let (world, older, newer) = two_backups();
    let root = rewrite(&world, &newer);
    for refused in [restore(&world, "again", &[]), world.program(&["drill"]).run()] {
        let refused = refused.expect(1);
        assert!(
            refused.stderr.contains(&format!("'{root}' has format version 7"))
                && refused.stderr.contains("update this program"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(world.keys("certificates/").len(), 0, "nothing is known of that backup");
    let made = &world
        .target
        .sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'again'");
    assert_eq!(made.as_deref().unwrap(), "0");
    restore(&world, "again", &["--backup", &older]).ok();
    assert_eq!(world.target.sql("again", "TABLE t").unwrap(), "1");
}
