//! Verdicts that stand, and what is said beside them.

use super::{agent, backed_up, backed_up_with, certificate, drills, status_of, stop, wait_for_drills};
use crate::support::{Running, World, wait};

/// The one that the rows of the table lie in.
pub(super) fn damage(world: &World, backup_id: &str) {
    let backup = world.read_backup(backup_id);
    let chunk = backup.databases[0].tables[0].segments[0].chunk;
    world.s3.flip_a_bit(&World::object(&backup.chunks[chunk as usize].key));
}

#[test]
fn a_damaged_backup_fails_twice_and_stands_until_the_next_one_heals_it() {
    let (world, first) = backed_up();
    damage(&world, &first);
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &first, &["failed", "failed"]);
    let second = world.back_up();
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    assert_eq!(drills(&world, &first), ["failed", "failed"], "it stands");
    stop(running);
}

#[test]
fn a_backup_whose_root_is_damaged_is_drilled_and_fails() {
    let (world, backup_id) = backed_up();
    let root = World::object(&format!("manifests/{backup_id}.json"));
    world.s3.flip_a_bit(&root);
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &backup_id, &["failed", "failed"]);
    let failed = certificate(&world, &backup_id, "failed");
    assert_eq!(
        failed["damaged_objects"],
        serde_json::json!([format!("manifests/{backup_id}.json")])
    );
    stop(running);
}

#[test]
fn objectives_that_are_exceeded_are_said_and_change_no_verdict() {
    let (world, first) = backed_up_with("objectives: {rto: 1ms, rpo: 1ms}\n");
    let second = world.back_up();
    let mut running = agent(&world).spawn();
    wait_for_drills(&world, &mut running, &first, &["certified"]);
    let said = |running: &mut Running| status_of(running)["repository"]["newest_certificate"]["summary"].to_string();
    wait::until("the status to say so", || {
        said(&mut running).contains("more than the objective of")
    });
    stop(running);
    let (older, newest) = (
        certificate(&world, &first, "certified"),
        certificate(&world, &second, "certified"),
    );
    for certificate in [&older, &newest] {
        let objectives = &certificate["objectives"];
        assert_eq!(objectives["rto_seconds"], 0.001, "{objectives}");
        assert_eq!(objectives["rto_exceeded"], true, "{objectives}");
        assert_eq!(objectives["rpo_exceeded"], true, "{objectives}");
        let summary = certificate["summary"].as_str().unwrap();
        assert!(
            summary.starts_with("CERTIFIED") && summary.contains("more than the objective of"),
            "{summary}"
        );
    }
    // The older one's recovery point is known for good: until the newer one could be used.
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let between = time(&newest["source"]["usable_since"]).duration_since(time(&older["source"]["oldest_snapshot"]));
    let seconds = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(older["recovery_point"]["is_final"], true, "{older}");
    assert!((seconds(&older["recovery_point"]["seconds"]) - between.as_secs_f64()).abs() < 1e-6);
    assert!(older["recovery_point"]["gap_before_seconds"].is_null(), "{older}");
    assert_eq!(newest["recovery_point"]["is_final"], false, "{newest}");
    assert!((seconds(&newest["recovery_point"]["gap_before_seconds"]) - between.as_secs_f64()).abs() < 1e-6);
    let shown = world.program(&["show", &second]).run().ok().stdout;
    assert!(shown.contains("recovery time 0.0 s: EXCEEDED"), "{shown}");
}

#[test]
fn objectives_that_are_held_are_said_too() {
    let (world, backup_id) = backed_up_with("objectives: {rto: 1h, rpo: 1h}\n");
    world.program(&["drill"]).run().ok();
    let certificate = certificate(&world, &backup_id, "certified");
    let objectives = &certificate["objectives"];
    assert_eq!(
        (&objectives["rto_exceeded"], &objectives["rpo_exceeded"]),
        (&false.into(), &false.into())
    );
    assert!(
        !certificate["summary"].as_str().unwrap().contains("objective"),
        "{certificate}"
    );
}
