//! What random databases are too small for, through the real program: very many tables and partitions.

use crate::facts_memory::{MIB, peak_until_its_end};
use crate::support::{World, WorldOptions};

/// Room for a lock on each table and more.
const LOCKS: &[(&str, &str)] = &[("max_locks_per_transaction", "400")];

/// Every third table is empty; the others have one row or two, and no two tables the same.
const TEN_THOUSAND_TABLES: &str = "
CREATE SCHEMA dwarfs;
DO $$
BEGIN
    FOR n IN 1..10000 LOOP
        EXECUTE format('CREATE TABLE dwarfs.\"dwarf %s\" AS SELECT %s + i AS id FROM generate_series(1, %s) i', n, n * 10, n % 3);
        IF n % 500 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$;";

/// A tree of two levels with a key, whose leaves have a row or two each.
const A_THOUSAND_PARTITIONS: &str = "
CREATE SCHEMA dwarfs; CREATE TABLE dwarfs.tree (id int, half int, PRIMARY KEY (id, half)) PARTITION BY RANGE (half);
DO $$
BEGIN
    FOR h IN 0..1 LOOP
        EXECUTE format('CREATE TABLE dwarfs.half_%s PARTITION OF dwarfs.tree FOR VALUES FROM (%s) TO (%s) PARTITION BY RANGE (id)', h, h, h + 1);
        FOR n IN 0..499 LOOP
            EXECUTE format('CREATE TABLE dwarfs.\"leaf %s of %s\" PARTITION OF dwarfs.half_%s FOR VALUES FROM (%s) TO (%s)', n, h, h, n * 2, n * 2 + 2);
            IF n % 100 = 0 THEN COMMIT; END IF;
        END LOOP;
    END LOOP;
END $$;
INSERT INTO dwarfs.tree SELECT i, h FROM generate_series(0, 899) i, generate_series(0, 1) h;";

const TABLES: usize = 10_000;
const ROWS: u64 = 3_334 + 2 * 3_333;

/// What the bucket is asked by a backup of so many tables, and again by a drill: one object for about 128 tables, and
/// a few for the index and the root.
const REQUESTS: usize = 100;

/// Of each process, whatever the number of tables: what it knows of each is some kilobytes at most.
const PEAK: u64 = 192 * MIB;

#[test]
fn ten_thousand_small_tables_share_a_few_objects_and_are_certified_one_by_one() {
    let world = World::with(WorldOptions {
        source_settings: LOCKS,
        target_settings: LOCKS,
        ..WorldOptions::default()
    });
    world.source_sql(TEN_THOUSAND_TABLES);
    let backup = world.program(&["--output", "json", "backup"]).run().ok().json();
    assert_eq!(backup["stats"]["tables"], TABLES, "{backup}");
    assert_eq!(backup["stats"]["rows"], ROWS, "{backup}");
    let asked_by_backup = world.s3.controls.requests().len();
    assert!(asked_by_backup < REQUESTS, "{asked_by_backup} requests of the backup");
    let peak_of_backup = backup["peak_memory_bytes"].as_u64().unwrap();
    world.mark_targets();
    let drill = world.program(&["--output", "json", "drill"]).spawn();
    let (drilled, peak_of_drill) = peak_until_its_end(drill);
    let certificate = drilled.ok().json();
    println!(
        "backup {} MiB, drill {} MiB at most",
        peak_of_backup / MIB,
        peak_of_drill / MIB
    );
    assert!(peak_of_backup < PEAK, "{} MiB of the backup", peak_of_backup / MIB);
    assert!(peak_of_drill < PEAK, "{} MiB of the drill", peak_of_drill / MIB);
    let asked_by_drill = world.s3.controls.requests().len() - asked_by_backup;
    assert!(asked_by_drill < REQUESTS, "{asked_by_drill} requests of the drill");
    assert_eq!(certificate["verdict"], "certified", "{}", certificate["summary"]);
    let tables = certificate["databases"][0]["tables"].as_array().unwrap();
    assert_eq!(tables.len(), TABLES);
    assert!(tables.iter().all(|table| table["equal"] == true));
}

#[test]
fn a_thousand_partitions_are_certified_within_the_same_memory() {
    let world = World::with(WorldOptions {
        source_settings: LOCKS,
        target_settings: LOCKS,
        ..WorldOptions::default()
    });
    world.source_sql(A_THOUSAND_PARTITIONS);
    let backup = world.program(&["--output", "json", "backup"]).run().ok().json();
    assert_eq!(backup["stats"]["rows"], 2 * 900, "{backup}");
    let peak_of_backup = backup["peak_memory_bytes"].as_u64().unwrap();
    world.mark_targets();
    let drill = world.program(&["--output", "json", "drill"]).spawn();
    let (drilled, peak_of_drill) = peak_until_its_end(drill);
    let certificate = drilled.ok().json();
    println!(
        "backup {} MiB, drill {} MiB at most",
        peak_of_backup / MIB,
        peak_of_drill / MIB
    );
    assert_eq!(certificate["verdict"], "certified", "{}", certificate["summary"]);
    assert_eq!(certificate["databases"][0]["tables"].as_array().unwrap().len(), 1000);
    assert!(peak_of_backup < PEAK, "{} MiB of the backup", peak_of_backup / MIB);
    assert!(peak_of_drill < PEAK, "{} MiB of the drill", peak_of_drill / MIB);
}
