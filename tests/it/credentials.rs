//! Credentials that are replaced or run out while a backup runs: the store's in their AWS file or from a program,
//! PostgreSQL's in its password file. A failpoint holds the run; from then on the old ones are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kubebackup::demo::{Identity, Treatment};
use kubebackup::http::status::{Outcome, Status};

use crate::backup_agent::{Agent, SELDOM};
use crate::support::{BACKUP_ROLE, Program, Running, World, WorldOptions, wait};

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

/// An agent whose store's credentials come from the default chain alone, in a run that waits for the file.
fn held_agent(world: &World, variables: &[(&str, &str)]) -> (Agent, PathBuf) {
    let go = world.directory().join("go");
    let failpoint = format!("after-first-chunk=go:{}", go.display());
    let settings = world.settings_file.to_str().unwrap();
    let program = Program::new(&["--config", settings, "backup-agent"]).envs(variables.iter().copied());
    let held = [
        SELDOM,
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("KUBEBACKUP_FAILPOINT", failpoint.as_str()),
    ];
    let mut agent = Agent::of_program(program, &held);
    agent.wait_for("failpoint after-first-chunk");
    (agent, go)
}

/// The run that was held has made a backup, as the first and only one.
fn has_succeeded(status: &Status) -> bool {
    assert!(
        status.runs.iter().all(|run| run.outcome == Outcome::Succeeded),
        "{:?}",
        status.runs
    );
    status.runs.len() == 1
}

#[test]
fn an_agents_run_goes_on_with_credentials_that_were_replaced_meanwhile() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 20000) AS i");
    let controls = &world.s3.controls;
    let file = world.directory().join("aws-credentials");
    controls.admit(Identity::full("OLD", OLD_SECRET));
    write_profile(&file, "OLD", OLD_SECRET);
    let (mut agent, go) = held_agent(&world, &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
    controls.admit(Identity::full("NEW", NEW_SECRET));
    write_profile(&file, "NEW", NEW_SECRET);
    controls.dismiss("OLD");
    fs::write(go, "").unwrap();
    agent.wait_until("the run to end", has_succeeded);
    assert_eq!(world.keys("manifests/").len(), 1);
    let printed = agent.stop().printed();
    assert!(
        !printed.contains(OLD_SECRET) && !printed.contains(NEW_SECRET),
        "{printed}"
    );
}

/// As a service that gives out credentials for a time does: others at each call, each with an end.
fn giver_of_short_lives(world: &World) -> PathBuf {
    let directory = world.directory().display();
    let program = world.directory().join("give-credentials");
    let script = format!(
        "#!/bin/sh\n\
         number=$(($(cat {directory}/given 2>/dev/null || echo 0) + 1))\n\
         echo $number >{directory}/given\n\
         end=$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo '{{\"Version\": 1, \"AccessKeyId\": \"GIVEN'$number'\", \"SecretAccessKey\": \"{NEW_SECRET}\", \
         \"Expiration\": \"'$end'\"}}'\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let config = world.directory().join("aws-config");
    let text = format!("[default]\ncredential_process = {}\n", program.display());
    fs::write(&config, text).unwrap();
    config
}

#[test]
fn an_agents_run_outlives_credentials_that_run_out() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 20000) AS i");
    let controls = &world.s3.controls;
    let given = |number| format!("GIVEN{number}");
    for number in 1..100 {
        controls.admit(Identity::full(given(number), NEW_SECRET));
    }
    let config = giver_of_short_lives(&world);
    let nothing = world.directory().join("no-credentials");
    let (mut agent, go) = held_agent(
        &world,
        &[
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", nothing.to_str().unwrap()),
        ],
    );
    // Looks at the bucket go on during the run. Once they are made with others, the end of the first has passed.
    let has_asked = |number| {
        controls
            .requests()
            .iter()
            .any(|request| request.access_key == given(number))
    };
    assert!(has_asked(1));
    wait::until("others to be in use", || has_asked(2));
    let passed = controls.requests().len();
    controls.dismiss(&given(1));
    fs::write(go, "").unwrap();
    agent.wait_until("the run to end", has_succeeded);
    assert_eq!(world.keys("manifests/").len(), 1);
    let requests = controls.requests();
    let uploads = requests[passed..]
        .iter()
        .filter(|request| request.operation == "PutObject");
    let by = uploads.map(|request| request.access_key.clone()).collect::<Vec<_>>();
    assert!(!by.is_empty() && !by.contains(&given(1)), "{by:?}");
    let printed = agent.stop().printed();
    assert!(!printed.contains(NEW_SECRET), "{printed}");
}
