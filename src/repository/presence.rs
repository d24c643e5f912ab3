//! Whether many objects are there and of the right size, by the cheaper way: a HEAD each, or one listing.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::Result;
use super::layout;
use crate::storage::ObjectStore;

/// Requests in flight at once.
pub(super) const CONCURRENCY: usize = 16;

/// Up to so many keys are asked for one by one; a page of a listing tells of a thousand.
const HEADS_AT_MOST: usize = 32;

const PAGE: usize = 1000;

/// The sizes of those chunks among `wanted` that exist.
pub(super) async fn stored_sizes<'a>(
    store: &dyn ObjectStore,
    wanted: impl Iterator<Item = &'a str>,
) -> Result<HashMap<&'a str, u64>> {
    let mut sizes: HashMap<&str, Option<u64>> = wanted.map(|key| (key, None)).collect();
    if sizes.len() <= HEADS_AT_MOST {
        let heads = stream::iter(sizes.keys().copied().collect::<Vec<_>>())
            .map(|key| head(store, key))
            .buffer_unordered(CONCURRENCY);
        return heads.try_filter_map(async |found| Ok(found)).try_collect().await;
    }
    let mut after: Option<String> = None;
    loop {
        let page = store.list(layout::CHUNKS, after.as_deref(), PAGE).await?;
        for object in &page.objects {
            if let Some(size) = sizes.get_mut(object.key.as_str()) {
                *size = Some(object.bytes);
            }
        }
        after = page.objects.last().map(|object| object.key.clone()).or(after);
        if !page.truncated {
            break;
        }
    }
    Ok(sizes.into_iter().filter_map(|(key, size)| Some((key, size?))).collect())
}

async fn head<'a>(store: &dyn ObjectStore, key: &'a str) -> Result<Option<(&'a str, u64)>> {
    match store.head(key).await {
        Ok(object) => Ok(Some((key, object.bytes))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
