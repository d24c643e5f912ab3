//! The program as a user meets it: what it prints, how it ends, and that no secret comes out of it.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, Ended, Program, World};

/// A world whose one database has been backed up twice, the second time with one more row.
fn twice_backed_up() -> (World, Value) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT g, repeat('x', 100) AS filler FROM generate_series(1, 1000) g");
    world.program(&["backup"]).run().expect(0);
    world.source_sql("CREATE TABLE u AS SELECT 1 AS one");
    let second = world.program(&["--output", "json", "backup"]).run().expect(0);
    let second = json(&second);
    (world, second)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

#[test]
fn backups_are_made_listed_and_shown() {
    let (world, second) = twice_backed_up();
    assert_eq!(second["stats"]["rows"], 1001);
    assert_eq!(second["databases"][0]["name"], "shop");
    assert!(second["predecessor"].is_string());

    let listed = world.program(&["list"]).run().expect(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", listed.stdout);
    assert!(lines[2].starts_with(second["backup_id"].as_str().unwrap()));
    assert!(
        lines[2].contains("1,001") && lines[2].ends_with("not drilled"),
        "{}",
        lines[2]
    );
    let newest = world
        .program(&["list", "--newest", "1", "--output", "json"])
        .run()
        .expect(0);
    let newest = json(&newest);
    assert_eq!(newest[0]["backup_id"], second["backup_id"]);
    assert_eq!(newest[0]["verdict"], Value::Null);

    let shown = world.program(&["show"]).run().expect(0);
    assert!(
        shown.stdout.contains("not drilled: nothing proves yet"),
        "{}",
        shown.stdout
    );
    let shown = json(&world.program(&["show", "latest", "--output", "json"]).run().expect(0));
    assert_eq!(shown["manifest"]["backup_id"], second["backup_id"]);
    assert_eq!(shown["manifest_sha256"], second["manifest_sha256"]);
}

#[test]
fn check_looks_at_everything_and_says_what_will_not_work() {
    let (world, _) = twice_backed_up();
    // The targets do not carry their owner's marker yet.
    let unmarked = world.program(&["check"]).run().expect(1);
    assert!(
        unmarked.stdout.contains("not marked as disposable"),
        "{}",
        unmarked.stdout
    );
    world.mark_targets();
    let sound = world.program(&["check", "--output", "json"]).run().expect(0);
    let findings = json(&sound);
    let areas: Vec<&str> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["area"].as_str().unwrap())
        .collect();
    for area in ["store", "repository", "source", "target"] {
        assert!(areas.contains(&area), "{area}: {}", sound.stdout);
    }
    assert!(sound.stdout.contains("2 tables, all readable"), "{}", sound.stdout);

    world
        .source
        .sql("postgres", &format!("REVOKE pg_read_all_data FROM {BACKUP_ROLE}"))
        .unwrap();
    let refused = world.program(&["check"]).run().expect(1);
    assert!(refused.stdout.contains("cannot read"), "{}", refused.stdout);
}

#[test]
fn errors_are_said_once_with_their_causes_a_hint_and_the_documented_code() {
    let world = World::start();
    let missing = world.program(&["list"]).run().expect(1);
    assert!(
        missing.stderr.starts_with("error: there is no repository here"),
        "{}",
        missing.stderr
    );
    assert_eq!(missing.stderr.matches("hint: ").count(), 1);
    assert_eq!(missing.stderr.lines().count(), 2, "{}", missing.stderr);

    let wrong_secret = world
        .program(&["backup"])
        .env("AWS_SECRET_ACCESS_KEY", "wrong")
        .run()
        .expect(1);
    assert!(
        wrong_secret.stderr.contains("credentials refused"),
        "{}",
        wrong_secret.stderr
    );

    let slip = world
        .program(&["list"])
        .env("KUBEBACKUP_REPOSITORY_BUKET", "b")
        .run()
        .expect(2);
    assert!(
        slip.stderr.contains("did you mean 'KUBEBACKUP_REPOSITORY_BUCKET'?"),
        "{}",
        slip.stderr
    );

    let settings = world.settings_file.display().to_string();
    let nothing = Program::new(&["--config", &settings, "lsit"]).run().expect(2);
    assert!(nothing.stderr.contains("'list'"), "{}", nothing.stderr);
}

#[test]
fn what_a_role_may_not_read_is_refused_before_anything_is_stored() {
    let world = World::start();
    world.source_sql("CREATE TABLE secret AS SELECT 1 AS one");
    world
        .source
        .sql("postgres", &format!("REVOKE pg_read_all_data FROM {BACKUP_ROLE}"))
        .unwrap();
    let refused = world.program(&["backup"]).run().expect(6);
    assert!(refused.stderr.contains("pg_read_all_data"), "{}", refused.stderr);
    assert!(world.keys("manifests/").is_empty());
}

