//! Clocks that are wrong: what was said last counts, whatever time it was said to be.

use std::fs;

use crate::support::World;

/// A world with one backup, and a file by which the program's clock is wrong.
struct Ground {
    world: World,
    backup_id: String,
    clock: std::path::PathBuf,
}

impl Ground {
    fn new() -> Self {
        let world = World::start();
        world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i");
        let backup_id = world.back_up();
        world.mark_targets();
        let clock = world.directory().join("clock");
        Self {
            world,
            backup_id,
            clock,
        }
    }

    /// Drills at so many seconds from now.
    fn drill_at(&self, seconds: i64, code: i32) {
        fs::write(&self.clock, seconds.to_string()).unwrap();
        let clock = self.clock.display().to_string();
        self.world
            .program(&["drill"])
            .env("KUBEBACKUP_CLOCK_FILE", &clock)
            .run()
            .expect(code);
    }

    fn verdict(&self) -> String {
        let listed = self.world.program(&["--output", "json", "list"]).run().ok().json();
        listed[0]["verdict"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_failed_drill_has_the_last_word_although_an_earlier_one_was_dated_tomorrow() {
    let ground = Ground::new();
    ground.drill_at(90_000, 0);
    assert_eq!(ground.verdict(), "certified");
    let backup = ground.world.read_backup(&ground.backup_id);
    ground.world.s3.flip_a_bit(&World::object(&backup.chunks[0].key));
    ground.drill_at(0, 3);
    assert_eq!(ground.verdict(), "failed");
    let certified = ground
        .world
        .program(&["restore", "--backup", "certified", "--into", "host=nowhere"])
        .run();
    assert!(certified.expect(1).stderr.contains("certified"), "nothing is certified");
}

#[test]
fn a_drill_that_certifies_has_the_last_word_too() {
    let ground = Ground::new();
    let backup = ground.world.read_backup(&ground.backup_id);
    let key = World::object(&backup.chunks[0].key);
    ground.world.s3.flip_a_bit(&key);
    ground.drill_at(90_000, 3);
    ground.world.s3.flip_a_bit(&key);
    ground.drill_at(-90_000, 0);
    assert_eq!(ground.verdict(), "certified");
}
