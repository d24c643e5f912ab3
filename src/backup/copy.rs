//! The workers: each takes the next task of the plan, copies its tables in the snapshot and assembles chunks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::assembler::{Assembler, Assembly};
use super::error::{Error, Result};
use super::pace::{Pacer, Stride};
use super::plan::{BackupPlan, Piece, Task};
use crate::content::{GeneratedColumns, QualifiedName, RowTally, TableDescription};
use crate::postgres::copy::{CopyRange, copy_generated_statement, copy_out, copy_out_statement, rows};
use crate::postgres::snapshot::{SnapshotId, join_snapshot, lock_nowait};
use crate::postgres::{self, ConnectOptions, Session};
use crate::repository::manifest::Segment;
use crate::telemetry::progress::Progress;

/// What one table came to.
#[derive(Clone, Debug, Default)]
pub(super) struct CopiedTable {
    pub(super) tally: RowTally,
    pub(super) segments: Vec<Segment>,
    /// Of the generated columns, which are not stored.
    pub(super) generated: Option<GeneratedColumns>,
}

/// What the workers of one database share.
#[derive(Clone)]
pub(super) struct CopyContext {
    pub(super) source: ConnectOptions,
    pub(super) snapshot: SnapshotId,
    pub(super) encoding: String,
    pub(super) assembly: Assembly,
    pub(super) pacer: Pacer,
    pub(super) progress: Arc<dyn Progress>,
    /// One row larger than a chunk at a time: it is held several times over while it is compressed and sent.
    pub(super) oversized: Arc<Semaphore>,
    /// From this size on a message of the server counts as oversized.
    pub(super) oversized_bytes: usize,
}

/// A piece's result.
struct CopiedPiece {
    piece: Piece,
    table: CopiedTable,
}

/// Copies every table of the plan with `jobs` workers; the results stand in the order of `plan.tables`.
pub(super) async fn copy_tables(context: &CopyContext, plan: &BackupPlan, jobs: usize) -> Result<Vec<CopiedTable>> {
    let queue = Arc::new(Mutex::new(plan.tasks.iter().cloned().collect::<VecDeque<Task>>()));
    let tables = Arc::new(plan.tables.clone());
    let mut workers = JoinSet::new();
    for _ in 0..jobs.min(plan.tasks.len()) {
        workers.spawn(work(context.clone(), Arc::clone(&tables), Arc::clone(&queue)));
    }
    let mut pieces = Vec::new();
    while let Some(finished) = workers.join_next().await {
        pieces.extend(finished.map_err(Error::from_join)??);
    }
    pieces.sort_by_key(|copied: &CopiedPiece| (copied.piece.table, copied.piece.part));
    let mut copied = vec![CopiedTable::default(); plan.tables.len()];
    for piece in pieces {
        let table = &mut copied[piece.piece.table];
        table.tally = table.tally.union(piece.table.tally);
        table.segments.extend(piece.table.segments);
        table.generated = table.generated.or(piece.table.generated);
    }
    Ok(copied)
}

async fn work(
    context: CopyContext,
    tables: Arc<Vec<TableDescription>>,
    queue: Arc<Mutex<VecDeque<Task>>>,
) -> Result<Vec<CopiedPiece>> {
    let session = join_snapshot(&context.source, &context.snapshot, "copy").await?;
    let mut worker = Worker {
        context: &context,
        session: &session,
        stride: context.pacer.stride(),
        assembler: Assembler::new(context.assembly.clone()),
        copied: Vec::new(),
    };
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(task) = next else { return worker.finish().await };
        worker.copy_task(&tables, &task).await?;
    }
}

/// One of the workers, with its session.
struct Worker<'run> {
    context: &'run CopyContext,
    session: &'run Session,
    stride: Stride,
    /// Goes on from task to task: the chunks of one are stored while the next is read. It knows a piece by its position
    /// in `copied`.
    assembler: Assembler<usize>,
    copied: Vec<CopiedPiece>,
}

impl Worker<'_> {
    async fn copy_task(&mut self, tables: &[TableDescription], task: &Task) -> Result<()> {
        let names: Vec<&QualifiedName> = task.pieces.iter().map(|piece| &tables[piece.table].name).collect();
        lock_nowait(self.session, &names).await?;
        for &piece in &task.pieces {
            let table = &tables[piece.table];
            let tally = self
                .copy_piece(table, piece)
                .await
                .map_err(|error| name_oversized_row(error, &table.name))?;
            let generated = self.tally_generated(table, piece).await?;
            self.copied.push(CopiedPiece {
                piece,
                table: CopiedTable {
                    tally,
                    segments: Vec::new(),
                    generated,
                },
            });
        }
        self.assembler.end_chunk().await
    }

    async fn finish(self) -> Result<Vec<CopiedPiece>> {
        let mut copied = self.copied;
        for (position, segment) in self.assembler.finish().await? {
            copied[position].table.segments.push(segment);
        }
        Ok(copied)
    }

    async fn copy_piece(&mut self, table: &TableDescription, piece: Piece) -> Result<RowTally> {
        let (context, position) = (self.context, self.copied.len());
        let mut tally = RowTally::default();
        let statement = copy_out_statement(table, piece.range, &context.encoding);
        let doing = format!("copy table {}", table.name);
        self.stride.begin().await;
        let mut messages = copy_out(self.session, &statement, doing).await?;
        while let Some(message) = messages.next().await? {
            let message_bytes = message.len() as u64;
            let is_oversized = message.len() > context.oversized_bytes;
            let permit = if is_oversized {
                context.oversized.acquire().await.ok()
            } else {
                None
            };
            self.assembler.add_rows(position, &message, &mut tally).await?;
            context.progress.advance(message_bytes);
            if is_oversized {
                drop(message);
                self.assembler.send_off(position).await?;
            }
            drop(permit);
            self.stride.took(message_bytes).await;
        }
        messages.finish(tally.rows).await?;
        self.assembler.end_stream(position);
        Ok(tally)
    }

    /// A table's generated columns, once for all its parts.
    async fn tally_generated(&mut self, table: &TableDescription, piece: Piece) -> Result<Option<GeneratedColumns>> {
        let statement =
            copy_generated_statement(table, CopyRange::All, &self.context.encoding).filter(|_| piece.part == 0);
        let Some(statement) = statement else { return Ok(None) };
        let doing = format!("read the generated columns of {}", table.name);
        let mut tally = RowTally::default();
        self.stride.begin().await;
        let mut messages = copy_out(self.session, &statement, doing).await?;
        while let Some(message) = messages.next().await? {
            for row in rows(&message) {
                tally.add_row(row);
            }
            self.stride.took(message.len() as u64).await;
        }
        messages.finish(tally.rows).await?;
        let fingerprint = tally.fingerprint;
        Ok(Some(GeneratedColumns { fingerprint }))
    }
}

/// PostgreSQL builds a row's text in one buffer of at most 1 GiB; a row beyond that cannot be copied by anyone.
fn name_oversized_row(error: Error, table: &QualifiedName) -> Error {
    match &error {
        Error::Postgres { source, .. } if source.is_row_too_large() => postgres::Error::Unsupported {
            object: format!("table {table}"),
            reason: "a row's COPY text is larger than the 1 GiB that PostgreSQL can send".to_owned(),
        }
        .into(),
        _ => error,
    }
}
