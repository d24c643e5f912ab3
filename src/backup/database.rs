//! One database of a run: snapshot, definitions, rows, and everything else that belongs to its records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::assembler::{Assembler, Assembly};
use super::copy::{CopyContext, copy_tables};
use super::error::{Error, Result};
use super::options::BackupOptions;
use super::pace::Pacer;
use super::plan::{BackupPlan, plan};
use crate::content::{
    CatalogueObject, DatabaseProperties, Extension, LargeObjectTally, MaterializedView, RowTally, Sequence, row_hash,
};
use crate::postgres::copy::{copy_out, rows, tally_of_query};
use crate::postgres::program::ClientPrograms;
use crate::postgres::schema_dump::{LeftOut, SchemaArchive, dump_schema, read_left_out};
use crate::postgres::server::Server;
use crate::postgres::snapshot::{Snapshot, SnapshotId, join_snapshot, take_snapshot};
use crate::postgres::{
    ConnectOptions, Session, databases, inventory, large_objects, materialized_view, role, sequence, stability,
};
use crate::repository::manifest::{Assertion, Database, DatabaseHead, Segment, Table};
use crate::telemetry::progress::Progress;

/// What every database of a run shares.
pub(super) struct Run<'run> {
    pub(super) options: &'run BackupOptions,
    pub(super) server: &'run Server,
    pub(super) programs: &'run ClientPrograms,
    pub(super) assembly: Assembly,
    pub(super) pacer: Pacer,
    pub(super) progress: Arc<dyn Progress>,
}

/// One database's records and how long its steps took.
pub(super) struct BackedUp {
    pub(super) database: Database,
    /// Locks, snapshot and definitions.
    pub(super) snapshot_seconds: f64,
    /// Rows and large objects.
    pub(super) dump_seconds: f64,
}

/// Backs one database up into chunks.
pub(super) async fn backup_database(run: &Run<'_>, source: &ConnectOptions) -> Result<BackedUp> {
    let clock = Instant::now();
    run.progress.begin(&format!("snapshot {}", source.database), None);
    let (snapshot, definitions) = stable_snapshot(run, source).await?;
    run.progress.snapshot(Some(snapshot.time));
    run.progress.end();
    let snapshot_seconds = clock.elapsed().as_secs_f64();
    let clock = Instant::now();
    crate::telemetry::failpoint::reach("after-schema").await;
    let plan = plan(&snapshot.relations, run.options)?;
    run.progress
        .begin(&format!("dump {}", source.database), Some(plan.estimated_bytes));
    let lost = snapshot.session().closed.clone();
    let database = tokio::select! {
        database = copy_contents(run, source, &snapshot, definitions, plan) => database?,
        () = lost.cancelled() => return Err(snapshot_lost(&snapshot)),
    };
    snapshot.finish().await.map_err(Error::postgres(format!(
        "finish the snapshot of database {}",
        source.database
    )))?;
    run.progress.snapshot(None);
    run.progress.end();
    Ok(BackedUp {
        database,
        snapshot_seconds,
        dump_seconds: clock.elapsed().as_secs_f64(),
    })
}

fn snapshot_lost(snapshot: &Snapshot) -> Error {
    let session = snapshot.session();
    let said = session.last_word().map(|source| crate::postgres::Error::Query {
        doing: "hold the snapshot".to_owned(),
        source,
    });
    Error::SnapshotLost {
        database: session.options.database.clone(),
        source: said,
    }
}

/// How much later than what it breaks the end of the snapshot's session may be seen.
const LOSS_SHOWS: Duration = Duration::from_secs(1);

/// Without its snapshot everything fails, in words that name something else: then the loss is the error.
async fn unless_lost<T>(read: Result<T>, snapshot: &Snapshot) -> Result<T> {
    use crate::postgres::Error::{Program, Query};
    let may_follow = matches!(
        &read,
        Err(Error::Postgres {
            source: Program { .. } | Query { .. },
            ..
        })
    );
    let closed = snapshot.session().closed.cancelled();
    if may_follow && tokio::time::timeout(LOSS_SHOWS, closed).await.is_ok() {
        return Err(snapshot_lost(snapshot));
    }
    read
}

