//! The workers: each takes the next task of the plan, copies its tables in the snapshot and assembles chunks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::assembler::{Assembler, Assembly};
use super::error::{Error, Result};
use super::plan::{BackupPlan, Piece, Task};
use crate::content::{QualifiedName, RowTally, TableDescription};
use crate::postgres::copy::{copy_out, copy_out_statement, rows};
use crate::postgres::snapshot::{join_snapshot, lock_nowait};
use crate::postgres::{ConnectOptions, Session};
use crate::repository::manifest::Segment;
use crate::telemetry::progress::Progress;

/// What one table came to.
#[derive(Clone, Debug, Default)]
pub(super) struct CopiedTable {
    pub(super) tally: RowTally,
    pub(super) segments: Vec<Segment>,
}

/// What the workers of one database share.
#[derive(Clone)]
pub(super) struct CopyContext {
    pub(super) source: ConnectOptions,
    pub(super) snapshot_id: String,
    pub(super) encoding: String,
    pub(super) assembly: Assembly,
    pub(super) progress: Arc<dyn Progress>,
}

/// A piece's result: table, part, tally and segments.
struct CopiedPiece {
    piece: Piece,
    tally: RowTally,
    segments: Vec<Segment>,
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
        table.tally = table.tally.union(piece.tally);
        table.segments.extend(piece.segments);
    }
    Ok(copied)
}

async fn work(
    context: CopyContext,
    tables: Arc<Vec<TableDescription>>,
    queue: Arc<Mutex<VecDeque<Task>>>,
) -> Result<Vec<CopiedPiece>> {
    let session = join_snapshot(&context.source, &context.snapshot_id, "copy").await?;
    let mut copied = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(task) = next else { return Ok(copied) };
        copied.extend(copy_task(&context, &session, &tables, &task).await?);
    }
}

async fn copy_task(
    context: &CopyContext,
    session: &Session,
    tables: &[TableDescription],
    task: &Task,
) -> Result<Vec<CopiedPiece>> {
    let names: Vec<&QualifiedName> = task.pieces.iter().map(|piece| &tables[piece.table].name).collect();
    lock_nowait(session, &names).await?;
    let mut assembler = Assembler::new(context.assembly.clone());
    let mut copied = Vec::with_capacity(task.pieces.len());
    for (position, &piece) in task.pieces.iter().enumerate() {
        let tally = copy_piece(
            context,
            session,
            &mut assembler,
            position,
            (&tables[piece.table], piece),
        )
        .await?;
        copied.push(CopiedPiece {
            piece,
            tally,
            segments: Vec::new(),
        });
    }
    for (position, segment) in assembler.finish().await? {
        copied[position].segments.push(segment);
    }
    Ok(copied)
}

async fn copy_piece(
    context: &CopyContext,
    session: &Session,
    assembler: &mut Assembler<usize>,
    position: usize,
    (table, piece): (&TableDescription, Piece),
) -> Result<RowTally> {
    let mut tally = RowTally::default();
    let statement = copy_out_statement(table, piece.range, &context.encoding);
    let doing = format!("copy table {}", table.name);
    let mut messages = copy_out(&session.client, &statement, doing).await?;
    while let Some(message) = messages.next().await? {
        for row in rows(&message) {
            assembler.add_row(position, row, &mut tally).await?;
        }
        context.progress.advance(message.len() as u64);
    }
    assembler.end_stream(position);
    Ok(tally)
}
