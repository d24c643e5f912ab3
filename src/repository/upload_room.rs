//! Room for compressed chunks on their way to the store, in bytes and whoever they belong to.
//!
//! A slow store is hidden by several uploads at a time. Their number does not bound their memory, their size does. Room is
//! taken before a chunk is compressed, for half of its raw bytes, and given back to what it came to: who finds none waits with
//! its raw buffer and nothing else, so that reading stops before memory grows. What compresses to more than a half stays with
//! what it took, so that incompressible chunks come to twice the room at most.

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

    /// Room for what `raw_bytes` may come to, once there is, until it is dropped; for more than there could ever be, all of it.
    pub(super) async fn take(&self, raw_bytes: usize) -> Room {
        let wanted = units(raw_bytes / 2).min(self.units);
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(wanted).await;
        Room(permit.expect("the semaphore is never closed"))
    }
}

/// Room that was taken.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Gives back what is not needed for `stored_bytes`.
    pub(super) fn shrink_to(&mut self, stored_bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(units(stored_bytes) as usize);
        drop(self.0.split(surplus));
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
        let first = room.take(20 * UNIT_BYTES).await;
        let second = room.take(6 * UNIT_BYTES).await;
        let mut third = Box::pin(room.take(12 * UNIT_BYTES));
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

    #[tokio::test]
    async fn what_compresses_well_gives_back_what_it_does_not_need_and_the_rest_keeps_what_it_took() {
        let room = UploadRoom::of(16 * UNIT_BYTES);
        let mut first = room.take(30 * UNIT_BYTES).await;
        let mut second = Box::pin(room.take(20 * UNIT_BYTES));
        assert!(futures_util::poll!(&mut second).is_pending());
        first.shrink_to(5 * UNIT_BYTES);
        let mut second = second.await;
        second.shrink_to(19 * UNIT_BYTES);
        let mut third = Box::pin(room.take(4 * UNIT_BYTES));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop((first, second));
        drop(third.await);
    }
}
