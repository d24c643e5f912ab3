//! Locks of what a backup refers to: given with each upload, given again to what is reused before they run out.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::error::Result;
use super::manifest::Chunk;
use crate::storage::ObjectStore;

/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// Locks every one of `chunks` again that would not be locked for as long as is promised from now on.
///
/// # Errors
/// The store's own: a promise that cannot be kept makes no backup.
pub(super) async fn extend(store: &dyn ObjectStore, chunks: &mut [Chunk]) -> Result<()> {
    let Some(period) = store.lock_period() else {
        return Ok(());
    };
    let needed = store.now() + period.promised;
    let is_short = |chunk: &Chunk| chunk.locked_until.is_none_or(|until| until < needed);
    let short: Vec<(usize, String)> = chunks
        .iter()
        .enumerate()
        .filter(|(_, chunk)| is_short(chunk))
        .map(|(number, chunk)| (number, chunk.key.clone()))
        .collect();
    let locked: Vec<(usize, Timestamp)> = stream::iter(short)
        .map(|(number, key)| lock(store, number, key))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    for (number, until) in locked {
        chunks[number].locked_until = Some(until);
    }
    Ok(())
}

async fn lock(store: &dyn ObjectStore, number: usize, key: String) -> Result<(usize, Timestamp)> {
    Ok((number, store.lock_again(&key).await?))
}
