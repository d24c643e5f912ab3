//! Loading rows: workers take units of the plan and pour chunks from the repository straight into `COPY`.
//!
//! A chunk's SHA-256 is checked before a byte of it is used. Memory per worker: the stored bytes of the chunk being
//! loaded and of the next one, which is fetched meanwhile, and [`PIECES_IN_FLIGHT`] decompressed pieces of
//! [`PIECE_BYTES`]; nothing grows with the size of a row or a table.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::error::{Error, Result};
use super::options::{RestoreOptions, TargetUse};
use super::plan::{ChunkRead, LoadPlan, Run, Unit};
use crate::postgres::copy::copy_in_statement;
use crate::postgres::load::{CopyIn, compress_quickly, connect_for_loading};
use crate::postgres::{ConnectOptions, Session};
use crate::repository::manifest::{Backup, Database, Table};
use crate::repository::{self, ChunkBytes, FrameReader, Repository};
use crate::telemetry::progress::Progress;

/// Size of the pieces in which a frame is decompressed.
const PIECE_BYTES: usize = 256 * 1024;

/// Decompressed pieces of one worker: two that wait, one being filled, one being sent.
const PIECES_IN_FLIGHT: usize = 4;

/// What the workers share.
pub(super) struct Load<'a> {
    pub(super) repository: &'a Repository,
    pub(super) backup: &'a Backup,
    pub(super) database: &'a Database,
    pub(super) target: &'a ConnectOptions,
    pub(super) options: &'a RestoreOptions,
    pub(super) superuser: bool,
    pub(super) progress: &'a dyn Progress,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoadStats {
    pub(super) rows: u64,
    pub(super) stored_bytes: u64,
}

impl Load<'_> {
    /// Loads the whole plan. The first error stops all workers.
    pub(super) async fn run(&self, plan: LoadPlan) -> Result<LoadStats> {
        let workers = self.options.jobs.clamp(1, plan.units.len().max(1));
        let queue = Mutex::new(VecDeque::from(plan.units));
        let stats = try_join_all((0..workers).map(|_| self.work(&queue))).await?;
        Ok(stats.into_iter().fold(LoadStats::default(), |sum, one| LoadStats {
            rows: sum.rows + one.rows,
            stored_bytes: sum.stored_bytes + one.stored_bytes,
        }))
    }

    async fn work(&self, queue: &Mutex<VecDeque<Unit>>) -> Result<LoadStats> {
        let session = connect_for_loading(self.target, self.superuser, self.options.lock_timeout).await?;
        if self.options.target_use == TargetUse::ThrownAway {
            compress_quickly(&session.client).await;
        }
        let mut worker = Worker {
            load: self,
            session,
            open: None,
            rows: 0,
        };
        let mut stored_bytes = 0;
        let mut reads = Reads::new(queue);
        let mut ahead = reads.next().map(|read| self.fetch(read));
        while let Some(fetch) = ahead.take() {
            ahead = reads.next().map(|read| self.fetch(read));
            let chunk = fetch.chunk.await??;
            stored_bytes += self.backup.chunks[fetch.read.chunk].stored_bytes;
            for run in &fetch.read.runs {
                worker.pour(run, &chunk, fetch.read.chunk).await?;
            }
            if fetch.ends_unit {
                worker.finish().await?;
            }
        }
        Ok(LoadStats {
            rows: worker.rows,
            stored_bytes,
        })
    }

    /// Begins to fetch a chunk; dropped, the request is given up.
    fn fetch(&self, (read, ends_unit): (ChunkRead, bool)) -> Fetch {
        let repository = self.repository.clone();
        let chunk = self.backup.chunks[read.chunk].clone();
        Fetch {
            read,
            ends_unit,
            chunk: AbortOnDropHandle::new(tokio::spawn(async move { repository.read_chunk(&chunk).await })),
        }
    }
}

struct Fetch {
    read: ChunkRead,
    ends_unit: bool,
    chunk: AbortOnDropHandle<repository::Result<ChunkBytes>>,
}

/// The reads of the units that one worker takes, with whether each is its unit's last.
struct Reads<'a> {
    queue: &'a Mutex<VecDeque<Unit>>,
    current: VecDeque<ChunkRead>,
}

impl<'a> Reads<'a> {
    fn new(queue: &'a Mutex<VecDeque<Unit>>) -> Self {
        let current = VecDeque::new();
        Self { queue, current }
    }
}

