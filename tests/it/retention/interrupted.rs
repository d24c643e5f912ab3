//! kill -9 of expiry and prune, at their own points and at moments that a seed chooses: what exists is whole, and the next
//! run finishes.

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
