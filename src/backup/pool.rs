//! A fixed number of raw buffers: the memory of a backup is these, whatever the size of the database.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out buffers and takes them back; who asks for one too many waits.
#[derive(Debug)]
pub(super) struct BufferPool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    permits: Arc<Semaphore>,
    capacity: usize,
}

/// A buffer that returns to its pool when dropped.
#[derive(Debug)]
pub(super) struct PooledBuffer {
    pub(super) bytes: Vec<u8>,
    capacity: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    _permit: OwnedSemaphorePermit,
}

impl BufferPool {
    /// `buffers` buffers of `capacity` bytes; their pages become resident only as they are written.
    pub(super) fn new(buffers: usize, capacity: usize) -> Self {
        Self {
            free: Arc::default(),
            permits: Arc::new(Semaphore::new(buffers)),
            capacity,
        }
    }

    /// An empty buffer, once one is free.
    pub(super) async fn take(&self) -> PooledBuffer {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("the pool's semaphore is never closed");
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = recycled.unwrap_or_else(|| Vec::with_capacity(self.capacity));
        PooledBuffer {
            bytes,
            capacity: self.capacity,
            free: Arc::clone(&self.free),
            _permit: permit,
        }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        // One that grew for an oversized row is given back to the system instead.
        if bytes.capacity() <= self.capacity {
            bytes.clear();
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_buffer_too_many_waits_and_an_oversized_one_is_let_go() {
        let pool = BufferPool::new(1, 16);
        let mut first = pool.take().await;
        first.bytes.extend_from_slice(&[0; 100]);
        let mut second = Box::pin(pool.take());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await;
        assert!(second.bytes.is_empty());
        assert_eq!(second.bytes.capacity(), 16);
    }
}
