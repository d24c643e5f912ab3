//! A backup run: every database under its own snapshot, rows hashed and cut into chunks as they stream, manifest last.
//!
//! Anything that goes wrong leaves no manifest and so no backup. Memory is a fixed pool of buffers plus a few of the
//! largest row, whatever the size of the database; nothing touches a local disk.

mod assembler;
mod copy;
mod cut;
mod database;
mod error;
mod options;
mod pace;
mod plan;
mod pool;
mod records;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use crate::postgres::program::ClientPrograms;
use crate::postgres::server::{Server, read_server};
use crate::postgres::{ConnectOptions, Session, connect, databases, role};
use crate::repository::drift::{Current, Drift, DriftRules};
use crate::repository::id::BackupId;
use crate::repository::manifest::{
    BackupKind, BackupStats, Database, DatabaseSummary, PhaseSeconds, Predecessor, Source,
};
use crate::repository::{
    BackupWriter, Lease, ManifestDraft, Repository, ReuseIndex, StoredManifest, Unpublished, WriterOptions,
};
use crate::telemetry::failpoint;
use crate::telemetry::progress::Progress;

use assembler::Assembly;
use cut::Cutter;
use database::{Run, backup_database};
pub use error::{Error, Result};
pub use options::{AssertionQuery, BackupOptions, ChunkSizes, DriftOptions, PaceOption, TablePattern};
use pace::Pacer;
pub use plan::{BackupPlan, Piece, Task, Unaccounted, plan};
use pool::BufferPool;

/// How long a manifest that is on its way is waited for where the run is told to end: of the two seconds that an agent
/// gives its run to end.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Backs up the cluster behind `source` into `repository`. The source's own database is where the cluster's databases
/// and roles are read.
///
/// # Errors
/// Why there is no backup; nothing of it is visible then, but for the one error that says so.
pub async fn backup(
    source: &ConnectOptions,
    repository: &Repository,
    options: &BackupOptions,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<StoredManifest> {
    let pacer = match options.pace {
        PaceOption::Full => Pacer::none(),
        PaceOption::Polite => Pacer::polite(options.jobs, options.max_duration),
    };
    let run: BoxFuture<'_, Result<Unpublished>> =
        Box::pin(run(source, repository, options, pacer.clone(), Arc::clone(&progress)));
    let watching = Box::pin(watch::watch(source, options, &pacer, progress.as_ref()));
    let unpublished = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        unpublished = run => unpublished,
        error = watching => Err(error),
        error = keep(options.lease.as_ref()) => Err(error),
    }?;
    // From here on there is no way back: a run that let go of the last request would not know whether it made a backup.
    let backup_id = unpublished.backup_id().clone();
    let stored = tokio::select! {
        biased;
        stored = unpublished.publish() => stored?,
        () = last_word(cancel) => return Err(Error::CancelledPublishing { backup_id }),
    };
    failpoint::reach("after-manifest").await;
    Ok(stored)
}

/// Returns when a run that was told to end can wait no longer for the answer to its manifest.
async fn last_word(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(LAST_WORD).await;
}

/// Returns only when another agent has the lease.
async fn keep(lease: Option<&Lease>) -> Error {
    match lease {
        Some(lease) => lease.keep().await.into(),
        None => std::future::pending().await,
    }
}

async fn run(
    source: &ConnectOptions,
    repository: &Repository,
    options: &BackupOptions,
    pacer: Pacer,
    progress: Arc<dyn Progress>,
) -> Result<Unpublished> {
    let (clock, started) = (Instant::now(), crate::telemetry::clock::now());
    let session = connect(source, "backup").await?;
    let server = read_server(&session.client).await?;
    let programs = ClientPrograms::find(server.major(), options.bin_directory.as_deref()).await?;
    let programs = programs.in_english(server.is_superuser);
    let present = databases::list_databases(&session.client).await?;
    let all = databases::list_all_databases(&session.client).await?;
    let included = choose_databases(&present, options)?;
    let predecessor = repository.previous_backup(&options.cluster).await?;
    if let Some(stored) = &predecessor {
        // Whatever a root says: more than this changes nothing.
        pacer.expect(without_pauses(&stored.manifest.stats).min(options.max_duration));
    }
    let assembly = assemble(repository, predecessor.as_ref(), options).await?;
    let run = Run {
        options,
        server: &server,
        programs: &programs,
        assembly: assembly.clone(),
        pacer: pacer.clone(),
        progress,
    };
    let mut backed_up = Vec::with_capacity(included.len());
    let (mut snapshot_seconds, mut dump_seconds) = (0.0, 0.0);
    for database in &included {
        let done = backup_database(&run, &source.with_database(database)).await;
        let done = done.map_err(|error| dropped_meanwhile(error, database))?;
        snapshot_seconds += done.snapshot_seconds;
        dump_seconds += done.dump_seconds;
        backed_up.push(done.database);
    }
    let roles = role::read_roles(&session.client).await?;
    let memberships = role::read_memberships(&session.client).await?;
    let not_included = not_included(&session, all, &included).await?;
    let compared = compare_with_earlier(
        repository,
        options,
        &server.system_identifier,
        &backed_up,
        &not_included,
    )
    .await;
    let draft = ManifestDraft {
        kind: BackupKind::Logical,
        // The id tells the oldest snapshot of the run: nothing in it is older than the id says.
        backup_id: BackupId::following(
            predecessor.as_ref().map(|stored| &stored.manifest.backup_id),
            oldest_snapshot(&backed_up).unwrap_or(started),
            rand::random(),
        ),
        predecessor: predecessor.map(|stored| Predecessor {
            backup_id: stored.manifest.backup_id.clone(),
            manifest_sha256: stored.sha256,
        }),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        source: describe_source(options, &server, &programs),
        started,
        finished: crate::telemetry::clock::now(),
        databases: backed_up.iter().map(summarize).collect(),
        databases_not_included: not_included,
        stats: BackupStats {
            paced_seconds: pacer.pace().map(|pace| pace.paced_seconds),
            ..count(&backed_up, clock)
        },
        phases: vec![phase("snapshot", snapshot_seconds), phase("dump", dump_seconds)],
        drift: Some(compared),
    };
    let records = records::records(roles, memberships, backed_up);
    failpoint::reach("before-manifest").await;
    drop(assembly);
    let writer = Arc::into_inner(run.assembly.writer).ok_or_else(|| Error::Worker("still writing".to_owned()))?;
    Ok(writer.prepare(draft, records).await?)
}

