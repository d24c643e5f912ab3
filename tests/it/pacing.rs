//! A polite backup: what it sees of the server without a privilege, and what it leaves as it was.

use std::sync::Arc;

use kubebackup::backup::{BackupOptions, PaceOption, backup};
use kubebackup::postgres::connect;
use kubebackup::postgres::copy::copy_out;
use kubebackup::postgres::watch::Listener;
use kubebackup::repository::manifest::{Backup, Table};
use kubebackup::telemetry::progress::Silent;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

use crate::support::library::{backup_options, cluster_options, memory_repository, source_options, try_backup};
use crate::support::{World, wait};

fn polite(world: &World) -> BackupOptions {
    BackupOptions {
        pace: PaceOption::Polite,
        ..backup_options(world)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_process_that_waits_for_its_reader_is_not_at_work() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 50000) i");
    let source = source_options(&world);
    let listener = Listener::connect(&source).await.unwrap();
    listener.ask().await.unwrap();
    assert_eq!(listener.busy_processes().await.unwrap(), 0);
    let (working, reading) = (
        connect(&source, "copy").await.unwrap(),
        connect(&source, "copy").await.unwrap(),
    );
    let holder = connect(&source, "holder").await.unwrap();
    let sql = "SELECT pg_catalog.pg_advisory_lock(1)";
    holder.client.batch_execute(sql).await.unwrap();
    let at_work = tokio::spawn(async move { working.client.batch_execute(sql).await });
    let mut rows = copy_out(&reading, "COPY public.t TO STDOUT", "copy").await.unwrap();
    // Of the two, one has filled the socket's buffers, and its reader reads no more.
    wait::until_async("one process at work", async || {
        listener.busy_processes().await.unwrap() == 1
    })
    .await;
    let mut bytes = 0;
    while let Some(message) = rows.next().await.unwrap() {
        bytes += message.len();
    }
    assert!(bytes > 48_000_000, "{bytes}");
    holder
        .client
        .batch_execute("SELECT pg_catalog.pg_advisory_unlock(1)")
        .await
        .unwrap();
    at_work.await.unwrap().unwrap();
    wait::until_async("nothing at work", async || {
        listener.busy_processes().await.unwrap() == 0
    })
    .await;
}

/// Each table with its tallies and the digests of the chunks in which its rows lie. In which order two workers store their
/// chunks is chance, and so are the numbers by which an index knows them.
fn contents(backup: &Backup) -> Vec<(Table, Vec<&str>)> {
    let tables = backup.databases[0].tables.iter().map(|table| {
        let chunks = table
            .segments
            .iter()
            .map(|segment| backup.chunks[segment.chunk as usize].key.as_str());
        let mut unnumbered = table.clone();
        for segment in &mut unnumbered.segments {
            segment.chunk = 0;
        }
        (unnumbered, chunks.collect())
    });
    tables.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polite_backup_stores_the_same_as_a_hurried_one_and_says_how_long_it_paused() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 20000) i;
         CREATE TABLE g (a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO g SELECT generate_series(1, 5000);
         SELECT lo_from_bytea(4711, decode(repeat('00ff7f', 500000), 'hex'))",
    );
    let repository = memory_repository().await;
    let hurried = try_backup(&world, &repository, &backup_options(&world)).await.unwrap();
    let paced = try_backup(&world, &repository, &polite(&world)).await.unwrap();
    assert_eq!(hurried.manifest.stats.paced_seconds, None);
    assert!(paced.manifest.stats.paced_seconds.is_some_and(|seconds| seconds > 0.0));
    let [hurried, paced] = [hurried, paced].map(|stored| stored.manifest.backup_id);
    let (hurried, paced) = (
        repository.read_backup(&hurried).await.unwrap(),
        repository.read_backup(&paced).await.unwrap(),
    );
    assert_eq!(contents(&paced), contents(&hurried));
    assert_eq!(
        paced.databases[0].head.large_objects,
        hurried.databases[0].head.large_objects
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answering_slows_a_backup_and_does_not_keep_it_from_ending() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 5000) i");
    let (source, repository) = (source_options(&world), memory_repository().await);
    let holder = connect(&cluster_options(&world.source, world.database()), "holder")
        .await
        .unwrap();
    holder
        .client
        .batch_execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut options = polite(&world);
    options.snapshot.lock_timeout = wait::DEADLINE;
    let run = tokio::spawn({
        let (source, repository) = (source.clone(), repository.clone());
        async move {
            backup(
                &source,
                &repository,
                &options,
                Arc::new(Silent),
                &CancellationToken::new(),
            )
            .await
        }
    });
    // Nothing has been read yet, and the server is being asked already.
    let looker = connect(&source, "looker").await.unwrap();
    let query = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = 'kubebackup pace'";
    let mut process = None;
    wait::until_async("the session that asks", async || {
        process = looker
            .client
            .query_opt(query, &[])
            .await
            .unwrap()
            .map(|row| row.get::<_, i32>(0));
        process.is_some()
    })
    .await;
    let process = Pid::from_raw(process.unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    holder.client.batch_execute("COMMIT").await.unwrap();
    let stored = run.await.unwrap();
    kill(process, Signal::SIGCONT).unwrap();
    let stats = stored.unwrap().manifest.stats;
    assert_eq!(stats.rows, 5000);
    assert!(stats.paced_seconds.is_some_and(|seconds| seconds > 0.0), "{stats:?}");
}
