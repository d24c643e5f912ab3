//! Rows into chunks: one worker's buffer being filled and a few chunks on their way.
//!
//! Rows are hashed where they lie in the server's message and copied once, into a pooled buffer. A full buffer is
//! handed to the repository's writer as a task, so that compressing and uploading overlaps with reading the next; the
//! buffer goes back to the pool as soon as it is compressed. A store that takes its time over each chunk is hidden by
//! several at a time, which the writer bounds in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::cut::Cutter;
use super::error::Result;
use super::pool::{BufferPool, PooledBuffer};
use crate::content::RowTally;
use crate::repository::BackupWriter;
use crate::repository::manifest::Segment;

/// Chunks of one worker on their way at most. At 100 ms from request to answer, compression and a chunk's 6 MiB every
/// 40 ms (150 MB/s), three to four are.
const UPLOADS: usize = 4;

/// What all workers share.
#[derive(Clone, Debug)]
pub(super) struct Assembly {
    pub(super) writer: Arc<BackupWriter>,
    pub(super) pool: Arc<BufferPool>,
    pub(super) cutter: Cutter,
}

/// One worker's chunk under construction. `K` names the stream of rows that a segment belongs to.
#[derive(Debug)]
pub(super) struct Assembler<K> {
    assembly: Assembly,
    buffer: Option<PooledBuffer>,
    /// End of each frame in the buffer.
    frame_ends: Vec<usize>,
    /// Stream and rows of each frame.
    frames: Vec<(K, u64)>,
    /// Rows in the frame being filled.
    open_rows: u64,
    /// One for each chunk that may be on its way.
    uploads: Arc<Semaphore>,
    /// Oldest first, as the segments must come. Those that have arrived behind one that takes its time keep nobody from
    /// reading on.
    in_flight: VecDeque<InFlight<K>>,
    segments: Vec<(K, Segment)>,
}

#[derive(Debug)]
struct InFlight<K> {
    upload: JoinHandle<crate::repository::Result<u32>>,
    frames: Vec<(K, u64)>,
}

impl<K> Drop for InFlight<K> {
    fn drop(&mut self) {
        self.upload.abort();
    }
}

impl<K: Copy> Assembler<K> {
    pub(super) fn new(assembly: Assembly) -> Self {
        Self {
            assembly,
            buffer: None,
            frame_ends: Vec::new(),
            frames: Vec::new(),
            open_rows: 0,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            in_flight: VecDeque::with_capacity(UPLOADS),
            segments: Vec::new(),
        }
    }

    /// Takes whole rows of the stream `key` in, counting them into `tally`.
    pub(super) async fn add_rows(&mut self, key: K, rows: &[u8], tally: &mut RowTally) -> Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let run = self.assembly.cutter.run(self.chunk_bytes(), rest, tally);
            self.take(&rest[..run.bytes], run.rows).await;
            if run.ends_chunk {
                self.seal(key).await?;
            }
            rest = &rest[run.bytes..];
        }
        Ok(())
    }

    /// Takes one row in whose tally is kept by other rules (large objects).
    pub(super) async fn append(&mut self, key: K, row: &[u8], row_hash: u128) -> Result<()> {
        if self.assembly.cutter.is_full(self.chunk_bytes(), row.len()) {
            self.seal(key).await?;
        }
        self.take(row, 1).await;
        if self.assembly.cutter.ends_with(self.chunk_bytes(), row.len(), row_hash) {
            self.seal(key).await?;
        }
        Ok(())
    }

    /// Copies whole rows that the chunk has room for.
    async fn take(&mut self, bytes: &[u8], rows: u64) {
        if bytes.is_empty() {
            return;
        }
        if self.buffer.is_none() {
            self.buffer = Some(self.assembly.pool.take().await);
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.bytes.extend_from_slice(bytes);
            self.open_rows += rows;
        }
    }

    /// The stream `key` is over: its frame ends here. Its chunk may go on with the next small table.
    pub(super) fn end_stream(&mut self, key: K) {
        if self.open_rows > 0 {
            self.frame_ends.push(self.chunk_bytes());
            self.frames.push((key, self.open_rows));
            self.open_rows = 0;
        }
    }

    /// Ends the chunk here and waits until it is stored: nothing of a large row stays in memory.
    pub(super) async fn send_off(&mut self, key: K) -> Result<()> {
        self.seal(key).await?;
        self.settle_all().await
    }

    /// Ends the chunk here: what follows is another task's.
    pub(super) async fn end_chunk(&mut self) -> Result<()> {
        self.send().await
    }

    /// Sends off what is left and returns where every stream's rows lie, in the order in which they came.
    pub(super) async fn finish(mut self) -> Result<Vec<(K, Segment)>> {
        self.send().await?;
        self.settle_all().await?;
        Ok(std::mem::take(&mut self.segments))
    }

    fn chunk_bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    async fn seal(&mut self, key: K) -> Result<()> {
        self.end_stream(key);
        self.send().await
    }

    async fn send(&mut self) -> Result<()> {
        let Some(buffer) = self.buffer.take() else {
            return Ok(());
        };
        self.settle_arrived().await?;
        let on_its_way = Arc::clone(&self.uploads).acquire_owned().await;
        let on_its_way = on_its_way.expect("the semaphore is never closed");
        let (frame_ends, frames) = (std::mem::take(&mut self.frame_ends), std::mem::take(&mut self.frames));
        let writer = Arc::clone(&self.assembly.writer);
        let upload = tokio::spawn(async move {
            let stored = writer.put(buffer, frame_ends).await;
            drop(on_its_way);
            stored
        });
        self.in_flight.push_back(InFlight { upload, frames });
        Ok(())
    }

    /// Takes note of those that have arrived, in their order.
    async fn settle_arrived(&mut self) -> Result<()> {
        let has_arrived = |in_flight: &InFlight<K>| in_flight.upload.is_finished();
        while self.in_flight.front().is_some_and(has_arrived) {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until none is on its way any more.
    async fn settle_all(&mut self) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for the oldest chunk on its way.
    async fn settle(&mut self) -> Result<()> {
        let Some(mut in_flight) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let chunk = (&mut in_flight.upload)
            .await
            .map_err(super::error::Error::from_join)??;
        for (frame, (key, rows)) in std::mem::take(&mut in_flight.frames).into_iter().enumerate() {
            let frame = u32::try_from(frame).unwrap_or(u32::MAX);
            self.segments.push((key, Segment { chunk, frame, rows }));
        }
        crate::telemetry::failpoint::reach("after-first-chunk").await;
        Ok(())
    }
}
