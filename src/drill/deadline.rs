//! The one limit on a drill: whatever a server does or leaves undone, the drill ends.
//!
//! A server that is stopped (a signal, a stuck disk) keeps its connections open and answers nothing; nobody else ends the
//! wait then. Requests to the bucket have limits of their own.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::{Error, Result};

/// When a drill that has begun must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    limit: Duration,
    /// None when the clock does not reach so far.
    at: Option<Instant>,
}

impl Deadline {
    /// So long after now.
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now().checked_add(limit),
        }
    }

    /// Waits until it is over.
    pub(super) async fn passed(self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// What `work` answers; dropped when it does not in time.
    ///
    /// # Errors
    /// `Error::TooLong`.
    pub(super) async fn within<T>(self, work: impl Future<Output = T>) -> Result<T> {
        match self.at {
            Some(at) => timeout_at(at, work).await.map_err(|_| self.too_long()),
            None => Ok(work.await),
        }
    }

    pub(super) fn too_long(self) -> Error {
        Error::TooLong { limit: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_does_not_end_in_time_is_given_up() {
        let deadline = Deadline::after(Duration::ZERO);
        let given_up = deadline.within(pending::<()>()).await;
        assert!(matches!(given_up, Err(Error::TooLong { limit }) if limit == Duration::ZERO));
        deadline.passed().await;
    }

    #[tokio::test]
    async fn a_limit_beyond_all_clocks_is_none() {
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(deadline.within(ready(1)).await.ok(), Some(1));
    }
}
