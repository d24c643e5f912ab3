//! What a drill says when nothing is wrong with the backup: a test per cause of `unverified`, some of everything else,
//! which is `failed`, and what a certified verdict says in its first line that it does not cover.

use std::fs;
use std::time::Duration;

use kubebackup::content::Extension;
use kubebackup::demo::{S3Effect, S3Fault};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::doctor::Forgery;
use crate::support::world::{PREFIX, mark_disposable};
use crate::support::{Ended, World, WorldOptions, wait};

/// A world with a marked target and one backup of its little database.
fn backed_up() -> (World, String) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS n; ALTER TABLE t ADD PRIMARY KEY (n)");
    let backup_id = world.back_up();
    world.mark_targets();
    (world, backup_id)
}

/// The certificate on stdout says so, and so does the one in the bucket.
#[track_caller]
fn assert_unverified(world: &World, ended: Ended, cause: &str) -> Value {
    let certificate = ended.expect(4).json();
    assert_eq!(
        (&certificate["verdict"], &certificate["cause"]),
        (&"unverified".into(), &cause.into())
    );
    let summary = certificate["summary"].as_str().unwrap();
    let words = format!("UNVERIFIED ({}): ", cause.replace('_', " "));
    assert!(summary.starts_with(&words), "{summary}");
    assert_stored(world, &certificate, "unverified");
    certificate
}

#[track_caller]
fn assert_failed(world: &World, ended: Ended, reason: &str) -> Value {
    let certificate = ended.expect(3).json();
    assert_eq!(certificate["verdict"], "failed", "{certificate}");
    assert!(certificate["cause"].is_null(), "{certificate}");
    assert!(certificate.to_string().contains(reason), "{certificate}");
    assert_stored(world, &certificate, "failed");
    certificate
}

#[track_caller]
fn assert_stored(world: &World, certificate: &Value, state: &str) {
    let key = format!(
        "certificates/{}/{}.{state}.json",
        certificate["backup_id"].as_str().unwrap(),
        certificate["drill_id"].as_str().unwrap()
    );
    let stored: Value = serde_json::from_slice(&world.s3.read(&World::object(&key))).unwrap();
    assert_eq!(stored, *certificate);
}

fn drill(world: &World, variables: &[(&str, &str)]) -> Ended {
    let program = world.program(&["--output", "json", "drill"]);
    program.envs(variables.iter().copied()).run()
}

fn drill_of(world: &World, backup_id: &str) -> Ended {
    world
        .program(&["--output", "json", "drill", "--backup", backup_id])
        .run()
}

const TARGETS: &str = "KUBEBACKUP_TARGET_DATABASES";
const DSN: &str = "KUBEBACKUP_TARGET_DSN";

#[test]
fn without_a_target_that_may_be_used_a_drill_is_unverified() {
    let (world, _) = backed_up();
    world.target.sql("postgres", "CREATE DATABASE unmarked").unwrap();
    world.target.sql("postgres", "CREATE DATABASE other_mark").unwrap();
    mark_disposable(&world.target, "other_mark", "0123456789abcdef0123456789abcdef");
    let unreachable = world
        .target
        .dsn("postgres", "postgres")
        .replace(&world.target.port().to_string(), "1");
    let source = world.source.dsn(world.source.superuser(), "postgres");
    mark_disposable(&world.source, "shop", &world.repository_id());
    for (name, value, words) in [
        (TARGETS, "shop=nowhere", "'nowhere' does not exist"),
        (TARGETS, "shop=unmarked", "not marked as disposable"),
        (TARGETS, "shop=other_mark", "it carries '0123456789abcdef"),
        (DSN, unreachable.as_str(), "connect to"),
    ] {
        let certificate = assert_unverified(&world, drill(&world, &[(name, value)]), "target_absent");
        assert!(
            certificate["summary"].as_str().unwrap().contains(words),
            "{certificate}"
        );
    }
    // Even where everything of the source carries a marker.
    let arguments = [(DSN, source.as_str()), (TARGETS, "shop=shop")];
    let certificate = assert_unverified(&world, drill(&world, &arguments), "target_absent");
    assert!(
        certificate["summary"]
            .as_str()
            .unwrap()
            .contains("occurs in this repository's backups"),
        "{certificate}"
    );
    assert_eq!(world.source_sql("SELECT count(*) FROM t"), "100");
}

