//! What goes away while a drill runs and comes back: the store, the target's server, the lock on the target, and this
//! program's understanding of the format. None condemns the backup, and the same process certifies it afterwards.

use std::fs;

use kubebackup::demo::{S3Effect, S3Fault};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{agent, backed_up, certificate, certificates, drills, status_of, stop, wait_for_drills, wait_for_last};
use crate::support::world::PREFIX;
use crate::support::{Running, World, wait};

/// Stops the first drill after it wiped the target, does `harm`, and lets it go on.
fn harmed(world: &mut World, variables: &[(&str, &str)], harm: impl FnOnce(&mut World)) -> Running {
    let go = world.directory().join("go");
    let failpoint = format!("after-wipe=go:{}", go.display());
    let program = agent(world).env("KUBEBACKUP_FAILPOINT", &failpoint);
    let mut running = program.envs(variables.iter().copied()).spawn();
    running.wait_for("failpoint after-wipe");
    harm(world);
    fs::write(go, "").unwrap();
    running
}

/// No drill says that the backup is wrong.
#[track_caller]
fn assert_none_failed(world: &World, backup_id: &str) {
    let drills = drills(world, backup_id);
    assert!(drills.iter().all(|state| state != "failed"), "{drills:?}");
}

#[test]
fn a_store_whose_chunks_cannot_be_had_for_a_while_leaves_an_unverified_drill_and_then_a_certified_one() {
    let (mut world, backup_id) = backed_up();
    let once = [("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1")];
    let mut running = harmed(&mut world, &once, |world| {
        world.s3.controls.inject(S3Fault {
            operation: Some("GetObject"),
            key_prefix: format!("{PREFIX}/chunks/"),
            times: 1,
            effect: S3Effect::Refuse("ServiceUnavailable"),
        });
    });
    wait_for_drills(&world, &mut running, &backup_id, &["unverified", "certified"]);
    let unverified = certificate(&world, &backup_id, "unverified");
    assert_eq!(unverified["cause"], "interrupted", "{unverified}");
    assert_eq!(unverified["damaged_objects"], Value::Array(Vec::new()), "{unverified}");
    stop(running);
}

/// Not even the certificate can be put.
#[test]
fn a_store_that_is_away_altogether_leaves_the_start_marker_and_then_a_certified_drill() {
    let (mut world, backup_id) = backed_up();
    let once = [("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1")];
    let mut running = harmed(&mut world, &once, |world| {
        world.s3.controls.inject(S3Fault {
            operation: None,
            key_prefix: String::new(),
            times: 30,
            effect: S3Effect::Refuse("ServiceUnavailable"),
        });
    });
    running.wait_for("no certificate was stored: put of 'certificates/");
    running.wait_for("the store: ");
    wait_for_drills(&world, &mut running, &backup_id, &["started", "certified"]);
    stop(running);
}

#[test]
fn a_target_server_that_is_killed_in_mid_drill_leaves_an_unverified_drill_and_then_a_certified_one() {
    let (mut world, backup_id) = backed_up();
    let running = harmed(&mut world, &[], |world| world.target.stop(Signal::SIGQUIT).unwrap());
    wait_for_last(&world, &backup_id, "unverified");
    let unverified = certificate(&world, &backup_id, "unverified");
    assert_eq!(unverified["cause"], "interrupted", "{unverified}");
    world.target.start_server().unwrap();
    wait_for_last(&world, &backup_id, "certified");
    assert_none_failed(&world, &backup_id);
    stop(running);
}

/// Whoever has lost the lock on the target destroys nothing more, and builds nothing either.
#[test]
fn a_drill_that_loses_its_lock_touches_nothing_more_and_the_next_one_certifies() {
    let (mut world, backup_id) = backed_up();
    // So that nothing but a signal begins the next one.
    let patient = [
        ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1h"),
        ("KUBEBACKUP_RESTORE_AGENT_RETRY_MAX", "1h"),
    ];
    let mut running = harmed(&mut world, &patient, |world| {
        let terminate = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
                         WHERE application_name = 'kubebackup guard'";
        assert_eq!(world.target.sql("postgres", terminate).unwrap(), "1");
        world.restored_sql("CREATE TABLE of_somebody_else AS SELECT 1 AS one");
    });
    running.wait_for("UNVERIFIED (interrupted)");
    let unverified = certificate(&world, &backup_id, "unverified");
    assert_eq!(unverified["cause"], "interrupted", "{unverified}");
    let summary = unverified["summary"].as_str().unwrap();
    assert!(summary.contains("lock on target 'shop_restored' was lost"), "{summary}");
    wait::until("the drill to have ended", || {
        status_of(&mut running)["current"].is_null()
    });
    let tables = "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(world.restored_sql(tables), "of_somebody_else");
    running.signal(Signal::SIGUSR1);
    wait_for_drills(&world, &mut running, &backup_id, &["unverified", "certified"]);
    stop(running);
}

/// The backup agent was updated first.
#[test]
fn a_backup_of_a_newer_format_is_unverified_until_the_program_is_updated() {
    let (world, backup_id) = backed_up();
    let root = World::object(&format!("manifests/{backup_id}.json"));
    let known = world.s3.read(&root);
    world
        .s3
        .overwrite(&root, b"{\"format_version\": 7, \"shape\": \"unheard of\"}");
    let running = agent(&world).spawn();
    wait::until("two drills", || {
        certificates(&world, &backup_id, "unverified").len() == 2
    });
    let unverified = certificate(&world, &backup_id, "unverified");
    assert_eq!(unverified["cause"], "interrupted", "{unverified}");
    let summary = unverified["summary"].as_str().unwrap();
    assert!(
        summary.contains("has format version 7, and this version reads only 1"),
        "{summary}"
    );
    assert_eq!(unverified["damaged_objects"], Value::Array(Vec::new()), "{unverified}");
    world.s3.overwrite(&root, &known);
    wait_for_last(&world, &backup_id, "certified");
    assert_none_failed(&world, &backup_id);
    stop(running);
}
