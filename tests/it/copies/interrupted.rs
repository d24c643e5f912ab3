//! kill -9 of a copy, at its own points and at moments that a seed chooses: what the copy shows is whole, a prune there
//! loses nothing of it, and the next copy brings the rest.

use std::time::Duration;

use super::*;
use crate::support::interrupt::{Killer, age, kill_at};
use crate::support::world::PREFIX;

const DAYS: Duration = Duration::from_hours(3 * 24);

const POINTS: [&str; 5] = [
    "copy-after-announcement",
    "copy-after-index",
    "copy-after-chunks",
    "copy-before-manifest",
    "copy-after-manifest",
];

/// Every backup over there is whole: a manifest never comes before its chunks.
#[track_caller]
fn is_sound(world: &World, copy: &str, manifests: usize) {
    if manifests > 0 {
        world.program(&["--repository", copy, "verify", "--all"]).run().ok();
    }
}

/// A prune of everything that may go, as if three days had passed.
#[track_caller]
fn prune(world: &World, copy: &str, files: impl IntoIterator<Item = std::path::PathBuf>) {
    age(files, DAYS);
    world.program(&["--repository", copy, "prune"]).run().ok();
}

fn manifests(directory: &Path) -> usize {
    let all = files(directory);
    all.iter().filter(|file| file.starts_with("manifests/")).count()
}

#[test]
fn a_copy_killed_at_any_of_its_points_shows_nothing_half_and_is_finished_by_the_next() {
    let mut world = with_volume();
    let mut more = format!("{SMALL_CHUNKS}copies:\n");
    for point in POINTS {
        let directory = world.directory().join(point);
        fs::create_dir(&directory).unwrap();
        more.push_str(&format!("  - {{name: {point}, directory: {}}}\n", directory.display()));
    }
    world.settings_file = world.write_settings("settings.yaml", &more);
    world.back_up();
    next_second();
    world.source_sql("UPDATE orders SET text = md5(text) WHERE id < 5000");
    world.back_up();
    let mut keys = world.keys("");
    keys.retain(|key| !key.starts_with("leases/"));
    for (number, point) in POINTS.into_iter().enumerate() {
        let directory = world.directory().join(point);
        kill_at(world.program(&["copy", "--to", point]), point);
        let there = manifests(&directory);
        assert_eq!(there, usize::from(point == "copy-after-manifest"), "{point}");
        assert_eq!(files(&directory.join("incoming")).len(), 1, "{point}");
        is_sound(&world, point, there);
        // Once at once, and once with a prune in between that finds everything old.
        if number % 2 == 0 || point == "copy-after-manifest" {
            let old = files(&directory).into_iter().map(|file| directory.join(file));
            prune(&world, point, old);
            is_sound(&world, point, there);
        }
        world.program(&["copy", "--to", point]).run().ok();
        is_sound(&world, point, 2);
        let mut finished = files(&directory);
        finished.retain(|file| !file.starts_with("incoming/"));
        assert_eq!(finished, keys, "{point}");
    }
}

#[test]
fn killed_after_any_number_of_requests_a_copy_loses_nothing_whatever_is_pruned_there() {
    let mut world = with_volume();
    let more = format!(
        "{SMALL_CHUNKS}copies:\n  - {{name: offsite, bucket: {}, prefix: offsite, endpoint: {}, region: us-east-1, \
         path_style: true}}\n",
        crate::support::s3::BUCKET,
        world.s3.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    world.back_up();
    let place = world.s3.bucket().join("offsite");
    let copied_objects = || {
        let keys = world.s3.keys("offsite/");
        keys.into_iter()
            .map(|key| world.s3.bucket().join(key))
            .collect::<Vec<_>>()
    };
    let mut killer = Killer::seeded(20_261_128);
    for round in 0..8 {
        let was_killed = killer.run(&world, world.program(&["copy"]), 60);
        let there = if place.exists() { manifests(&place) } else { 0 };
        is_sound(&world, "offsite", there);
        if round % 3 == 2 {
            prune(&world, "offsite", copied_objects());
            is_sound(&world, "offsite", there);
        }
        if !was_killed {
            next_second();
            world.source_sql(&format!(
                "UPDATE orders SET text = md5(text) WHERE id % 4 = {}",
                round % 4
            ));
            world.back_up();
        }
    }
    killer.has_killed_more_than(3);
    world.program(&["copy"]).run().ok();
    let listed = world.keys("manifests/");
    let copied = world.s3.keys("offsite/manifests/");
    let copied: Vec<&str> = copied.iter().filter_map(|key| key.strip_prefix("offsite/")).collect();
    assert_eq!(copied, listed, "below {PREFIX}");
    is_sound(&world, "offsite", listed.len());
}
