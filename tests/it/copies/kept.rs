//! What a copy keeps by rules and locks of its own.

use super::*;
use kubebackup::demo::{Identity, ObjectLock};

use crate::support::world::PREFIX;

/// The primary keeps everything, the volume the last backup and one certified.
const OWN_RULES: &str = ", retention: {keep_last: 1, keep_certified: 1}";

fn json(world: &World, arguments: &[&str]) -> serde_json::Value {
    let all: Vec<&str> = ["--output", "json"].iter().chain(arguments).copied().collect();
    world.program(&all).run().ok().json()
}

#[test]
fn a_copy_is_expired_by_its_own_rules_and_by_proof_from_elsewhere_and_gets_nothing_back() {
    let world = with_volume_and(OWN_RULES);
    let first = world.back_up();
    json(&world, &["copy"]);
    next_second();
    world.source_sql("INSERT INTO small VALUES (2)");
    let second = world.back_up();
    json(&world, &["copy"]);
    let nothing = json(&world, &["--repository", "volume", "expire"]);
    assert_eq!(nothing["expired"], serde_json::json!([]), "nothing is proven anywhere");

    world.mark_targets();
    world.program(&["drill"]).run().ok();
    let copied = json(&world, &["copy"]);
    assert_eq!(copied[0]["copied_verdicts"], 1, "{copied}");
    assert_eq!(
        json(&world, &["expire"])["expired"],
        serde_json::json!([]),
        "the primary has no rule"
    );
    let planned = world
        .program(&["--repository", "volume", "expire", "--dry-run"])
        .run()
        .ok()
        .stdout;
    assert!(planned.contains("certified elsewhere"), "{planned}");
    let expired = json(&world, &["--repository", "volume", "expire"]);
    assert_eq!(expired["expired"], serde_json::json!([first]));

    let copied = json(&world, &["copy"]);
    assert_eq!(
        (&copied[0]["copied"], &copied[0]["let_go"]),
        (&serde_json::json!([]), &serde_json::json!([first]))
    );
    assert_eq!(copied[0]["outcome"], "complete");
    let listed = json(&world, &["--repository", "volume", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["backup_id"], second.as_str());
    assert_eq!(
        listed[0]["verdict"],
        serde_json::Value::Null,
        "no drill has read what lies there"
    );
    assert_eq!(world.keys("manifests/").len(), 2);
    let pruned = json(&world, &["--repository", "volume", "prune"]);
    assert_eq!(pruned["outcome"], "done");
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
}

/// What a person holds in the first place is held in the copy, by its own hold, and lets go there when the person does.
#[test]
fn a_hold_is_brought_and_ended_and_one_that_comes_after_the_backup_was_let_go_is_told() {
    let world = with_volume_and(OWN_RULES);
    let expire = || json(&world, &["--repository", "volume", "expire"])["expired"].clone();
    let held_there = || json(&world, &["--repository", "volume", "list"])[0]["hold"]["reason"].clone();
    let first = world.back_up();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    world.program(&["hold", &first, "--reason", "the auditors"]).run().ok();
    next_second();
    world.source_sql("INSERT INTO small VALUES (2)");
    world.back_up();
    world.program(&["drill"]).run().ok();
    let copied = json(&world, &["copy"]);
    assert_eq!(copied[0]["copied_holds"], 1, "{copied}");
    assert_eq!(held_there(), "the auditors");
    assert_eq!(expire(), serde_json::json!([]));

    world.program(&["unhold", &first]).run().ok();
    let copied = json(&world, &["copy"]);
    assert_eq!(copied[0]["copied_holds"], 1, "its end: {copied}");
    assert_eq!(held_there(), serde_json::Value::Null);
    assert_eq!(expire(), serde_json::json!([first]));
    assert_eq!(json(&world, &["copy"])[0]["copied"], serde_json::json!([]));

    // What is still there of it may go at any moment, so the copy waits for that, and says so.
    world
        .program(&["hold", &first, "--reason", "the auditors again"])
        .run()
        .ok();
    let copied = world.program(&["--output", "json", "copy"]).run().expect(1).json();
    assert_eq!(copied[0]["left"][0]["backup_id"], first.as_str(), "{copied}");
    let reason = copied[0]["left"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("a prune may be about to delete it"), "{reason}");
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
}

#[test]
fn drift_freezes_the_copies_and_a_persons_word_thaws_them() {
    let world = with_volume_and(OWN_RULES);
    let first = world.back_up();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    json(&world, &["copy"]);
    next_second();
    world.source_sql("DELETE FROM orders");
    let emptied = world.back_up();
    world.program(&["drill"]).run().ok();
    json(&world, &["copy"]);
    let frozen = json(&world, &["--repository", "volume", "expire"]);
    assert_eq!(frozen["expired"], serde_json::json!([]), "{frozen}");
    world.program(&["--repository", "volume", "prune"]).run().expect(6);
    world
        .program(&["accept-drift", "--reason", "orders were closed"])
        .run()
        .ok();
    json(&world, &["copy"]);
    let thawed = json(&world, &["--repository", "volume", "expire"]);
    assert_eq!(thawed["expired"], serde_json::json!([first]), "{thawed}");
    assert!(files(&volume(&world)).contains(&format!("manifests/{emptied}.json")));
}

#[test]
fn a_copy_has_locks_of_its_own() {
    let mut world = with_volume();
    world.s3.controls.set_object_lock(ObjectLock::Kept);
    let more = format!(
        "copies:\n  - {{name: locked, bucket: {}, prefix: locked, endpoint: {}, region: us-east-1, path_style: true, \
         lock_mode: governance, lock_days: 30}}\n",
        crate::support::s3::BUCKET,
        world.s3.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    world.back_up();
    json(&world, &["copy"]);
    let mut locked = 0;
    for request in world.s3.controls.requests() {
        if request.operation != "PutObject" {
            continue;
        }
        let lock = request.header("x-amz-object-lock-mode");
        let is_kept = ["locked/chunks/", "locked/manifests/"]
            .iter()
            .any(|below| request.key.starts_with(below));
        if is_kept {
            assert_eq!(lock, Some("GOVERNANCE"), "{}", request.key);
            locked += 1;
        } else if request.key.starts_with(&format!("{PREFIX}/chunks/")) {
            assert_eq!(lock, None, "{}", request.key);
        }
    }
    assert!(locked > 1, "{locked} objects were locked");
}

#[test]
fn each_place_is_asked_with_credentials_of_its_own_alone() {
    let mut world = with_volume();
    let more = format!(
        "copies:\n  - {{name: offsite, bucket: {}, prefix: offsite, endpoint: {}, region: us-east-1, path_style: true, \
         profile: offsite}}\n",
        crate::support::s3::BUCKET,
        world.s3.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    let file = world.directory().join("aws-credentials");
    fs::write(
        &file,
        "[offsite]\naws_access_key_id = OFFSITE\naws_secret_access_key = secret of the offsite\n",
    )
    .unwrap();
    for (key, secret, place) in [
        ("PRIMARY", "secret of the primary", format!("{PREFIX}/")),
        ("OFFSITE", "secret of the offsite", "offsite/".to_owned()),
    ] {
        world.s3.controls.admit(Identity {
            may_write: vec![place.clone()],
            may_delete: vec![place],
            ..Identity::full(key, secret)
        });
    }
    let program = |arguments: &[&str]| {
        let program = world.program(arguments).env("AWS_ACCESS_KEY_ID", "PRIMARY");
        let program = program.env("AWS_SECRET_ACCESS_KEY", "secret of the primary");
        program.env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
    };
    let before = world.s3.controls.requests().len();
    program(&["backup"]).run().ok();
    program(&["copy"]).run().ok();
    program(&["--repository", "offsite", "verify", "--all"]).run().ok();
    let requests = world.s3.controls.requests();
    let mut asked = [0, 0];
    for request in &requests[before..] {
        let place = request.prefix().unwrap_or_else(|| request.key.clone());
        let is_offsite = request.access_key == "OFFSITE";
        asked[usize::from(is_offsite)] += 1;
        if !place.is_empty() {
            assert_eq!(
                place.starts_with("offsite/"),
                is_offsite,
                "{place} by {}",
                request.access_key
            );
        }
    }
    assert!(asked[0] > 5 && asked[1] > 5, "{asked:?}");
}