/// Everything that is no definition: rows, large objects, answers to assertions.
async fn copy_contents(
    run: &Run<'_>,
    source: &ConnectOptions,
    snapshot: &Snapshot,
    definitions: Definitions,
    plan: BackupPlan,
) -> Result<Database> {
    let session = snapshot.session();
    let context = CopyContext {
        source: source.clone(),
        snapshot: snapshot.id.clone(),
        encoding: definitions.properties.encoding.clone(),
        assembly: run.assembly.clone(),
        pacer: run.pacer.clone(),
        progress: Arc::clone(&run.progress),
        oversized: Arc::new(Semaphore::new(1)),
        oversized_bytes: run.options.chunks.max_bytes,
    };
    let copied = copy_tables(&context, &plan, run.options.jobs).await?;
    let tables = plan.tables.into_iter().zip(copied).map(|(description, copied)| Table {
        stored_bytes: run.assembly.writer.stored_bytes_of(&copied.segments),
        description,
        tally: copied.tally,
        generated: copied.generated,
        segments: copied.segments,
    });
    let (large_object_segments, large_objects_tally) = copy_large_objects(run, session).await?;
    let head = DatabaseHead {
        snapshot_time: snapshot.time,
        lsn: snapshot.lsn.clone(),
        properties: definitions.properties,
        extensions: definitions.extensions,
        referenced_roles: definitions.referenced_roles,
        schema_archive: put_archive(&run.assembly, definitions.schema.archive).await?,
        large_object_segments,
        large_objects: large_objects_tally,
        subscriptions_left_out: definitions.left_out.subscriptions,
        mappings_redacted: definitions.left_out.mappings,
        dump_warnings: definitions.schema.warnings,
        assertions: evaluate_assertions(run.options, source, &snapshot.id).await?,
    };
    Ok(Database {
        tables: tables.collect(),
        sequences: definitions.sequences,
        large_objects: large_objects::read_large_objects(&session.client).await?,
        materialized_views: definitions.materialized_views,
        ledger: plan.ledger,
        inventory: definitions.inventory,
        head,
    })
}

/// What is read from the current catalogue rather than from the snapshot, or by its rules, all within one window in which
/// nothing changed.
struct Definitions {
    properties: DatabaseProperties,
    schema: SchemaArchive,
    left_out: LeftOut,
    extensions: Vec<Extension>,
    referenced_roles: Vec<String>,
    materialized_views: Vec<MaterializedView>,
    inventory: Vec<CatalogueObject>,
    /// Not transactional: read after the snapshot, they are at or ahead of its rows.
    sequences: Vec<Sequence>,
}

/// A snapshot and definitions that belong together, or an error after a bounded number of attempts. DDL afterwards does not
/// matter: tables are locked, and everything else has been read.
async fn stable_snapshot(run: &Run<'_>, source: &ConnectOptions) -> Result<(Snapshot, Definitions)> {
    let attempts = run.options.snapshot.attempts.max(1);
    let mut changed = String::new();
    for attempt in 0..attempts {
        let snapshot = take_snapshot(source, &run.options.snapshot)
            .await
            .map_err(Error::postgres(format!(
                "take a snapshot of database {}",
                source.database
            )))?;
        crate::telemetry::failpoint::reach("after-snapshot").await;
        let read = read_definitions(run, source, &snapshot).await;
        match check_definitions_are_still(source, &snapshot).await {
            Ok(()) => {
                let read = unless_lost(read, &snapshot).await?;
                return Ok((snapshot, read));
            }
            Err(crate::postgres::Error::Unstable { reason }) => {
                tracing::warn!(
                    database = source.database,
                    attempt,
                    reason,
                    "definitions changed, starting over"
                );
                changed = reason;
            }
            Err(error) => return unless_lost(Err(error.into()), &snapshot).await,
        }
    }
    Err(crate::postgres::Error::Unstable { reason: changed }.into())
}

