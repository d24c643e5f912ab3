//! Changes of definitions and files while a backup runs, beyond those of `consistency.rs` and `facts_source.rs`: each waits, or
//! goes by, or is given way to, and what is stored is certified.

use crate::consistency::{assert_nothing_or_certified, backup_stopped_at};
use crate::support::World;

const DEFINITIONS: &str = "
CREATE TYPE mood AS ENUM ('calm', 'glad');
CREATE TABLE t AS SELECT i, 'calm'::mood AS mood, md5(i::text) AS text FROM generate_series(1, 2000) i;
ALTER TABLE t ADD PRIMARY KEY (i); CREATE INDEX by_text ON t (text);
CREATE SEQUENCE numbers; SELECT setval('numbers', 100);
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE UNIQUE INDEX ON m (n);";

/// Whether a change stands in the way of those who read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It waits for the backup's locks or is had before them; the backup may give way to it.
    Excludes,
    /// It goes by, and waits for the end of a snapshot at most. There is nothing to give way to.
    GoesBy,
}

/// Whether the change was made while the backup stood at `failpoint`, or waited for it; and the backup's rows.
#[track_caller]
fn certified_through(world: &World, failpoint: &str, kind: Change, change: &str) {
    for key in world.keys("manifests/") {
        world.s3.remove(&World::object(&key));
    }
    let (ended, changed) = backup_stopped_at(world, failpoint, change);
    changed.unwrap_or_else(|error| panic!("{change}: {error}"));
    let is_certified = assert_nothing_or_certified(world, &ended);
    assert!(
        is_certified || kind == Change::Excludes,
        "{failpoint}: {change}\n{}",
        ended.printed()
    );
    if is_certified {
        assert_eq!(
            world.restored_sql("SELECT count(*), sum(i) FROM t"),
            "2000|2001000",
            "{failpoint}: {change}"
        );
    }
}

#[test]
fn rewrites_and_concurrent_indexes_go_by_or_wait_or_are_given_way_to() {
    let world = World::start();
    world.source_sql(DEFINITIONS);
    for (failpoint, kind, change) in [
        ("after-schema", Change::Excludes, "VACUUM FULL t"),
        ("after-snapshot", Change::Excludes, "CLUSTER t USING t_pkey"),
        (
            "after-snapshot",
            Change::GoesBy,
            "CREATE INDEX CONCURRENTLY late ON t (mood)",
        ),
        (
            "after-schema",
            Change::GoesBy,
            "CREATE INDEX CONCURRENTLY later ON t (mood, i)",
        ),
        ("after-schema", Change::GoesBy, "REINDEX INDEX CONCURRENTLY by_text"),
        ("after-schema", Change::GoesBy, "REINDEX TABLE CONCURRENTLY t"),
        ("after-schema", Change::GoesBy, "DROP INDEX CONCURRENTLY late"),
        // Nobody can lock a materialized view, and a backup reads none.
        ("after-schema", Change::GoesBy, "REFRESH MATERIALIZED VIEW m"),
        (
            "after-snapshot",
            Change::GoesBy,
            "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        ),
        (
            "after-schema",
            Change::GoesBy,
            "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        ),
    ] {
        certified_through(&world, failpoint, kind, change);
    }
}

#[test]
fn a_sequence_or_an_enum_that_changes_midway_is_stored_as_of_one_moment() {
    let world = World::start();
    world.source_sql(DEFINITIONS);
    // Before the definitions are read the backup starts over; later they are what they were.
    certified_through(
        &world,
        "after-snapshot",
        Change::GoesBy,
        "ALTER TYPE mood ADD VALUE 'sad'",
    );
    let labels = "SELECT array_agg(l::text ORDER BY l) FROM unnest(enum_range(NULL::mood)) l";
    assert_eq!(world.restored_sql(labels), "{calm,glad,sad}");
    certified_through(
        &world,
        "after-schema",
        Change::GoesBy,
        "ALTER TYPE mood ADD VALUE 'tired'; UPDATE t SET mood = 'glad'",
    );
    assert_eq!(world.restored_sql(labels), "{calm,glad,sad}");
    assert_eq!(world.restored_sql("SELECT count(*) FROM t WHERE mood = 'calm'"), "2000");

    // A number that was drawn before the rows were read is never given out again; one drawn later is no part of the backup.
    certified_through(&world, "after-snapshot", Change::GoesBy, "SELECT nextval('numbers')");
    assert_eq!(world.restored_sql("SELECT last_value FROM numbers"), "101");
    certified_through(&world, "after-schema", Change::GoesBy, "SELECT nextval('numbers')");
    assert_eq!(world.restored_sql("SELECT last_value FROM numbers"), "101");
    certified_through(
        &world,
        "after-snapshot",
        Change::GoesBy,
        "ALTER SEQUENCE numbers INCREMENT 5 RESTART 7",
    );
    assert_eq!(
        world.restored_sql("SELECT nextval('numbers'), nextval('numbers')"),
        "7|12"
    );
}
