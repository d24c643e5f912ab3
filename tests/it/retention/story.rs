//! What expires is gone after the grace period, and what stays verifies and restores.

use super::*;
use crate::support::{Ended, wait};

#[test]
fn what_expires_is_pruned_and_what_stays_verifies_and_restores() {
    let world = world();
    let first = world.back_up_state(1);
    let second = world.back_up_state(2);
    // Nothing is proven: nothing goes.
    assert_eq!(world.expire()["expired"], serde_json::json!([]));
    let held = world
        .program(&["--output", "json", "hold", &first, "--reason", "the auditors"])
        .run();
    assert_eq!(held.ok().json()["change"], "changed");
    let third = world.back_up_state(3);
    world.drill();

    let shown = world.program(&["expire", "--dry-run"]).run().ok().stdout;
    let line = |backup: &str| shown.lines().find(|line| line.starts_with(backup)).unwrap().to_owned();
    assert!(
        line(&first).contains("keep") && line(&first).contains("held: the auditors"),
        "{shown}"
    );
    assert!(
        line(&second).contains("EXPIRE") && line(&second).contains("not among keep_last 1"),
        "{shown}"
    );
    assert!(line(&third).contains("keep_certified 1"), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(world.keys("manifests/").len(), 3);
    let listed = world.program(&["list"]).run().ok().stdout;
    assert!(listed.contains("the auditors"), "{listed}");
    let shown = world.program(&["show", &first]).run().ok().stdout;
    assert!(shown.contains("the auditors"), "{shown}");

    assert_eq!(world.expire()["expired"], serde_json::json!([second]));
    let release = world.program(&["--output", "json", "unhold", &first]).run().ok().json();
    assert_eq!(
        (release["change"].as_str(), release["is_held"].as_bool()),
        (Some("changed"), Some(false))
    );
    assert_eq!(world.expire()["expired"], serde_json::json!([first]));

    // Everything is old but the expiry.
    world.age("chunks/", 3 * DAY);
    let before = world.chunks();
    let pruned = world.prune();
    assert_eq!(
        (pruned["tombstones"].as_u64(), pruned["deleted"]["objects"].as_u64()),
        (Some(2), Some(0))
    );
    assert_eq!(world.chunks(), before);

    world.age("", 3 * DAY);
    let pruned = world.prune();
    let deleted = pruned["deleted"]["objects"].as_u64().unwrap();
    assert!(deleted >= 4, "{pruned}");
    assert_eq!(world.chunks() as u64, before as u64 - deleted);
    assert_eq!(pruned["referenced"]["objects"], pruned["marked"]);
    assert_eq!(world.keys("tombstones/"), Vec::<String>::new());
    assert_eq!(world.keys("holds/"), Vec::<String>::new());
    world.all_is_sound();
    world.drill();
    // Deleted in one request, with the digest that older servers want.
    let batches = world.s3.controls.requests();
    let batch = batches
        .iter()
        .find(|request| request.operation == "DeleteObjects")
        .unwrap();
    assert!(batch.header("content-md5").is_some());
}

/// The backup under way refers to chunks of a backup that is expired, and pruned for, before its manifest is there.
#[test]
fn a_prune_during_a_backup_takes_nothing_from_it() {
    let world = world();
    let first = world.back_up_state(1);
    let of_first = world.keys("chunks/");
    let go = world.directory().join("go");
    let failpoint = format!("before-manifest=go:{}", go.display());
    let mut backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_FAILPOINT", &failpoint)
        .spawn();
    backup.wait_for("failpoint before-manifest");
    // Neither what it reuses nor what it has just stored for itself is any other's.
    world.source_sql("DROP TABLE same; DROP TABLE changing; CREATE TABLE other AS SELECT 1 AS one");
    world.program(&["backup"]).run().ok();
    world.drill();
    assert_eq!(world.expire()["expired"], serde_json::json!([]), "two tables are gone");
    let accept = ["accept-drift", "--reason", "they were dropped on purpose"];
    world.program(&accept).run().ok();
    assert_eq!(world.expire()["expired"], serde_json::json!([first]));
    let all = world.keys("chunks/");
    // No manifest refers to them, and they are old enough: what protects them is the expiry's own time.
    world.age_keys(&of_first, 3 * DAY);
    let pruned = world.prune();
    assert_eq!(
        (pruned["manifests"].as_u64(), pruned["tombstones"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(world.keys("chunks/"), all);
    std::fs::write(&go, "").unwrap();
    let ended: Ended = backup.wait();
    ended.ok();
    wait::until("two backups", || world.keys("manifests/").len() == 2);
    world.age("", 3 * DAY);
    world.prune();
    world.all_is_sound();
}

#[test]
fn what_a_killed_backup_left_goes_once_it_is_old() {
    let world = world();
    world.back_up_state(1);
    let before = world.chunks();
    world.source_sql("CREATE TABLE more AS SELECT i, md5(i::text) AS text FROM generate_series(1, 60000) i");
    let mut backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_FAILPOINT", "before-manifest")
        .spawn();
    backup.wait_for("failpoint before-manifest");
    backup.kill();
    let left = world.chunks() - before;
    assert!(left > 0);
    assert_eq!(world.prune()["young"]["objects"], left);
    world.age("", 2 * DAY);
    let pruned = world.prune();
    assert_eq!(pruned["deleted"]["objects"], left);
    assert_eq!(world.chunks(), before);
    world.all_is_sound();
}

#[test]
fn a_manifest_that_cannot_be_read_stops_the_prune_with_one_clear_error() {
    let world = world();
    let first = world.back_up_state(1);
    world.back_up_state(2);
    world.age("", 3 * DAY);
    let before = world.keys("");
    world.s3.flip_a_bit(&World::object(&format!("manifests/{first}.json")));
    let ended = world.program(&["prune"]).run().expect(5);
    let said = format!("nothing is pruned while it cannot be told what backup {first} needs");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert_eq!(world.keys(""), before);
    // Expiry leaves it alone, and says why.
    let shown = world.program(&["expire", "--dry-run"]).run().ok().stdout;
    assert!(shown.contains("its manifest cannot be read"), "{shown}");
}
