//! Expiry, holds and prune through the program, on the S3 server, with real backups.
//!
//! Time is the store's: objects grow old by setting back the times of their files.

mod agent;
mod directory;
mod identities;
mod interrupted;
mod story;

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::interrupt::age;
use crate::support::world::PREFIX;
use crate::support::{World, WorldOptions};

const DAY: Duration = Duration::from_hours(24);

/// A world whose policy keeps the last backup alone.
fn world() -> World {
    World::with(WorldOptions {
        settings: "retention:\n  keep_last: 1\n  keep_certified: 1\n",
        ..WorldOptions::default()
    })
}

impl World {
    /// One more state of production, backed up; its id.
    fn back_up_state(&self, number: u32) -> String {
        self.source_sql(&format!(
            "CREATE TABLE IF NOT EXISTS same AS SELECT i, md5(i::text) AS text FROM generate_series(1, 50000) i;
             DROP TABLE IF EXISTS changing;
             CREATE TABLE changing AS SELECT i, md5((i * {number})::text) AS text FROM generate_series(1, 2000) i;"
        ));
        let backup = self.program(&["--output", "json", "backup"]).run().ok().json();
        text(&backup["backup_id"])
    }

    fn drill(&self) {
        self.mark_targets();
        self.program(&["drill"]).run().ok();
    }

    fn expire(&self) -> Value {
        self.program(&["--output", "json", "expire"]).run().ok().json()
    }

    fn prune(&self) -> Value {
        self.program(&["--output", "json", "prune"]).run().ok().json()
    }

    /// Lets what lies below `prefix` grow older.
    fn age(&self, prefix: &str, by: Duration) {
        self.age_keys(&self.keys(prefix), by);
    }

    fn age_keys(&self, keys: &[String], by: Duration) {
        let bucket = self.s3.bucket().join(PREFIX);
        age(keys.iter().map(|key| bucket.join(key)), by);
    }

    fn chunks(&self) -> usize {
        self.keys("chunks/").len()
    }

    /// Every backup that exists is whole.
    #[track_caller]
    fn all_is_sound(&self) {
        self.program(&["verify", "--all"]).run().ok();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
