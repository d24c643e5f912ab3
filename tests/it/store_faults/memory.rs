//! A slow bucket holds the dump back, and nothing piles up meanwhile.

use super::Ground;
use crate::support::s3_proxy::{Fault, Rule};

const MIB: u64 = 1024 * 1024;

/// Bytes a second of each upload. Two go on at once, so that the bucket takes a third of what a dump here gives at least.
const SLOW: u64 = 2 * MIB;

/// Small chunks, so that every buffer is full early and chance decides nothing.
const SMALL_CHUNKS: [(&str, &str); 4] = [
    ("KUBEBACKUP_BACKUP_CHUNK_MIN_BYTES", "256KiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MEAN_BYTES", "1MiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MAX_BYTES", "2MiB"),
    ("KUBEBACKUP_REPOSITORY_READ_TIMEOUT", "30s"),
];

/// What a backup stored, how long it took, and what its process held at most.
fn backed_up(ground: &Ground, database: &str) -> (u64, f64, u64) {
    let arguments = ["--output", "json", "backup", "--jobs", "2", "--database", database];
    let backup = ground.program(&arguments).envs(SMALL_CHUNKS).run().ok().json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let stored = number(&backup["stats"]["new_bytes"]);
    let seconds = backup["stats"]["duration_seconds"].as_f64().unwrap();
    let peak = number(&backup["peak_memory_bytes"]);
    println!("{} MiB in {seconds:.1} s with {} MiB at most", stored / MIB, peak / MIB);
    (stored, seconds, peak)
}

#[test]
fn a_slow_bucket_throttles_the_dump_and_the_memory_does_not_grow() {
    let ground = Ground::new();
    for database in ["quick", "slow"] {
        let create = format!("CREATE DATABASE {database}");
        ground.world.source.sql("postgres", &create).unwrap();
        // Of other rows, or the second would be the first's.
        let fill = format!(
            "CREATE TABLE a AS SELECT i, (SELECT string_agg(md5('{database}' || i::text || j), '')
                 FROM generate_series(1, 31) j) AS text FROM generate_series(1, 40 * 1024) i"
        );
        ground.world.source.sql(database, &fill).unwrap();
    }
    let (stored, _, peak) = backed_up(&ground, "quick");
    assert!(stored > 15 * MIB, "{stored}");
    ground
        .proxy
        .script(Rule::first("PutObject", "it/chunks", Fault::Slow(SLOW)).always());
    let (stored, seconds, slow_peak) = backed_up(&ground, "slow");
    // Three at once at most: one for each job and one that is being stored while the next is filled.
    let least = f64::from(u32::try_from(stored / (3 * SLOW)).unwrap());
    assert!(
        seconds > least,
        "{seconds} s where the bucket cannot take it in less than {least} s"
    );
    assert!(
        slow_peak < peak + 8 * MIB,
        "{} MiB against {} MiB",
        slow_peak / MIB,
        peak / MIB
    );
    ground.proxy.clear();
    ground.assert_sound();
}
