//! The memory of a backup and of a drill, on the real process: a pool and a few of the largest row, whatever the size of
//! the database.

use std::fs;
use std::time::Duration;

use crate::support::{Ended, Running, World, WorldOptions, wait};

pub(crate) const MIB: u64 = 1024 * 1024;

/// Fills `database` with about `mebibytes` of COPY text that zstd does not make much of.
fn fill(world: &World, database: &str, mebibytes: u64) {
    let rows = mebibytes * 1024;
    world
        .source
        .sql(
            database,
            &format!(
                "CREATE TABLE a AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 31) j) AS text
                     FROM generate_series(1, {rows} / 2) i;
                 CREATE TABLE b AS SELECT * FROM a;"
            ),
        )
        .unwrap();
}

/// Bytes of COPY text, and the peak of the process that copied them.
fn peak(world: &World, database: &str, settings: &[(&str, &str)]) -> (u64, u64) {
    let backup = ["--output", "json", "backup", "--jobs", "2", "--database", database];
    let backup = world.program(&backup).envs(settings.iter().copied()).run().ok().json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let (bytes, peak) = (
        number(&backup["stats"]["raw_bytes"]),
        number(&backup["peak_memory_bytes"]),
    );
    println!("{database}: {} MiB with {} MiB at most", bytes / MIB, peak / MIB);
    (bytes, peak)
}

/// With small chunks every buffer has been full long before the end of the smaller database; with the usual ones chance
/// decides how full each was.
const SMALL_CHUNKS: &[(&str, &str)] = &[
    ("KUBEBACKUP_BACKUP_CHUNK_MIN_BYTES", "256KiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MEAN_BYTES", "1MiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MAX_BYTES", "2MiB"),
];

#[test]
fn the_memory_of_a_backup_does_not_grow_with_the_database() {
    const SIZES: [(&str, u64); 3] = [("small", 30), ("middle", 90), ("large", 270)];
    let world = World::with(WorldOptions {
        databases: &["small", "middle", "large"],
        ..WorldOptions::default()
    });
    let peaks = SIZES.map(|(database, mebibytes)| {
        fill(&world, database, mebibytes);
        let (bytes, peak) = peak(&world, database, SMALL_CHUNKS);
        assert!(bytes > mebibytes * MIB * 9 / 10, "{database}: {bytes}");
        peak
    });
    let [least, ..] = peaks;
    assert!(
        peaks.iter().all(|peak| *peak < least + 8 * MIB),
        "{:?} MiB",
        peaks.map(|peak| peak / MIB)
    );
    for (database, _) in SIZES {
        let (_, peak) = peak(&world, database, &[]);
        assert!(peak < 128 * MIB, "{database}: {} MiB", peak / MIB);
    }
}

/// What a process has held at most; none once it has ended.
pub(crate) fn peak_so_far(running: &Running) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024)
}

/// The kernel forgets the peak with the process, so it is asked again until then; it never falls.
pub(crate) fn peak_until_its_end(mut running: Running) -> (Ended, u64) {
    let mut peak = 0;
    wait::for_some_within(Duration::from_mins(3), "the program to end", || {
        peak = peak_so_far(&running).unwrap_or(peak);
        running.has_ended().then_some(())
    });
    (running.wait(), peak)
}

/// The driver would read on by itself, however large the rows are that nobody has taken yet.
#[test]
fn of_many_large_rows_each_job_has_one_at_a_time() {
    const ROW_TEXT: u64 = 64 * MIB;
    let world = World::start();
    for table in ["a", "b"] {
        world.source_sql(&format!(
            "CREATE TABLE {table} (id int, value text); ALTER TABLE {table} ALTER value SET STORAGE EXTERNAL;
             INSERT INTO {table} SELECT n, repeat(md5(n::text), 2 * 1024 * 1024) FROM generate_series(1, 6) n"
        ));
    }
    let (bytes, peak) = peak(&world, "shop", &[]);
    assert!(bytes > 12 * ROW_TEXT, "{bytes}");
    // As message and as buffer of both jobs, and what a row compresses to.
    assert!(peak < 128 * MIB + 9 * ROW_TEXT / 2, "{} MiB", peak / MIB);
}

/// The values are as large as they are: of `bytea` two hexadecimal digits for each byte arrive in one message.
#[test]
fn a_value_of_256_megabytes_is_held_a_few_times_over_and_comes_back_equal() {
    const ROW_TEXT: u64 = 256 * MIB;
    let world = World::start();
    world.source_sql(
        "CREATE TABLE bytes (id int PRIMARY KEY, value bytea); ALTER TABLE bytes ALTER value SET STORAGE EXTERNAL;
         INSERT INTO bytes SELECT 1, convert_to(string_agg(md5(i::text), ''), 'UTF8') FROM generate_series(1, 128 * 32768) i;
         CREATE TABLE text (id int PRIMARY KEY, value text); ALTER TABLE text ALTER value SET STORAGE EXTERNAL;
         INSERT INTO text SELECT 1, encode(value, 'hex') FROM bytes;",
    );
    let (bytes, peak) = peak(&world, "shop", &[]);
    assert!(bytes > 2 * ROW_TEXT && peak > ROW_TEXT, "{bytes} {peak}");
    // In hand as the server's message, as a chunk's buffer and as stored bytes (half of it: hexadecimal digits), and one more
    // message that waits for its turn.
    assert!(peak < 128 * MIB + 7 * ROW_TEXT / 2, "{} MiB", peak / MIB);
    world.mark_targets();
    let drill = world.program(&["--output", "json", "drill", "--jobs", "2", "--keep"]);
    let (drilled, peak) = peak_until_its_end(drill.spawn());
    println!("the drill had {} MiB at most", peak / MIB);
    assert_eq!(drilled.ok().json()["verdict"], "certified");
    // Loading goes by pieces; each of the two sessions of the comparison holds a row.
    assert!(peak > ROW_TEXT && peak < 128 * MIB + 2 * ROW_TEXT, "{} MiB", peak / MIB);
    let digests = "SELECT sha256(value), length(value) FROM bytes; SELECT sha256(convert_to(value, 'UTF8')), length(value) FROM text";
    assert_eq!(world.restored_sql(digests), world.source_sql(digests));
}