#[test]
fn credentials_that_are_refused_leave_a_drill_unverified() {
    let (world, _) = backed_up();
    let wrong = world.directory().join("wrong-password");
    fs::write(&wrong, "not the password").unwrap();
    let wrong = wrong.to_string_lossy().into_owned();
    assert_unverified(
        &world,
        drill(&world, &[("KUBEBACKUP_TARGET_PASSWORD_FILE", &wrong)]),
        "credentials",
    );
    let nobody = world.target.dsn("nobody", "postgres");
    assert_unverified(&world, drill(&world, &[(DSN, &nobody)]), "credentials");
    // The bucket lets the drill write its certificates and does not let it read.
    world.s3.controls.inject(S3Fault {
        operation: Some("GetObject"),
        key_prefix: format!("{PREFIX}/chunks/"),
        times: 1,
        effect: S3Effect::Refuse("AccessDenied"),
    });
    assert_unverified(&world, drill(&world, &[]), "credentials");
    drill(&world, &[]).expect(0);
}

/// Whoever cannot enter the bucket cannot leave a certificate there either: the exit code is all that is left.
#[test]
fn a_bucket_that_refuses_the_credentials_is_unverified_by_the_exit_code() {
    let (world, _) = backed_up();
    let before = world.keys("certificates/");
    let refused = drill(&world, &[("AWS_SECRET_ACCESS_KEY", "wrong")]).expect(4);
    assert!(refused.stderr.contains("credentials refused"), "{}", refused.stderr);
    assert_eq!(world.keys("certificates/"), before);
}

type Change<'a> = &'a dyn Fn(&mut Forgery);

