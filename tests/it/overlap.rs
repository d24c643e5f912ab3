//! A store that is far away is hidden behind reading, shown by counts and not by a clock.
//!
//! How far away it is, is told in bytes: a put is answered once so many more bytes have been read from the server. A dump
//! that waited for its uploads would read no more, and no put would ever be answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use kubebackup::backup::{BackupOptions, ChunkSizes, backup};
use kubebackup::repository::Repository;
use kubebackup::repository::id::RepositoryId;
use kubebackup::storage::{Capabilities, Error, MemoryStore, ObjectMeta, ObjectStore, Page, Put, RequestStats, Result};
use kubebackup::telemetry::progress::Progress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::World;
use crate::support::library::{backup_options, memory_repository, source_options, try_backup};
use crate::support::wait::DEADLINE;

/// A hundredth of the usual sizes.
const SIZES: ChunkSizes = ChunkSizes {
    min_bytes: 48 * 1024,
    mean_bytes: 64 * 1024,
    max_bytes: 96 * 1024,
};

/// What a job reads in a millisecond at 150 MB/s, as these chunks are to the usual ones of 8 MiB.
const BYTES_A_MILLISECOND: u64 = 150_000 * 64 / (8 * 1024);

/// Counts what is read.
struct Reading(watch::Sender<u64>);

impl Progress for Reading {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.0.send_modify(|read| *read += bytes);
    }

    fn end(&self) {}
}

/// A store so many bytes of reading away.
#[derive(Debug)]
struct DistantStore {
    inner: MemoryStore,
    read: watch::Receiver<u64>,
    distance: u64,
    /// All that will ever be read; what is stored before and after is answered at once.
    total: AtomicU64,
    pending: AtomicU64,
    most_pending: AtomicU64,
}

#[async_trait]
impl ObjectStore for DistantStore {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        let mut read = self.read.clone();
        let begin = *read.borrow();
        let pending = self.pending.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_pending.fetch_max(pending, Ordering::Relaxed);
        let answered_at = (begin + self.distance).min(self.total.load(Ordering::Relaxed));
        read.wait_for(|read| *read >= answered_at).await.unwrap();
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.inner.put_new(key, body).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Bytes> {
        self.inner.get_at_most(key, most).await
    }

    async fn get_range(&self, key: &str, range: std::ops::Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page> {
        self.inner.list(prefix, start_after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>> {
        self.inner.delete_many(keys).await
    }

    async fn capabilities(&self, probe_prefix: &str) -> Result<Capabilities> {
        self.inner.capabilities(probe_prefix).await
    }

    fn stats(&self) -> RequestStats {
        self.inner.stats()
    }

    fn now(&self) -> jiff::Timestamp {
        self.inner.now()
    }
}

fn options(world: &World, jobs: usize) -> BackupOptions {
    BackupOptions {
        jobs,
        chunks: SIZES,
        ..backup_options(world)
    }
}

/// A backup into a store at that distance; how many puts were on their way at most.
async fn back_up(world: &World, jobs: usize, distance: u64, total: u64) -> u64 {
    let (sender, read) = watch::channel(0);
    let store = Arc::new(DistantStore {
        inner: MemoryStore::new(),
        read,
        distance,
        total: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        most_pending: AtomicU64::new(0),
    });
    let repository = Repository::open_or_create(store.clone(), RepositoryId::new(7))
        .await
        .unwrap();
    store.total.store(total, Ordering::Relaxed);
    let (source, options, cancel) = (source_options(world), options(world, jobs), CancellationToken::new());
    let run = backup(&source, &repository, &options, Arc::new(Reading(sender)), &cancel);
    let stored = tokio::time::timeout(DEADLINE, run).await;
    let stored = stored
        .unwrap_or_else(|_| panic!("{jobs} jobs stood still, {distance} bytes from the store"))
        .unwrap();
    assert_eq!(stored.manifest.stats.raw_bytes, total);
    let backup = repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    let rows: u64 = backup.databases[0].tables.iter().map(|table| table.tally.rows).sum();
    assert_eq!(rows, ROWS * TABLES);
    store.most_pending.load(Ordering::Relaxed)
}

const TABLES: u64 = 6;
const ROWS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_a_distant_store_is_hidden_behind_reading_and_never_stops_it() {
    let world = World::start();
    for table in 0..TABLES {
        world.source_sql(&format!(
            "CREATE TABLE t{table} AS SELECT i, repeat(md5((i % 9 + {table})::text), 4) AS text FROM generate_series(1, {ROWS}) i"
        ));
    }
    let near = try_backup(&world, &memory_repository().await, &options(&world, 2))
        .await
        .unwrap();
    let total = near.manifest.stats.raw_bytes;
    assert!(near.manifest.stats.chunks > 150, "{:?}", near.manifest.stats);
    for jobs in [1, 2, 4] {
        for latency in [0, 20, 100] {
            let distance = jobs as u64 * latency * BYTES_A_MILLISECOND;
            let most = back_up(&world, jobs, distance, total).await;
            println!("{jobs} jobs, {latency} ms: {most} puts at a time");
            assert!(most <= 4 * jobs as u64, "{most} puts at a time for {jobs} jobs");
            if latency == 100 {
                assert!(most > jobs as u64, "{most} puts at a time for {jobs} jobs");
            }
        }
    }
}
