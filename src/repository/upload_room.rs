//! Room for compressed chunks on their way to the store, in bytes and whoever they belong to.
//!
//! A slow store is hidden by several uploads at a time. Their number does not bound their memory, their size does. Who finds
//! no room keeps the buffer that it compressed, so that reading stops before memory grows.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in: a semaphore counts no further than a few billions.
const UNIT_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct UploadRoom {
    units: u32,
    semaphore: Arc<Semaphore>,
}

impl UploadRoom {
    pub(super) fn of(bytes: usize) -> Self {
        let units = units(bytes);
        Self {
            units,
            semaphore: Arc::new(Semaphore::new(units as usize)),
        }
    }

    /// Room for `bytes` once there is, until it is dropped; for more than there could ever be, all of it.
    pub(super) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let wanted = units(bytes).min(self.units);
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(wanted).await;
        permit.expect("the semaphore is never closed")
    }
}

/// At least one.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_for_as_much_as_it_needs() {
        let room = UploadRoom::of(16 * UNIT_BYTES);
        let first = room.take(10 * UNIT_BYTES).await;
        let second = room.take(3 * UNIT_BYTES).await;
        let mut third = Box::pin(room.take(6 * UNIT_BYTES));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(second);
        let third = third.await;
        let mut fourth = Box::pin(room.take(1));
        assert!(futures_util::poll!(&mut fourth).is_pending());
        drop(first);
        drop((third, fourth.await));
    }

    #[tokio::test]
    async fn more_than_there_is_takes_all_of_it_and_nothing_takes_a_unit() {
        let room = UploadRoom::of(2 * UNIT_BYTES);
        let all = room.take(usize::MAX).await;
        let mut least = Box::pin(room.take(0));
        assert!(futures_util::poll!(&mut least).is_pending());
        drop(all);
        drop(least.await);
    }
}
