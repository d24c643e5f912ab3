//! Keys as paths below the root, and never outside it.

use std::path::{Path, PathBuf};

use crate::storage::{Error, ErrorKind, Result};

/// Where the store keeps what is not an object yet.
pub(super) const INCOMING: &str = ".incoming";

/// The path of `key`: each of its parts a name of its own.
pub(super) fn path_of(root: &Path, operation: &'static str, key: &str) -> Result<PathBuf> {
    let is_good = |part: &str| !part.is_empty() && !is_reserved(part) && !part.contains('\0');
    if key.split('/').all(is_good) {
        return Ok(root.join(key));
    }
    Err(Error::new(ErrorKind::Other, operation, key)
        .with_source("no key of a directory: a part of it is empty, begins with a dot or holds a zero byte"))
}

/// The store's own names, and the two that lead elsewhere.
pub(super) fn is_reserved(part: &str) -> bool {
    part.starts_with('.')
}
