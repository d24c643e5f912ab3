//! Credentials that are replaced while a backup runs: the store's in their AWS file, PostgreSQL's in its password file.
//! A failpoint holds the run; from then on the old ones are refused.

use std::fs;
use std::path::{Path, PathBuf};

use kubebackup::demo::{Identity, Treatment};

use crate::support::{BACKUP_ROLE, Program, Running, World, WorldOptions};

const OLD_SECRET: &str = "old-secret-of-the-store-5d1c";
const NEW_SECRET: &str = "new-secret-of-the-store-90be";

fn write_profile(file: &Path, access_key: &str, secret_key: &str) {
    let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    // Moved into place, as Kubernetes replaces a mounted Secret: nobody reads half of it.
    let aside = file.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, file).unwrap();
}

/// A backup that waits at `failpoint`, and the file that lets it go on.
fn held_backup(world: &World, failpoint: &str, variables: &[(&str, &str)]) -> (Running, PathBuf) {
    let go = world.directory().join(format!("go-{}", rand::random::<u64>()));
    let settings = world.settings_file.to_str().unwrap();
    let mut backup = Program::new(&["--config", settings, "backup"])
        .env("KUBEBACKUP_FAILPOINT", &format!("{failpoint}=go:{}", go.display()))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .spawn();
    backup.wait_for(&format!("failpoint {failpoint}"));
    (backup, go)
}

#[test]
fn credentials_of_the_store_that_are_replaced_during_a_backup_are_taken_up() {
    let world = World::start();
    let controls = &world.s3.controls;
    let file = world.directory().join("aws-credentials");
    // Where the store ignores conditions a HEAD goes first, and the refusal of a HEAD has no words.
    for (treatment, first) in [(Treatment::Honoured, "PutObject"), (Treatment::Ignored, "HeadObject")] {
        controls.treat_if_none_match(treatment);
        world.source_sql(
            "CREATE TABLE IF NOT EXISTS t AS SELECT 0 AS i; INSERT INTO t SELECT generate_series(1, 20000)",
        );
        let (old, new) = (format!("OLD{first}"), format!("NEW{first}"));
        controls.admit(Identity::full(&old, OLD_SECRET));
        write_profile(&file, &old, OLD_SECRET);
        let variables = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
        let (backup, go) = held_backup(&world, "after-first-chunk", &variables);
        let before = world.keys("manifests/").len();

        controls.admit(Identity::full(&new, NEW_SECRET));
        write_profile(&file, &new, NEW_SECRET);
        controls.dismiss(&old);
        let passed = controls.requests().len();
        fs::write(go, "").unwrap();
        let ended = backup.wait().ok();

        assert_eq!(world.keys("manifests/").len(), before + 1);
        let requests = controls.requests();
        let (earlier, later) = requests.split_at(passed);
        assert!(earlier.iter().any(|request| request.access_key == old));
        assert!(later.iter().all(|request| request.access_key == new), "{later:?}");
        assert!(later.iter().any(|request| request.operation == first), "{later:?}");
        for secret in [OLD_SECRET, NEW_SECRET, &old, &new] {
            assert!(!ended.printed().contains(secret), "{}", ended.printed());
        }
    }
}

#[test]
fn credentials_of_the_store_that_are_refused_and_not_replaced_end_the_backup() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let controls = &world.s3.controls;
    let file = world.directory().join("aws-credentials");
    controls.admit(Identity::full("OLD", OLD_SECRET));
    write_profile(&file, "OLD", OLD_SECRET);
    let variables = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
    let (backup, go) = held_backup(&world, "after-first-chunk", &variables);
    controls.dismiss("OLD");
    fs::write(go, "").unwrap();
    let ended = backup.wait().expect(1);
    assert!(ended.stderr.contains("credentials refused"), "{}", ended.stderr);
    assert!(ended.stderr.contains("InvalidAccessKeyId"), "{}", ended.stderr);
    assert!(world.keys("manifests/").is_empty());
}

#[test]
fn a_password_that_is_replaced_during_a_backup_is_taken_up_by_new_connections() {
    let world = World::with(WorldOptions {
        databases: &["shop", "stock"],
        ..WorldOptions::default()
    });
    for database in ["shop", "stock"] {
        world
            .source
            .sql(database, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
            .unwrap();
    }
    let credentials = crate::support::S3::credentials();
    let (backup, go) = held_backup(&world, "after-first-chunk", &credentials);
    let role = format!("ALTER ROLE {BACKUP_ROLE} PASSWORD 'another password'");
    world.source.sql("postgres", &role).unwrap();
    fs::write(world.directory().join("source-password"), "another password\n").unwrap();
    fs::write(go, "").unwrap();
    // The second database: its own sessions, and a pg_dump.
    let ended = backup.wait().ok();
    assert!(ended.stdout.contains("shop, stock"), "{}", ended.stdout);
    assert!(!ended.printed().contains("another password"), "{}", ended.printed());
}
