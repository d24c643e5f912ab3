//! kill -9 of expiry and prune, at their own points and at moments that a seed chooses: what exists is whole, and the next
//! run finishes.

use super::*;

/// Five backups of which the newest is proven; nothing of it is younger than three days.
fn full_world() -> World {
    let world = world();
    for number in 1..=5 {
        world.back_up_state(number);
    }
    world.drill();
    world.age("", 3 * DAY);
    world
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
    for (verb, point) in [
        ("expire", "expire-after-tombstones"),
        ("expire", "expire-after-manifests"),
        ("prune", "prune-after-mark"),
        ("prune", "prune-after-batch"),
    ] {
        let world = full_world();
        if verb == "prune" {
            world.expire();
            world.age("tombstones/", 3 * DAY);
        }
        let mut run = world.program(&[verb]).env("KUBEBACKUP_FAILPOINT", point).spawn();
        run.wait_for(&format!("failpoint {point}"));
        run.kill();
        finishes(&world);
    }
}

/// Numbers that look like chance and are the same every time.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn killed_after_any_number_of_requests_they_lose_nothing() {
    let world = full_world();
    let mut seeded = Seeded(20_261_121);
    let mut killed = 0;
    for round in 0..6u32 {
        for verb in ["expire", "prune"] {
            let asked = world.s3.controls.requests().len();
            // A whole run of either asks some forty times.
            let enough = asked + 1 + seeded.below(40);
            let mut run = world.program(&[verb]).spawn();
            crate::support::wait::until("the run to get there or to end", || {
                world.s3.controls.requests().len() >= enough || run.has_ended()
            });
            killed += usize::from(run.kill().signal() == Some(9));
            world.all_is_sound();
        }
        world.age("", 3 * DAY);
        world.back_up_state(10 + round);
        world.drill();
    }
    assert!(killed > 3, "only {killed} runs were killed before they ended");
    finishes(&world);
}