async fn read_definitions(run: &Run<'_>, source: &ConnectOptions, snapshot: &Snapshot) -> Result<Definitions> {
    let client = &snapshot.session().client;
    let as_reader = run.server.may_read_all_data;
    let left_out = read_left_out(client, as_reader).await?;
    let schema = dump_schema(
        source,
        run.programs,
        &snapshot.id.name,
        as_reader,
        run.options.snapshot.lock_timeout,
    )
    .await
    .map_err(Error::postgres(format!(
        "dump the definitions of database {}",
        source.database
    )))?;
    let sequences = plan(&snapshot.relations, run.options)?.sequences;
    Ok(Definitions {
        properties: databases::read_database_properties(client).await?,
        schema,
        left_out,
        extensions: databases::read_extensions(client).await?,
        referenced_roles: role::read_referenced_roles(client).await?,
        materialized_views: materialized_view::read_materialized_views(client).await?,
        inventory: inventory::read_inventory(client).await?,
        sequences: sequence::read_sequences(client, &sequences).await?,
    })
}

/// Fact 3: what `pg_dump` and the inventory read is the current catalogue; it must be the snapshot's.
async fn check_definitions_are_still(source: &ConnectOptions, snapshot: &Snapshot) -> crate::postgres::Result<()> {
    let then = stability::read_definition_sums(&snapshot.session().client).await?;
    let fresh = crate::postgres::connect(source, "stability").await?;
    let now = stability::read_definition_sums(&fresh.client).await?;
    let changed = now.changed_since(&then);
    if changed.is_empty() {
        return Ok(());
    }
    Err(crate::postgres::Error::Unstable {
        reason: format!("rows of {} changed", changed.join(", ")),
    })
}

/// The archive in pieces of at most a chunk.
async fn put_archive(assembly: &Assembly, archive: Bytes) -> Result<Vec<Segment>> {
    const PIECE_BYTES: usize = 4 * 1024 * 1024;
    let mut segments = Vec::new();
    let mut rest = archive;
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        let end = piece.len();
        let chunk = assembly.writer.put(piece, vec![end]).await?;
        segments.push(Segment {
            chunk,
            frame: 0,
            rows: 0,
        });
    }
    Ok(segments)
}

async fn copy_large_objects(run: &Run<'_>, session: &Session) -> Result<(Vec<Segment>, RowTally)> {
    let mut tally = LargeObjectTally::default();
    if !large_objects::any_large_object(&session.client).await? {
        return Ok((Vec::new(), tally.finish()));
    }
    let mut assembler = Assembler::new(run.assembly.clone());
    let statement = large_objects::copy_statement();
    let mut messages = copy_out(session, &statement, "copy the large objects").await?;
    let mut stride = run.pacer.stride();
    let mut pages = 0;
    while let Some(message) = messages.next().await? {
        stride.took(message.len() as u64).await;
        for row in rows(&message) {
            let (oid, offset, data) = large_objects::parse_row(row)?;
            tally.add_page(oid, offset, &data);
            pages += 1;
            assembler.append((), row, row_hash(row)).await?;
        }
    }
    messages.finish(pages).await?;
    assembler.end_stream(());
    let segments = assembler
        .finish()
        .await?
        .into_iter()
        .map(|((), segment)| segment)
        .collect();
    Ok((segments, tally.finish()))
}

/// Each in a session of its own that can only read: a query that fails aborts its transaction.
async fn evaluate_assertions(
    options: &BackupOptions,
    source: &ConnectOptions,
    snapshot: &SnapshotId,
) -> Result<Vec<Assertion>> {
    let mut assertions = Vec::new();
    for wanted in options
        .assertions
        .iter()
        .filter(|assertion| assertion.database == source.database)
    {
        let failed = |source| Error::Assertion {
            name: wanted.name.clone(),
            source,
        };
        let session = join_snapshot(source, snapshot, "assertion").await.map_err(failed)?;
        let result = tally_of_query(&session, &wanted.query, "evaluate an assertion")
            .await
            .map_err(failed)?;
        assertions.push(Assertion {
            name: wanted.name.clone(),
            query: wanted.query.clone(),
            result,
        });
    }
    Ok(assertions)
}
