//! What a connection's stream and whoever reads a COPY from it tell each other past the driver, which keeps the server's own
//! count to itself and reads on however large the rows are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// Shared by the stream of one connection and its session.
#[derive(Debug, Default)]
pub(super) struct Copies {
    completed: watch::Sender<Completed>,
    held: Mutex<Held>,
}

/// COPYs that have come to their end on this connection, and the rows that the server says the last of them had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) copies: u64,
    pub(super) rows: u64,
}

/// A large row that the driver has and nobody has taken: nothing is read until then, or several would lie in memory.
#[derive(Debug, Default)]
struct Held {
    is_waiting: bool,
    reader: Option<Waker>,
}

impl Copies {
    /// The server has said that a COPY of so many rows is complete.
    pub(super) fn complete(&self, rows: u64) {
        self.completed.send_modify(|completed| {
            completed.copies += 1;
            completed.rows = rows;
        });
    }

    pub(super) fn completed(&self) -> Completed {
        *self.completed.borrow()
    }

    /// The rows that the server has counted, once it has said so of the COPY after `before`; none when it never does. Whoever
    /// waits has a time limit: the stream may end without a word.
    pub(super) async fn rows_after(&self, before: Completed) -> Option<u64> {
        let mut completed = self.completed.subscribe();
        let next = completed
            .wait_for(|completed| completed.copies > before.copies)
            .await
            .ok()?;
        (next.copies == before.copies + 1).then_some(next.rows)
    }

    /// A large row has passed to the driver.
    pub(super) fn hold(&self) {
        self.held().is_waiting = true;
    }

    /// Ready once the large row that has passed was taken.
    pub(super) fn poll_taken(&self, context: &Context<'_>) -> Poll<()> {
        let mut held = self.held();
        if held.is_waiting {
            held.reader = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Whoever reads is done with what it has, large or not.
    pub(super) fn take(&self) {
        let reader = {
            let mut held = self.held();
            held.is_waiting = false;
            held.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_count_of_the_next_copy_is_waited_for_and_no_other_is_taken_for_it() {
        let copies = Copies::default();
        copies.complete(5);
        let before = copies.completed();
        let mut next = Box::pin(copies.rows_after(before));
        assert!(futures_util::poll!(&mut next).is_pending());
        copies.complete(7);
        assert_eq!(next.await, Some(7));
        copies.complete(8);
        assert_eq!(copies.rows_after(before).await, None, "two have ended since");
    }

    #[test]
    fn a_row_that_waits_keeps_the_stream_from_reading_until_it_is_taken() {
        let copies = Copies::default();
        let context = Context::from_waker(Waker::noop());
        assert!(copies.poll_taken(&context).is_ready());
        copies.hold();
        assert!(copies.poll_taken(&context).is_pending());
        copies.take();
        assert!(copies.poll_taken(&context).is_ready());
    }
}