impl Iterator for Reads<'_> {
    type Item = (ChunkRead, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.current.is_empty() {
            let unit = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
            self.current = unit.reads.into();
        }
        let read = self.current.pop_front()?;
        Some((read, self.current.is_empty()))
    }
}

/// One session and the COPY that runs on it.
struct Worker<'a> {
    load: &'a Load<'a>,
    session: Session,
    open: Option<OpenCopy>,
    rows: u64,
}

struct OpenCopy {
    table: usize,
    copy: CopyIn,
    /// Rows that the segments poured so far hold.
    expected: u64,
}

impl Worker<'_> {
    /// Pours one table's frames of a chunk into that table's COPY, which stays open for the unit's next chunk.
    async fn pour(&mut self, run: &Run, chunk: &ChunkBytes, chunk_number: usize) -> Result<()> {
        if self.open.as_ref().is_none_or(|open| open.table != run.table) {
            self.finish().await?;
            self.begin(run.table).await?;
        }
        let table = &self.load.database.tables[run.table];
        let Some(open) = &mut self.open else { return Ok(()) };
        open.expected += run.rows;
        for &frame in &run.frames {
            if is_fault(self.load.options, table, chunk_number, frame) {
                let bytes = without_last_row(chunk.frame_bytes(frame)?);
                open.expected -= 1;
                open.copy.send(bytes).await?;
            } else {
                send_frame(&mut open.copy, chunk.frame(frame)?, chunk.frames()[frame].raw_bytes).await?;
            }
            self.load.progress.advance(chunk.frames()[frame].raw_bytes);
        }
        Ok(())
    }

    async fn begin(&mut self, table: usize) -> Result<()> {
        let description = &self.load.database.tables[table].description;
        let statement = copy_in_statement(description, &self.load.database.head.properties.encoding);
        let doing = format!("load {}", description.name);
        self.open = Some(OpenCopy {
            table,
            copy: CopyIn::begin(&self.session.client, &statement, doing).await?,
            expected: 0,
        });
        Ok(())
    }

    /// Ends the open COPY, if there is one, and checks how many rows the server took.
    async fn finish(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let loaded = open.copy.finish().await?;
        self.rows += loaded;
        if loaded == open.expected {
            return Ok(());
        }
        Err(Error::Rows {
            table: self.load.database.tables[open.table].name().clone(),
            stored: open.expected,
            loaded,
        })
    }
}

/// Decompresses a frame off the async threads, piece by piece, and sends it. A small one is not worth another thread.
pub(super) async fn send_frame(copy: &mut CopyIn, mut frame: FrameReader, raw_bytes: u64) -> Result<()> {
    if raw_bytes <= PIECE_BYTES as u64 / 4 {
        while let Some(piece) = next_piece(&mut frame)? {
            copy.send(piece).await?;
        }
        return Ok(());
    }
    let (sender, mut pieces) = mpsc::channel(PIECES_IN_FLIGHT - 2);
    let decompress = tokio::task::spawn_blocking(move || {
        while let Some(piece) = next_piece(&mut frame).transpose() {
            let is_error = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_error {
                break;
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        copy.send(piece?).await?;
    }
    Ok(decompress.await?)
}

/// The next piece, full unless it is the last; none at the frame's end.
fn next_piece(frame: &mut FrameReader) -> Result<Option<Bytes>> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let read = frame.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
    match read {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(piece.into())),
        Err(error) => Err(match error.downcast::<repository::Error>() {
            Ok(damage) => damage.into(),
            Err(other) => Error::Contradiction(format!("a chunk cannot be decompressed: {other}")),
        }),
    }
}

#[cfg(any(test, feature = "demo"))]
fn is_fault(options: &RestoreOptions, table: &Table, chunk: usize, frame: usize) -> bool {
    let Some(super::options::LoadFault::DropRow(name)) = &options.fault else {
        return false;
    };
    let first = table.segments.first();
    name == table.name()
        && first.is_some_and(|first| (first.chunk as usize, first.frame as usize) == (chunk, frame) && first.rows > 0)
}

#[cfg(not(any(test, feature = "demo")))]
fn is_fault(_options: &RestoreOptions, _table: &Table, _chunk: usize, _frame: usize) -> bool {
    false
}

fn without_last_row(mut rows: Vec<u8>) -> Bytes {
    rows.pop();
    rows.truncate(memchr::memrchr(b'\n', &rows).map_or(0, |newline| newline + 1));
    rows.into()
}
