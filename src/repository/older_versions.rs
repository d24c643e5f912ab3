//! Which objects had to be read from an older version, because what has their name is not what was written: somebody has
//! overwritten or hidden them. A restoration works all the same; that it had to must not go unsaid.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Keys, each once. At most as many as there are objects in what is read.
#[derive(Debug, Default)]
pub(super) struct OlderVersions(Mutex<BTreeSet<String>>);

impl OlderVersions {
    pub(super) fn add(&self, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.to_owned());
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().cloned().collect()
    }
}