#[test]
fn no_secret_is_printed_whatever_the_log_level() {
    let (world, _) = twice_backed_up();
    let password_file = world.write_settings("trace.yaml", "log: {level: trace, format: json}\n");
    let settings = password_file.display().to_string();
    let ended = Program::new(&["--config", &settings, "backup"])
        .envs(crate::support::S3::credentials())
        .env("PGPASSWORD", "another secret")
        .run()
        .expect(0);
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    assert!(printed.contains("\"level\":\"INFO\""), "{printed}");
    for secret in [BACKUP_PASSWORD, "another secret", "test-secret-of-the-s3-server"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_backup_is_verified_drilled_shown_and_compared() {
    let (world, second) = twice_backed_up();
    world.mark_targets();
    let id = second["backup_id"].as_str().unwrap();

    let verified = json(&world.program(&["--output", "json", "verify", "--all"]).run().expect(0));
    assert_eq!(verified["outcome"], "sound");
    assert_eq!(verified["backups"].as_array().unwrap().len(), 2);

    let drilled = world.program(&["drill", "--keep"]).run().expect(0);
    assert!(drilled.stdout.starts_with("CERTIFIED"), "{}", drilled.stdout);
    let listed = world.program(&["list"]).run().expect(0);
    assert!(listed.stdout.trim_end().ends_with("certified"), "{}", listed.stdout);
    let shown = world.program(&["show", id]).run().expect(0);
    assert!(shown.stdout.contains("CERTIFIED"), "{}", shown.stdout);

    // Without --into it is the drill's target that is compared, and --keep has left it in place.
    world.program(&["compare"]).run().expect(0);
    world.restored_sql("UPDATE t SET filler = 'y' WHERE g = 500");
    let different = world.program(&["compare", "--backup", id]).run().expect(3);
    assert!(different.stdout.contains("DIFFERS  public.t"), "{}", different.stdout);
    assert!(different.stdout.contains("equal    public.u"), "{}", different.stdout);
}

#[test]
fn a_drill_that_fails_and_one_that_cannot_judge_end_with_codes_of_their_own() {
    let (world, _) = twice_backed_up();
    let unmarked = world.program(&["--output", "json", "drill"]).run().expect(4);
    let certificate = json(&unmarked);
    assert_eq!(certificate["verdict"], "unverified");
    assert_eq!(certificate["cause"], "target_absent");

    world.mark_targets();
    for key in world.keys("chunks/") {
        let path = world.s3.bucket().join(World::object(&key));
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let failed = world.program(&["drill"]).run().expect(3);
    assert!(failed.stdout.starts_with("FAILED"), "{}", failed.stdout);
    let verified = world.program(&["verify"]).run().expect(5);
    assert!(verified.stdout.contains("DAMAGED"), "{}", verified.stdout);
}

#[test]
fn a_person_restores_and_never_overwrites_nor_wipes_what_is_not_marked() {
    let (world, _) = twice_backed_up();
    let password = world.target.password().to_owned();
    let restore = |database: &str, more: &[&str]| {
        let into = world.target.dsn(world.target.superuser(), database);
        let arguments = [&["--output", "json", "restore", "--into", &into], more].concat();
        world.program(&arguments).env("PGPASSWORD", &password).run()
    };
    let restored = json(&restore("again", &["--create-database"]).expect(0));
    assert_eq!(
        (&restored["rows"], &restored["database"]),
        (&1001.into(), &"shop".into())
    );

    let there = restore("again", &["--create-database"]).expect(6);
    assert!(there.stderr.contains("exists already"), "{}", there.stderr);
    let unmarked = restore("again", &["--wipe"]).expect(6);
    assert!(
        unmarked.stderr.contains("not marked as disposable"),
        "{}",
        unmarked.stderr
    );
    restore("again", &["--wipe", "--table", "public.t"]).expect(2);
    restore("again", &["--at", "2020-01-01T00:00:00Z"]).expect(1);

    world.mark_targets();
    let wiped = json(&restore(&world.restored(), &["--wipe"]).expect(0));
    assert!(wiped["wiped"].is_object(), "{wiped}");

    let into = format!("postgres://postgres:{password}@127.0.0.1:{}/again", world.target.port());
    let secret = world.program(&["restore", "--into", &into]).run().expect(2);
    assert!(
        secret.stderr.contains("PGPASSWORD") && !secret.stderr.contains(&password),
        "{}",
        secret.stderr
    );
}

#[test]
fn a_signal_ends_a_backup_without_a_trace_and_with_its_code() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = world
            .program(&["backup"])
            .env("KUBEBACKUP_FAILPOINT", "after-locks")
            .spawn();
        running.wait_for("failpoint after-locks");
        running.signal(signal);
        let ended = running.wait().expect(130);
        assert!(ended.stderr.contains("error: cancelled"), "{}", ended.stderr);
        assert!(world.keys("manifests/").is_empty());
    }
}
