//! kill -9 of expiry and prune, at their own points and at moments that a seed chooses: what exists is whole, and the next
//! run finishes.

use kubebackup::demo::{S3Effect, S3Fault};

use super::*;
use crate::support::interrupt::{Killer, kill_at};

/// Backups of which the newest is proven; nothing of them is younger than three days.
fn fill(world: &World, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.back_up_state(number);
    }
    world.drill();
    world.age("", 3 * DAY);
}

#[track_caller]
fn finishes(world: &World) {
    world.all_is_sound();
    world.expire();
    assert_eq!(world.keys("manifests/").len(), 1);
    // Marks that a killed expiry has not written are written by the first, and over by the second.
    world.prune();
    world.age("", 3 * DAY);
    let pruned = world.prune();
    assert_eq!(pruned["referenced"]["objects"], world.chunks());
    assert_eq!(pruned["marked"], world.chunks());
    assert_eq!(world.keys("tombstones/"), Vec::<String>::new());
    world.all_is_sound();
}

#[test]
fn an_expiry_or_a_prune_killed_at_any_of_its_points_is_finished_by_the_next() {
    let world = world();
    for (number, (verb, point)) in (0..).zip([
        ("expire", "expire-after-tombstones"),
        ("expire", "expire-after-manifests"),
        ("prune", "prune-after-mark"),
        ("prune", "prune-after-batch"),
    ]) {
        fill(&world, 2 * number..2 * number + 2);
        if verb == "prune" {
            world.expire();
            world.age("tombstones/", 3 * DAY);
        }
        kill_at(world.program(&[verb]), point);
        finishes(&world);
    }
}

#[test]
fn killed_after_any_number_of_requests_they_lose_nothing() {
    let world = world();
    fill(&world, 1..4);
    let mut killer = Killer::seeded(20_261_121);
    for round in 0..4u32 {
        for verb in ["expire", "prune"] {
            // A whole run of either asks some forty times.
            killer.run(&world, world.program(&[verb]), 40);
            world.all_is_sound();
        }
        world.age("", 3 * DAY);
        world.back_up_state(10 + round);
        world.drill();
    }
    killer.has_killed_more_than(2);
    finishes(&world);
}

/// A store that knows no batches is asked key by key, so that a prune can die between any two deletions.
#[test]
fn a_prune_killed_between_any_two_deletions_is_finished_by_the_next() {
    let world = World::with(WorldOptions {
        settings: "retention: {keep_last: 1, keep_certified: 1}
backup: {chunk_min_bytes: 16KiB, chunk_mean_bytes: 32KiB, chunk_max_bytes: 64KiB}
",
        ..WorldOptions::default()
    });
    world.s3.controls.inject(S3Fault {
        operation: Some("DeleteObjects"),
        key_prefix: String::new(),
        times: usize::MAX,
        effect: S3Effect::Refuse("NotImplemented"),
    });
    // Slow enough to be found between two.
    world.s3.controls.inject(S3Fault {
        operation: Some("DeleteObject"),
        key_prefix: String::new(),
        times: usize::MAX,
        effect: S3Effect::Delay(Duration::from_millis(50)),
    });
    let fill = |number: u32| {
        world.source_sql(&format!(
            "DROP TABLE IF EXISTS large; CREATE TABLE large AS SELECT i, md5((i * {number})::text) AS text FROM generate_series(1, 100000) i;"
        ));
        world.back_up_state(number);
    };
    (1..4).for_each(fill);
    world.drill();
    world.age("", 3 * DAY);
    world.expire();
    world.age("", 3 * DAY);
    let unwanted = |pruned: &Value| pruned["deleted"]["objects"].as_u64().unwrap();
    let dry_run = || {
        unwanted(
            &world
                .program(&["--output", "json", "prune", "--dry-run"])
                .run()
                .ok()
                .json(),
        )
    };
    let at_first = dry_run();
    assert!(at_first > 150, "{at_first}");
    let mut killer = Killer::seeded(20_261_128);
    let (mut left, mut died_between) = (at_first, 0);
    for _ in 0..6 {
        // Some twenty requests come before the first deletion.
        killer.run(&world, world.program(&["prune"]), 80);
        world.all_is_sound();
        let now = dry_run();
        died_between += usize::from(0 < now && now < left);
        left = now;
    }
    assert!(died_between > 2, "{died_between} of six died between two deletions");
    finishes(&world);
}
