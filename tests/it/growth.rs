//! Ten times the rows are ten times the work and no more: counted in requests and bytes, not in seconds.

use kubebackup::backup::{BackupOptions, ChunkSizes};
use kubebackup::repository::Repository;
use kubebackup::storage::RequestStats;

use crate::support::World;
use crate::support::library::{backup_options, memory_repository, try_backup};

/// Small enough that a few MB are some hundred chunks.
const SIZES: ChunkSizes = ChunkSizes {
    min_bytes: 16 * 1024,
    mean_bytes: 32 * 1024,
    max_bytes: 64 * 1024,
};

/// What a backup cost.
#[derive(Debug)]
struct Work {
    rows: u64,
    raw_bytes: u64,
    requests: u64,
    sent_bytes: u64,
}

fn requests(stats: &RequestStats) -> u64 {
    stats.puts + stats.gets + stats.heads + stats.lists
}

/// Replaces the table's rows by so many, each of the same length.
fn fill(world: &World, rows: u64) {
    world.source_sql(&format!(
        "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 1000000000 + i AS id, md5(i::text) AS text FROM generate_series(1, {rows}) i"
    ));
}

async fn back_up(world: &World, repository: &Repository) -> Work {
    let before = repository.store().stats();
    let options = BackupOptions {
        chunks: SIZES,
        ..backup_options(world)
    };
    let stats = try_backup(world, repository, &options).await.unwrap().manifest.stats;
    let after = repository.store().stats();
    Work {
        rows: stats.rows,
        raw_bytes: stats.raw_bytes,
        requests: requests(&after) - requests(&before),
        sent_bytes: after.bytes_sent - before.bytes_sent,
    }
}

fn is_at_most_ten_and_a_half_times(what: &str, small: u64, large: u64) {
    println!("{what}: {small}, then {large}");
    assert!(small > 0 && large * 2 <= small * 21, "{what}: {small}, then {large}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_rows_cost_at_most_ten_and_a_half_times_the_requests_and_bytes() {
    let world = World::start();
    for rows in [20_000, 60_000] {
        fill(&world, rows);
        let repository = memory_repository().await;
        let small = back_up(&world, &repository).await;
        let small_again = back_up(&world, &repository).await;
        fill(&world, rows * 10);
        let repository = memory_repository().await;
        let large = back_up(&world, &repository).await;
        let large_again = back_up(&world, &repository).await;
        assert_eq!((small.rows, large.rows), (rows, rows * 10));
        assert_eq!(large.raw_bytes, small.raw_bytes * 10);
        is_at_most_ten_and_a_half_times("requests", small.requests, large.requests);
        is_at_most_ten_and_a_half_times("bytes sent", small.sent_bytes, large.sent_bytes);
        is_at_most_ten_and_a_half_times("requests, unchanged", small_again.requests, large_again.requests);
        is_at_most_ten_and_a_half_times("bytes sent, unchanged", small_again.sent_bytes, large_again.sent_bytes);
        // An unchanged one asks for what it refers to by pages of a thousand, and stores its index.
        assert!(large_again.requests < 30, "{large_again:?}");
    }
}