#[test]
fn what_the_targets_machine_lacks_leaves_a_drill_unverified() {
    let (world, backup_id) = backed_up();
    let cases: [(Change<'_>, &str, &str); 4] = [
        (
            &|forgery| {
                forgery.database().head.extensions.push(Extension {
                    name: "postgis".to_owned(),
                    version: "3.4.2".to_owned(),
                    schema: "public".to_owned(),
                });
            },
            "missing_extension",
            "postgis 3.4.2",
        ),
        (
            &|forgery| {
                let properties = &mut forgery.database().head.properties;
                "xx_YY.UTF-8".clone_into(&mut properties.collate);
                "xx_YY.UTF-8".clone_into(&mut properties.ctype);
            },
            "missing_locale",
            "xx_YY.UTF-8",
        ),
        (
            &|forgery| {
                let properties = &mut forgery.database().head.properties;
                "icu".clone_into(&mut properties.locale_provider);
                properties.icu_locale = Some("@colStrength=nonsense".to_owned());
            },
            "missing_locale",
            "@colStrength=nonsense",
        ),
        (
            &|forgery| forgery.backup.manifest.source.server_version_num = 990_003,
            "source_major_above_target",
            "99",
        ),
    ];
    for (change, cause, words) in cases {
        let forged = world.forge(&backup_id, change);
        let certificate = assert_unverified(&world, drill_of(&world, &forged), cause);
        assert!(
            certificate["summary"].as_str().unwrap().contains(words),
            "{certificate}"
        );
    }
    drill_of(&world, &backup_id).expect(0);
}

/// A function in C that no extension brings: its library lies on the source, and not on the target.
#[test]
fn a_shared_library_that_the_target_lacks_leaves_a_drill_unverified() {
    let world = World::start();
    let directory = world
        .source
        .sql("postgres", "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'");
    let library = world.directory().join("private.so");
    std::fs::copy(format!("{}/citext.so", directory.unwrap()), &library).unwrap();
    world.source_sql(&format!(
        "CREATE TABLE t AS SELECT 1 AS one;
         CREATE FUNCTION hash_of(text) RETURNS int LANGUAGE c AS '{}', 'citext_hash'",
        library.display()
    ));
    world.back_up();
    world.mark_targets();
    drill(&world, &[]).expect(0);
    std::fs::remove_file(&library).unwrap();
    let certificate = assert_unverified(&world, drill(&world, &[]), "missing_extension");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(
        summary.contains("could not access file") && summary.contains("private.so"),
        "{summary}"
    );
}

/// It says nothing about what lies in it.
#[test]
fn a_store_that_goes_away_in_mid_drill_leaves_it_interrupted() {
    let (world, _) = backed_up();
    let setting = ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1");
    // The first read of a drill is the index, then come the rows.
    for (begun, words) in [(0, "index cannot be read"), (1, "database shop")] {
        world.s3.controls.inject(S3Fault {
            operation: Some("GetObject"),
            key_prefix: format!("{PREFIX}/chunks/"),
            times: begun,
            effect: S3Effect::Delay(Duration::ZERO),
        });
        world.s3.controls.inject(S3Fault {
            operation: Some("GetObject"),
            key_prefix: format!("{PREFIX}/chunks/"),
            times: 1,
            effect: S3Effect::Refuse("InternalError"),
        });
        let certificate = assert_unverified(&world, drill(&world, &[setting]), "interrupted");
        let summary = certificate["summary"].as_str().unwrap();
        assert!(
            summary.contains(words) && summary.contains("store unavailable"),
            "{summary}"
        );
    }
    drill(&world, &[]).expect(0);
}

/// Stops a drill in `phase`, does `harm` to it, and lets it go on.
fn drill_harmed_in(world: &mut World, phase: &str, harm: impl FnOnce(&mut World, &crate::support::Running)) -> Ended {
    let go = world.directory().join(format!("go-{phase}"));
    let failpoint = format!("{phase}=go:{}", go.display());
    let program = world.program(&["--output", "json", "drill"]);
    let mut running = program.env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for(&format!("failpoint {phase}"));
    harm(world, &running);
    fs::write(go, "").unwrap();
    running.wait()
}

const PHASES: [&str; 3] = ["after-drill-start", "after-wipe", "after-restore"];

#[test]
fn a_drill_that_is_told_to_stop_leaves_a_start_without_an_end_and_the_next_one_certifies() {
    let (mut world, _) = backed_up();
    for (number, phase) in PHASES.into_iter().enumerate() {
        let ended = drill_harmed_in(&mut world, phase, |_, running| running.signal(Signal::SIGTERM)).expect(130);
        assert!(ended.stdout.is_empty(), "{phase}: {}", ended.stdout);
        let keys = world.keys("certificates/");
        assert_eq!(keys.len(), number + 1, "{phase}: {keys:?}");
        assert!(
            keys.iter().all(|key| key.ends_with(".started.json")),
            "{phase}: {keys:?}"
        );
    }
    let listed = world.program(&["list"]).run().ok().stdout;
    assert!(listed.contains("not drilled"), "{listed}");
    drill(&world, &[]).expect(0);
}

#[test]
fn a_drill_whose_lock_is_lost_or_whose_target_goes_down_is_interrupted() {
    let (mut world, _) = backed_up();
    let lose_lock = |world: &mut World, _: &crate::support::Running| {
        // The lock on the target is exclusive; the one on the server's drill roles is shared.
        let terminate = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_locks
                         WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'";
        assert_eq!(world.target.sql("postgres", terminate).unwrap(), "1");
    };
    let go_down = |world: &mut World, _: &crate::support::Running| world.target.stop(Signal::SIGQUIT).unwrap();
    for phase in &PHASES[1..] {
        let ended = drill_harmed_in(&mut world, phase, lose_lock);
        assert_unverified(&world, ended, "interrupted");
        fs::remove_file(world.directory().join(format!("go-{phase}"))).unwrap();
        let ended = drill_harmed_in(&mut world, phase, go_down);
        assert_unverified(&world, ended, "interrupted");
        world.target.start_server().unwrap();
    }
    drill(&world, &[]).expect(0);
}

/// One crashed backend takes all sessions with it, the lock's among them, and not necessarily first.
#[test]
fn a_target_server_that_crashes_under_the_drills_work_is_interrupted_and_not_failed() {
    let world = World::start();
    world.source_sql(
        "CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_setting('test.slow', true) = 'yes' THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$;
         CREATE TABLE t AS SELECT 1 AS n; CREATE INDEX ON t (slow(n));",
    );
    world.back_up();
    world.mark_targets();
    world
        .target
        .sql("postgres", "ALTER ROLE postgres SET test.slow = 'yes'")
        .unwrap();
    let running = world.program(&["--output", "json", "drill"]).spawn();
    let find = "SELECT pid FROM pg_stat_activity WHERE query ~ '^CREATE INDEX' AND state = 'active'";
    let backend = wait::for_some("the index to be created", || {
        world.target.sql("postgres", find).unwrap().parse().ok()
    });
    kill(Pid::from_raw(backend), Signal::SIGKILL).unwrap();
    assert_unverified(&world, running.wait(), "interrupted");
    let reset = "ALTER ROLE postgres RESET test.slow";
    wait::until("the server to recover", || world.target.sql("postgres", reset).is_ok());
    drill(&world, &[]).expect(0);
}

#[test]
fn amcheck_that_was_asked_for_and_cannot_run_keeps_the_backup_from_being_certified() {
    let (world, _) = backed_up();
    let asked = ("KUBEBACKUP_DRILL_AMCHECK", "true");
    let certificate = assert_failed(&world, drill(&world, &[asked]), "amcheck is not part of the database");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(summary.contains("amcheck was not run"), "{summary}");
    drill(&world, &[]).expect(0);
    world.source_sql("CREATE EXTENSION amcheck");
    world.back_up();
    drill(&world, &[asked]).expect(0);
}

#[test]
fn what_the_targets_side_lacks_is_unverified_and_what_the_backup_lacks_is_failed() {
    let (world, backup_id) = backed_up();
    // The client programs are not there: the image's fault.
    let directory = world.directory().to_string_lossy().into_owned();
    let programs = drill(&world, &[("KUBEBACKUP_TARGET_BIN_DIRECTORY", &directory)]);
    let certificate = assert_unverified(&world, programs, "target_absent");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(summary.contains("no pg_dump and pg_restore"), "{summary}");
    // A role that may not make a scratch database is the target's fault, and known before anything is wiped.
    let role = "CREATE ROLE weak LOGIN PASSWORD 'weak'";
    world.target.sql("postgres", role).unwrap();
    fs::write(world.directory().join("weak"), "weak").unwrap();
    let file = world.directory().join("weak").to_string_lossy().into_owned();
    let dsn = world.target.dsn("weak", "postgres");
    let weak = drill(&world, &[(DSN, &dsn), ("KUBEBACKUP_TARGET_PASSWORD_FILE", &file)]);
    assert_unverified(&world, weak, "credentials");
    // The backup is not what it says.
    let forged = world.forge(&backup_id, |forgery| {
        forgery.replace_schema_archive(b"PGDMP no".to_vec());
    });
    assert_failed(&world, drill_of(&world, &forged), "pg_restore");
    let forged = world.forge(&backup_id, Forgery::drop_databases);
    assert_failed(&world, drill_of(&world, &forged), "no database in the backup");
    drill_of(&world, &backup_id).expect(0);
}

#[test]
fn a_person_who_restores_a_backup_is_told_when_its_last_drill_failed_and_only_then() {
    let (world, backup_id) = backed_up();
    let forged = world.forge(&backup_id, |forgery| forgery.change_rows("t", |rows| drop(rows.pop())));
    let told = |which: &str| {
        let into = world.target.dsn(world.target.superuser(), "emergency");
        let restored = world
            .program(&["restore", "--backup", which, "--into", &into, "--create-database"])
            .env("PGPASSWORD", world.target.password())
            .run()
            .ok();
        world.target.sql("postgres", "DROP DATABASE emergency").unwrap();
        restored.stderr.contains("the last drill of this backup FAILED")
    };
    assert!(!told(&forged), "it was never drilled");
    assert_failed(&world, drill_of(&world, &forged), "rows");
    assert!(told(&forged), "it is restored all the same");
    drill_of(&world, &backup_id).expect(0);
    assert!(!told(&backup_id));
}

#[test]
fn the_first_line_of_a_certified_verdict_says_what_it_does_not_cover() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT 1 AS n; CREATE TABLE audit_log AS SELECT 2 AS n;
         CREATE UNLOGGED TABLE cache AS SELECT 3 AS n;",
    );
    let exclude = ("KUBEBACKUP_SOURCE_EXCLUDE_TABLES", "public.audit_*");
    world.program(&["backup"]).envs([exclude]).run().ok();
    world.mark_targets();
    let first_line = world
        .program(&["drill"])
        .run()
        .ok()
        .stdout
        .lines()
        .next()
        .unwrap()
        .to_owned();
    assert!(first_line.starts_with("CERTIFIED: shop"), "{first_line}");
    for what in [
        r#"table "public"."audit_log" (excluded)"#,
        r#"table "public"."cache" (unlogged)"#,
        "database postgres (not in the backup)",
    ] {
        assert!(first_line.contains(what), "{what}: {first_line}");
    }
}

#[test]
fn a_database_whose_target_is_not_marked_keeps_the_backup_from_being_certified() {
    let world = World::with(WorldOptions {
        databases: &["shop", "books"],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT 1 AS n");
    world.back_up();
    mark_disposable(&world.target, "shop_restored", &world.repository_id());
    let certificate = assert_unverified(&world, drill(&world, &[]), "target_absent");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(
        summary.contains("books") && summary.contains("not tested: database"),
        "{summary}"
    );
    let equal: Vec<&Value> = certificate["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["equal"])
        .collect();
    assert!(
        equal.contains(&&true.into()) && equal.contains(&&false.into()),
        "{certificate}"
    );

    // One that nobody asked for is not certified either.
    mark_disposable(&world.target, "books_restored", &world.repository_id());
    let one = world
        .program(&["--output", "json", "drill", "--database", "shop"])
        .run();
    let certificate = assert_unverified(&world, one, "target_absent");
    assert!(
        certificate["summary"]
            .as_str()
            .unwrap()
            .contains("database books (no target)"),
        "{certificate}"
    );
    drill(&world, &[]).expect(0);
}
