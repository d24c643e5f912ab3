//! A store that is far away is hidden behind reading, shown by counts and not by a clock.
//!
//! The store answers no put before several are on their way or more has been read, or everything has. A dump that waited for
//! its uploads would read no more, and no put would ever be answered.

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

/// Several times what the server's rows arrive in, which are counted as read only once all of a piece lies in chunks.
const LARGER: ChunkSizes = ChunkSizes {
    min_bytes: 192 * 1024,
    mean_bytes: 256 * 1024,
    max_bytes: 384 * 1024,
};

/// Rows arrive in pieces of so much at most.
const PIECE: u64 = 64 * 1024;

/// Puts that a job may have on their way.
const UPLOADS: u64 = 4;

/// Counts what is read.
struct Reading(watch::Sender<u64>);

impl Progress for Reading {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.0.send_modify(|read| *read += bytes);
    }

    fn end(&self) {}
}

/// When a put is answered.
#[derive(Clone, Copy, Debug)]
enum Answers {
    /// When so many are on their way, all of them at once.
    Together(u64),
    /// When so much has been read beyond all the chunks whose puts have come.
    Beyond(u64),
}

/// A store that takes its time.
#[derive(Debug)]
struct DistantStore {
    inner: MemoryStore,
    read: watch::Receiver<u64>,
    when: Answers,
    /// All that will ever be read; what is stored before and after is answered at once.
    total: AtomicU64,
    /// Raw bytes of chunks whose puts have come.
    begun: AtomicU64,
    pending: AtomicU64,
    most_pending: AtomicU64,
    /// Changes when all that are on their way may be answered.
    answers: watch::Sender<()>,
}

#[async_trait]
impl ObjectStore for DistantStore {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        let (mut read, mut answers) = (self.read.clone(), self.answers.subscribe());
        let total = self.total.load(Ordering::Relaxed);
        let pending = self.pending.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_pending.fetch_max(pending, Ordering::Relaxed);
        let enough = match self.when {
            Answers::Together(together) => {
                if pending >= together {
                    self.answers.send_replace(());
                }
                total
            }
            Answers::Beyond(more) => {
                let raw = zstd::decode_all(body.as_ref()).map_or(0, |raw| raw.len() as u64);
                total.min(self.begun.fetch_add(raw, Ordering::SeqCst) + raw + more)
            }
        };
        tokio::select! {
            answered = answers.changed() => answered.unwrap(),
            ended = read.wait_for(|read| *read >= enough) => drop(ended.unwrap()),
        }
        self.pending.fetch_sub(1, Ordering::SeqCst);
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

fn options(world: &World, jobs: usize, chunks: ChunkSizes) -> BackupOptions {
    BackupOptions {
        jobs,
        chunks,
        ..backup_options(world)
    }
}

impl DistantStore {
    fn new(read: watch::Receiver<u64>, when: Answers) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            read,
            when,
            total: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            most_pending: AtomicU64::new(0),
            answers: watch::Sender::new(()),
        })
    }
}

/// A backup into such a store; how many puts were on their way at most.
async fn back_up(world: &World, options: &BackupOptions, when: Answers, total: u64) -> u64 {
    let (sender, read) = watch::channel(0);
    let store = DistantStore::new(read, when);
    let repository = Repository::open_or_create(store.clone(), RepositoryId::new(7))
        .await
        .unwrap();
    store.total.store(total, Ordering::Relaxed);
    let (source, cancel) = (source_options(world), CancellationToken::new());
    let run = backup(&source, &repository, options, Arc::new(Reading(sender)), &cancel);
    let stored = tokio::time::timeout(DEADLINE, run).await;
    let stored = stored
        .unwrap_or_else(|_| panic!("{} jobs stood still, and puts are answered only {when:?}", options.jobs))
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
    let near = try_backup(&world, &memory_repository().await, &options(&world, 2, SIZES))
        .await
        .unwrap();
    let total = near.manifest.stats.raw_bytes;
    assert!(near.manifest.stats.chunks > 150, "{:?}", near.manifest.stats);
    for jobs in [1, 2, 4] {
        // As many together as one job may have, since the others may have come to their end.
        for together in [1, 2, UPLOADS] {
            let options = options(&world, jobs, SIZES);
            let most = back_up(&world, &options, Answers::Together(together), total).await;
            let at_most = UPLOADS * jobs as u64;
            assert!(
                (together..=at_most).contains(&most),
                "{most} puts at a time for {jobs} jobs"
            );
        }
    }
}

/// What does not compress takes the room of several uploads. While one is on its way the next chunk is read all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_behind_uploads_of_rows_that_do_not_compress() {
    let world = World::start();
    for table in 0..TABLES {
        world.source_sql(&format!(
            "CREATE TABLE t{table} AS SELECT i, encode(sha256((i * 10 + {table})::text::bytea), 'base64') AS text
             FROM generate_series(1, {ROWS}) i"
        ));
    }
    let near = try_backup(&world, &memory_repository().await, &options(&world, 2, LARGER))
        .await
        .unwrap();
    let stats = near.manifest.stats;
    assert!(
        stats.stored_bytes * 2 > stats.raw_bytes && stats.chunks > 20,
        "{stats:?}"
    );
    for jobs in [1, 2, 4] {
        let when = Answers::Beyond(LARGER.min_bytes as u64 - PIECE);
        let most = back_up(&world, &options(&world, jobs, LARGER), when, stats.raw_bytes).await;
        assert!(most <= UPLOADS * jobs as u64, "{most} puts at a time for {jobs} jobs");
    }
}
