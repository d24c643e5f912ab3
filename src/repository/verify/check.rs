//! One chunk read again: size, SHA-256, every frame, BLAKE3 of the raw bytes, which are never held all at once.

use std::io::Read as _;
use std::sync::Arc;

use crate::repository::codec::ChunkBytes;
use crate::repository::error::{Error, Result};
use crate::repository::id::Blake3Digest;
use crate::repository::manifest::Chunk;
use crate::repository::reader::Repository;

/// The chunk with what is wrong with it, if anything.
pub(super) async fn check_chunk(repository: &Repository, chunk: Chunk) -> Result<(Chunk, Option<String>)> {
    let bytes = match repository.read_newest(&chunk).await {
        Ok(stored) => ChunkBytes::new(&chunk, stored),
        Err(Error::Damaged { reason, .. }) => return Ok((chunk, Some(reason))),
        Err(error) => return Err(error),
    };
    let chunk = Arc::new(chunk);
    let of_chunk = Arc::clone(&chunk);
    let problem = match tokio::task::spawn_blocking(move || check_raw(&of_chunk, &bytes)).await? {
        Ok(()) => None,
        Err(Error::Damaged { reason, .. }) => Some(reason),
        Err(error) => return Err(error),
    };
    Ok((Arc::unwrap_or_clone(chunk), problem))
}

pub(super) fn check_raw(chunk: &Chunk, bytes: &ChunkBytes) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    for number in 0..bytes.frames().len() {
        let mut frame = bytes.frame(number)?;
        loop {
            let read = frame.read(&mut buffer).map_err(Error::of_frame)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
    }
    let raw_blake3 = Blake3Digest(*hasher.finalize().as_bytes());
    if raw_blake3 == chunk.raw_blake3 {
        Ok(())
    } else {
        let reason = format!("the BLAKE3 of its raw bytes is {raw_blake3}");
        Err(Error::damaged(&chunk.key, reason))
    }
}
