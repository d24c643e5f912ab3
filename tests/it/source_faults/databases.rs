//! Databases that go and come while a backup of all of them runs.

use std::fs;

use serde_json::Value;

use super::assert_failed;
use crate::support::{Ended, Program, S3, World, WorldOptions};

/// Production with the databases `a` and `b`, whose settings name none: all are backed up.
struct Whole {
    world: World,
    settings: String,
}

impl Whole {
    fn start() -> Self {
        let world = World::with(WorldOptions {
            databases: &["a", "b"],
            ..WorldOptions::default()
        });
        for database in ["a", "b"] {
            world.source.sql(database, "CREATE TABLE t AS SELECT 1 AS one").unwrap();
        }
        let text = fs::read_to_string(&world.settings_file).unwrap();
        let settings = world.directory().join("all.yaml");
        let named = "  databases: [a, b]\n";
        assert!(text.contains(named), "{text}");
        // Not a database that will go.
        let text = text.replace(named, "").replace("dbname='a'", "dbname='postgres'");
        fs::write(&settings, text).unwrap();
        let settings = settings.to_string_lossy().into_owned();
        Self { world, settings }
    }

    fn backup(&self) -> Program {
        Program::new(&["--config", &self.settings, "backup"]).envs(S3::credentials())
    }

    /// A backup in whose first database's snapshot this happens.
    fn backup_with(&self, change: &[&str]) -> Ended {
        let go = self.world.directory().join("go");
        let _ = fs::remove_file(&go);
        let failpoint = format!("after-snapshot=go:{}", go.display());
        let mut backup = self.backup().env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
        backup.wait_for("failpoint after-snapshot");
        for statement in change {
            self.world.source.sql("postgres", statement).unwrap();
        }
        fs::write(go, "").unwrap();
        backup.wait()
    }

    /// Names of the databases in the newest backup, and of those that it leaves out.
    fn newest(&self) -> (Value, Value) {
        let key = self.world.keys("manifests/").pop().unwrap();
        let manifest: Value = serde_json::from_slice(&self.world.s3.read(&World::object(&key))).unwrap();
        let databases = manifest["databases"].as_array().unwrap();
        let names = databases.iter().map(|database| database["name"].clone());
        (names.collect(), manifest["databases_not_included"].clone())
    }
}

#[test]
fn a_database_that_is_dropped_before_its_turn_is_named_and_the_next_run_does_without() {
    let whole = Whole::start();
    let ended = whole.backup_with(&["DROP DATABASE b"]);
    assert_failed(
        &whole.world,
        &ended,
        (1, 0),
        &[
            "database b was dropped while the backup ran",
            "lists the databases anew",
        ],
    );
    whole.backup().run().ok();
    assert_eq!(whole.newest().0, serde_json::json!(["a", "postgres"]));
}

#[test]
fn a_database_that_is_dropped_by_force_while_it_is_read_leaves_no_backup_and_the_next_run_does_without() {
    let whole = Whole::start();
    let ended = whole.backup_with(&["DROP DATABASE a WITH (FORCE)"]);
    assert_failed(&whole.world, &ended, (7, 0), &["database a"]);
    whole.backup().run().ok();
    assert_eq!(whole.newest().0, serde_json::json!(["b", "postgres"]));
}

#[test]
fn a_database_that_is_created_meanwhile_is_listed_as_not_in_the_backup_and_is_in_the_next() {
    let whole = Whole::start();
    whole.backup_with(&["CREATE DATABASE c"]).ok();
    assert_eq!(
        whole.newest(),
        (serde_json::json!(["a", "b", "postgres"]), serde_json::json!(["c"]))
    );
    whole.backup().run().ok();
    let (included, left_out) = whole.newest();
    assert_eq!(included, serde_json::json!(["a", "b", "c", "postgres"]));
    assert_eq!(left_out, serde_json::json!([]));
}
