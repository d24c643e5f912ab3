//! What random databases are too small for, through the real program: very many tables, very large values.

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

const TABLES: usize = 10_000;
const ROWS: u64 = 3_334 + 2 * 3_333;

/// What the bucket is asked by a backup of so many tables, and again by a drill: one object for about 128 tables, and
/// a few for the index and the root.
const REQUESTS: usize = 100;

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
    world.mark_targets();
    let certificate = world.program(&["--output", "json", "drill"]).run().ok().json();
    let asked_by_drill = world.s3.controls.requests().len() - asked_by_backup;
    assert!(asked_by_drill < REQUESTS, "{asked_by_drill} requests of the drill");
    assert_eq!(certificate["verdict"], "certified", "{}", certificate["summary"]);
    let tables = certificate["databases"][0]["tables"].as_array().unwrap();
    assert_eq!(tables.len(), TABLES);
    assert!(tables.iter().all(|table| table["equal"] == true));
}
