//! A person restores into a server without room: told so, and how to go on once there is.

use super::{assert_in_part, assert_whole, by_hand, others, with_a_neighbour};
use crate::support::World;
use crate::support::small_disk::SmallDisk;

const DROP: &str = "drop it before it is restored again";
const WIPE: &str = "the next restore with --wipe empties it";

/// About 20 MB of rows and as much of index, beside the 8 MB of an empty database.
const CONTENTS: &str = "
CREATE TABLE t AS SELECT i, repeat(md5(i::text), 8) AS text FROM generate_series(1, 70000) i; CREATE INDEX ON t (text, i)";

/// A world with a backup, and its target with a neighbour.
fn backed_up(contents: &str) -> World {
    let world = World::start();
    world.source_sql(contents);
    world.back_up();
    world.mark_targets();
    with_a_neighbour(&world);
    world
}

#[test]
fn a_disk_that_is_full_when_rows_or_indexes_come_ends_a_restore_that_is_whole_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(22, "what a full disk does to a restore") else {
        return;
    };
    let world = backed_up(CONTENTS);
    for statement in [
        format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()),
        "ALTER DATABASE shop_restored SET TABLESPACE small".to_owned(),
    ] {
        world.target.sql("postgres", &statement).unwrap();
    }
    let before = others(&world);
    let mut options: &[&str] = &[];
    for (mebibytes, next, doing) in [(22, DROP, "load"), (40, WIPE, "pg_restore")] {
        disk.resize(mebibytes);
        let ended = by_hand(&world, options).run().expect(1);
        assert_in_part(&ended, next, doing);
        for words in [
            doing,
            "No space left on device",
            "\nhint: the server's disk is full: make room on it\n",
        ] {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        assert_eq!(others(&world), before, "{doing}");
        by_hand(&world, &[]).run().expect(6);
        options = &["--wipe"];
    }
    disk.resize(200);
    by_hand(&world, options).run().ok();
    assert_whole(&world);
    assert_eq!(others(&world), before);
}

/// Wherever nothing may be mounted too: an index that its sort has no room for.
#[test]
fn a_target_without_room_for_a_sort_ends_a_restore_that_is_whole_once_there_is() {
    let world = backed_up(
        "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) i; CREATE INDEX ON t (text)",
    );
    let before = others(&world);
    let set = |setting: &str| {
        let alter = format!("ALTER ROLE postgres {setting}");
        world.target.sql("postgres", &alter).unwrap();
    };
    set("SET maintenance_work_mem = '1MB'");
    set("SET temp_file_limit = '64kB'");
    let ended = by_hand(&world, &[]).run().expect(1);
    assert_in_part(&ended, DROP, "a sort");
    for words in ["temp_file_limit", "\nhint: the server ran out of memory"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    set("RESET temp_file_limit");
    by_hand(&world, &["--wipe"]).run().ok();
    assert_whole(&world);
    assert_eq!(others(&world), before);
}
