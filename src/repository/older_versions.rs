//! Reading what was written where something else has its name now: a store that keeps versions has it still, whoever has
//! overwritten or hidden it. A restoration works all the same; that it had to must not go unsaid.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::error::{Error, Result};
use crate::storage::{ErrorKind, ObjectStore, Version};

/// Keys that had to be read so, each once. At most as many as there are objects in what is read.
#[derive(Debug, Default)]
pub(super) struct OlderVersions(Mutex<BTreeSet<String>>);

impl OlderVersions {
    /// The newest version of `key` that `fits`: one of so many bytes, where that is known, and no larger than the limit.
    ///
    /// # Errors
    /// `otherwise` where none does; what kept the store from answering, or made it keep back one that may fit.
    pub(super) async fn read<T>(
        &self,
        store: &dyn ObjectStore,
        key: &str,
        (bytes, limit): (Option<u64>, u64),
        fits: impl Fn(Bytes) -> Option<T> + Send + Sync,
        otherwise: Error,
    ) -> Result<T> {
        let versions = store.versions(key).await?;
        let looked_at = versions.all.len();
        let mut refused = None;
        let may_fit = |version: &Version| bytes.map_or(version.bytes <= limit, |bytes| bytes == version.bytes);
        for Version { id: version, .. } in versions.all.into_iter().filter(may_fit) {
            match store.get_version(key, &version, limit).await {
                Ok(object) => {
                    if let Some(found) = fits(object) {
                        tracing::warn!(
                            key,
                            version,
                            "damaged or deleted, and an older version is what was written"
                        );
                        self.add(key);
                        return Ok(found);
                    }
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                // It may be the right one: nobody who may not read it can say that there is none.
                Err(error) if error.kind == ErrorKind::Denied => refused = refused.or(Some(error)),
                Err(error) => tracing::debug!(key, version, %error, "this version cannot be read"),
            }
        }
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        match otherwise {
            Error::Damaged { key, reason } if versions.is_cut => Err(Error::Damaged {
                key,
                reason: format!(
                    "{reason}; it has more versions than the newest {looked_at}, and none of these is right"
                ),
            }),
            otherwise => Err(otherwise),
        }
    }

    pub(super) fn add(&self, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.to_owned());
    }

    /// It is there again.
    pub(super) fn remove(&self, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(key);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().cloned().collect()
    }
}
