//! Room for compressed chunks on their way to the store, in bytes and whoever they belong to.
//!
//! A slow store is hidden by several uploads at a time. Their number does not bound their memory, their size does. Room is
//! taken before a chunk is compressed, for a quarter of its raw bytes, and made to fit what it came to: who finds none waits with
//! its raw buffer and nothing else, so that reading stops before memory grows. What compresses to more than a quarter takes as
//! much more as there is and waits for nothing, or two of them would wait for each other.

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
        let wanted = units(raw_bytes / 4).min(self.units);
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(wanted).await;
        Room {
            permit: permit.expect("the semaphore is never closed"),
            semaphore: Arc::clone(&self.semaphore),
        }
    }
}

/// Room that was taken.
#[derive(Debug)]
pub(super) struct Room {
    permit: OwnedSemaphorePermit,
    semaphore: Arc<Semaphore>,
}

impl Room {
    /// Gives back what is not needed for `stored_bytes`, or takes what there is of what is.
    pub(super) fn fit(&mut self, stored_bytes: usize) {
        let (has, needs) = (self.permit.num_permits(), units(stored_bytes) as usize);
        if needs <= has {
            drop(self.permit.split(has - needs));
            return;
        }
        let more = (needs - has).min(self.semaphore.available_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // Another may have been quicker: then there is less.
        if let Ok(more) = Arc::clone(&self.semaphore).try_acquire_many_owned(more) {
            self.permit.merge(more);
        }
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
        let first = room.take(40 * UNIT_BYTES).await;
        let second = room.take(12 * UNIT_BYTES).await;
        let mut third = Box::pin(room.take(24 * UNIT_BYTES));
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
    async fn what_compresses_well_gives_back_what_it_does_not_need_and_what_does_not_takes_what_there_is() {
        let room = UploadRoom::of(16 * UNIT_BYTES);
        let mut first = room.take(60 * UNIT_BYTES).await;
        let mut second = Box::pin(room.take(40 * UNIT_BYTES));
        assert!(futures_util::poll!(&mut second).is_pending());
        first.fit(5 * UNIT_BYTES);
        let mut second = second.await;
        second.fit(40 * UNIT_BYTES);
        let mut third = Box::pin(room.take(4 * UNIT_BYTES));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(second);
        drop(third.await);
    }
}
