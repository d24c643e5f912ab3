//! Whether many chunks are there, and of what size and age, by the cheaper way: a HEAD each, or one listing.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::Result;
use super::layout;
use crate::storage::{ObjectMeta, ObjectStore};

/// Requests in flight at once.
pub(super) const CONCURRENCY: usize = 16;

/// Up to so many keys are asked for one by one; a page of a listing tells of a thousand.
const HEADS_AT_MOST: usize = 32;

const PAGE: usize = 1000;

/// The sizes of those chunks among `wanted` that exist.
pub(super) async fn stored_sizes(store: &dyn ObjectStore, wanted: Vec<String>) -> Result<HashMap<String, u64>> {
    let objects = stored_objects(store, wanted).await?;
    Ok(objects.into_iter().map(|(key, object)| (key, object.bytes)).collect())
}

/// Those chunks among `wanted` that exist, by key.
pub(super) async fn stored_objects(
    store: &dyn ObjectStore,
    wanted: Vec<String>,
) -> Result<HashMap<String, ObjectMeta>> {
    if wanted.len() <= HEADS_AT_MOST {
        let heads = stream::iter(wanted)
            .map(|key| head(store, key))
            .buffer_unordered(CONCURRENCY);
        let found: Vec<Option<ObjectMeta>> = heads.try_collect().await?;
        let found = found.into_iter().flatten();
        return Ok(found.map(|object| (object.key.clone(), object)).collect());
    }
    let wanted: HashSet<String> = wanted.into_iter().collect();
    let mut objects = HashMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list(layout::CHUNKS, after.as_deref(), PAGE).await?;
        after = page.objects.last().map(|object| object.key.clone()).or(after);
        let found = page.objects.into_iter().filter(|object| wanted.contains(&object.key));
        objects.extend(found.map(|object| (object.key.clone(), object)));
        if !page.truncated {
            return Ok(objects);
        }
    }
}

async fn head(store: &dyn ObjectStore, key: String) -> Result<Option<ObjectMeta>> {
    match store.head(&key).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::repository::id::Sha256Digest;
    use crate::repository::layout::Key;
    use crate::storage::MemoryStore;

    #[tokio::test]
    async fn chunks_on_any_page_of_a_listing_are_found() {
        let store = MemoryStore::new();
        let key = |number: u32| {
            let sha256 = Sha256Digest::of(&number.to_le_bytes());
            Key::Chunk { sha256, copy: 0 }.to_string()
        };
        let stored: Vec<String> = (0..2500).map(key).collect();
        for key in &stored {
            store.put_new(key, Bytes::from_static(b"chunk")).await.unwrap();
        }
        let missing = key(2500);
        let wanted = stored.iter().step_by(50).chain([&missing]).cloned();
        let sizes = stored_sizes(&store, wanted.collect()).await.unwrap();
        assert_eq!(sizes.len(), 50);
        assert!(sizes.values().all(|bytes| *bytes == 5));
        assert!(!sizes.contains_key(&missing));
        assert_eq!(store.stats().heads, 0);
    }
}
