//! Who may delete: the identity of the documented policy, and those who may not.

use kubebackup::demo::Identity;

use super::*;
use crate::policies::bearer;
use crate::support::Program;

#[test]
fn credentials_without_delete_are_told_so_and_nothing_fails() {
    let world = world();
    world.back_up_state(1);
    world.back_up_state(2);
    world.drill();
    world.s3.controls.admit(Identity {
        may_delete: Vec::new(),
        ..Identity::full("writer", "secret of the writer")
    });
    let as_writer = |verb: &str| {
        let program = world.program(&[verb]).env("AWS_ACCESS_KEY_ID", "writer");
        program
            .env("AWS_SECRET_ACCESS_KEY", "secret of the writer")
            .run()
            .ok()
            .stdout
    };
    let expired = as_writer("expire");
    assert!(
        expired.contains("RETAINED") && expired.contains("0 expired"),
        "{expired}"
    );
    assert_eq!(world.keys("manifests/").len(), 2);

    // The owner expires, and the writer cannot prune.
    world.expire();
    world.age("", 3 * DAY);
    let before = world.chunks();
    let pruned = as_writer("prune");
    assert!(
        pruned.contains("RETAINED: the store does not let these credentials delete"),
        "{pruned}"
    );
    assert_eq!(world.chunks(), before);
    world.all_is_sound();
    world.prune();
    assert!(world.chunks() < before);
    world.all_is_sound();
}

/// Runs the program as who has a documented policy.
fn admitted(world: &World) -> impl Fn(&str, &[&str]) -> Program + '_ {
    for name in ["retention.json", "people.json", "backup-agent.json"] {
        world.s3.controls.admit(bearer(name, PREFIX));
    }
    |name, arguments| {
        let program = world.program(arguments).env("AWS_ACCESS_KEY_ID", name);
        program.env("AWS_SECRET_ACCESS_KEY", &format!("secret of {name}"))
    }
}

/// The job may delete manifests and write none. What it cannot put back is not lost.
#[test]
fn what_is_held_too_late_for_an_expiry_that_writes_no_manifests_is_put_back_by_the_backup_agent() {
    let world = world();
    let as_bearer_of = admitted(&world);
    let first = world.back_up_state(1);
    world.back_up_state(2);
    world.drill();
    let before = world.s3.read(&World::object(&format!("manifests/{first}.json")));

    let go = world.directory().join("go");
    let failpoint = format!("expire-before-deletion=go:{}", go.display());
    let expiry = as_bearer_of("retention.json", &["expire"]).env("KUBEBACKUP_FAILPOINT", &failpoint);
    let mut expiry = expiry.spawn();
    expiry.wait_for("failpoint expire-before-deletion");
    as_bearer_of("people.json", &["hold", &first, "--reason", "wait"])
        .run()
        .ok();
    std::fs::write(&go, "").unwrap();
    let ended = expiry.wait().expect(1);
    assert!(
        ended.stderr.contains(&format!("backup {first} is held")) && ended.stderr.contains("hint: its chunks stay"),
        "{}",
        ended.stderr
    );
    assert_eq!(world.keys("manifests/").len(), 1);

    world.age("", 3 * DAY);
    as_bearer_of("retention.json", &["prune"]).run().ok();
    as_bearer_of("backup-agent.json", &["expire"]).run().ok();
    let after = world.s3.read(&World::object(&format!("manifests/{first}.json")));
    assert_eq!(after, before);
    world.all_is_sound();
}

#[test]
fn the_policy_of_retention_is_enough_for_expiry_and_prune_and_for_nothing_else() {
    let world = world();
    let as_bearer_of = admitted(&world);
    let first = world.back_up_state(1);
    world.back_up_state(2);
    world.drill();
    as_bearer_of("people.json", &["hold", &first, "--reason", "wait"])
        .run()
        .ok();
    as_bearer_of("people.json", &["unhold", &first]).run().ok();
    // That it exists is what counts.
    std::fs::create_dir(world.s3.bucket().join(PREFIX).join("drift")).unwrap();
    world
        .s3
        .overwrite(&World::object(&format!("drift/{first}.json")), b"{}");
    // The database's pod writes no tombstones: nothing is half done.
    let refused = as_bearer_of("backup-agent.json", &["expire"]).run().ok();
    assert!(refused.stdout.contains("RETAINED"), "{}", refused.stdout);
    assert_eq!(world.keys("tombstones/"), Vec::<String>::new());

    let expired = as_bearer_of("retention.json", &["--output", "json", "expire"])
        .run()
        .ok()
        .json();
    assert_eq!(expired["expired"], serde_json::json!([first]));
    world.age("", 3 * DAY);
    let pruned = as_bearer_of("retention.json", &["--output", "json", "prune"])
        .run()
        .ok()
        .json();
    assert!(pruned["deleted"]["objects"].as_u64() > Some(0), "{pruned}");
    assert_eq!(
        (
            pruned["retained"]["objects"].as_u64(),
            pruned["leftovers"]["retained"].as_u64()
        ),
        (Some(0), Some(0))
    );
    assert_eq!(pruned["leftovers"]["acceptances"], 1, "{pruned}");
    for words in ["holds/", "drift/"] {
        assert_eq!(world.keys(words), Vec::<String>::new());
    }
    world.all_is_sound();
    assert_ne!(as_bearer_of("retention.json", &["backup"]).run().code(), Some(0));
}