/// It was listed, so it was there when the run began.
fn dropped_meanwhile(error: Error, database: &str) -> Error {
    match error {
        Error::Postgres { source, .. } if source.sqlstate() == Some(&SqlState::INVALID_CATALOG_NAME) => {
            Error::DatabaseDropped {
                name: database.to_owned(),
                source,
            }
        }
        other => other,
    }
}

/// Databases that this backup does not hold: those that there were when it began, and those that were created since.
async fn not_included(session: &Session, at_first: Vec<String>, included: &[String]) -> Result<Vec<String>> {
    let mut names = databases::list_all_databases(&session.client).await?;
    names.extend(at_first);
    names.retain(|name| !included.contains(name));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// What this backup no longer holds of an earlier one. Whatever it is, the backup is published.
async fn compare_with_earlier(
    repository: &Repository,
    options: &BackupOptions,
    system_identifier: &str,
    databases: &[Database],
    not_included: &[String],
) -> Drift {
    let ignored = &options.drift.ignore_tables;
    let rules = DriftRules {
        max_loss_percent: options.drift.max_loss_percent,
        min_rows: options.drift.min_rows,
        is_ignored: &|name| ignored.iter().any(|pattern| pattern.matches(name)),
    };
    let current = Current {
        cluster: &options.cluster,
        system_identifier,
        databases,
        not_included,
    };
    let drift = repository.drift(current, rules).await;
    for finding in &drift.findings {
        tracing::warn!(%finding, "drift");
    }
    if drift.is_alarm() {
        tracing::error!(%drift, "this backup holds less than one before it, or nobody knows: deletion is frozen");
    }
    drift
}

/// How long a backup would have taken at full speed, as far as it tells.
fn without_pauses(stats: &BackupStats) -> Duration {
    let seconds = stats.duration_seconds - stats.paced_seconds.unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn phase(name: &str, seconds: f64) -> PhaseSeconds {
    let name = name.to_owned();
    PhaseSeconds { name, seconds }
}

fn oldest_snapshot(databases: &[Database]) -> Option<jiff::Timestamp> {
    databases.iter().map(|database| database.head.snapshot_time).min()
}

/// The writer adds what it stored.
fn count(databases: &[Database], clock: Instant) -> BackupStats {
    let tallies = || {
        databases
            .iter()
            .flat_map(|database| &database.tables)
            .map(|table| table.tally)
    };
    BackupStats {
        tables: tallies().count() as u64,
        rows: tallies().map(|tally| tally.rows).sum(),
        raw_bytes: tallies().map(|tally| tally.raw_bytes).sum(),
        duration_seconds: clock.elapsed().as_secs_f64(),
        ..BackupStats::default()
    }
}

fn choose_databases(present: &[String], options: &BackupOptions) -> Result<Vec<String>> {
    let Some(wanted) = &options.databases else {
        return if present.is_empty() {
            Err(Error::NothingToBackUp)
        } else {
            Ok(present.to_vec())
        };
    };
    let missing: Vec<String> = wanted.iter().filter(|name| !present.contains(name)).cloned().collect();
    if missing.is_empty() {
        Ok(wanted.clone())
    } else {
        Err(Error::NoSuchDatabase { names: missing })
    }
}

async fn assemble(
    repository: &Repository,
    predecessor: Option<&StoredManifest>,
    options: &BackupOptions,
) -> Result<Assembly> {
    let reuse = match predecessor {
        Some(stored) => ReuseIndex::load(repository, stored).await?,
        None => ReuseIndex::empty(),
    };
    let writer_options = WriterOptions {
        compression_level: options.compression_level,
        upload_bytes: options.jobs * options.chunks.max_bytes / 2,
        max_duration: Some(options.max_duration),
    };
    // One buffer that each job fills, and half as many again being compressed.
    let buffers = options.jobs + options.jobs.div_ceil(2);
    Ok(Assembly {
        writer: Arc::new(BackupWriter::new(repository, reuse, writer_options).under(options.lease.clone())),
        pool: Arc::new(BufferPool::new(buffers, options.chunks.max_bytes)),
        cutter: Cutter::new(options.chunks),
    })
}

fn describe_source(options: &BackupOptions, server: &Server, programs: &ClientPrograms) -> Source {
    Source {
        cluster: options.cluster.clone(),
        system_identifier: server.system_identifier.clone(),
        server_version_num: server.version_num,
        server_version: server.version.clone(),
        in_recovery: server.in_recovery,
        timeline: server.timeline,
        pg_dump_version: programs.version.clone(),
    }
}

fn summarize(database: &Database) -> DatabaseSummary {
    DatabaseSummary {
        name: database.head.properties.name.clone(),
        snapshot_time: database.head.snapshot_time,
        lsn: database.head.lsn.clone(),
        tables: database.tables.len() as u64,
        rows: database.tables.iter().map(|table| table.tally.rows).sum(),
        raw_bytes: database.tables.iter().map(|table| table.tally.raw_bytes).sum(),
    }
}
