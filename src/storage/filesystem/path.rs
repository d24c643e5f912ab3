//! Keys as paths below the root, and never outside it.

use std::path::PathBuf;

use crate::storage::{Error, ErrorKind, Result};

/// Where the objects lie.
#[derive(Debug)]
pub(super) struct Base {
    /// What has to be there already: a mount that is away is never written under.
    pub(super) mount: PathBuf,
    /// The mount, or a directory below it that is made when first needed.
    pub(super) root: PathBuf,
}

impl Base {
    pub(super) fn is_mounted(&self) -> bool {
        self.mount.is_dir()
    }
}

/// Where the store keeps what is not an object yet.
pub(super) const INCOMING: &str = ".incoming";

/// The path of `key`: each of its parts a name of its own.
pub(super) fn path_of(base: &Base, operation: &'static str, key: &str) -> Result<PathBuf> {
    let is_good = |part: &str| !part.is_empty() && !is_reserved(part) && !part.contains('\0');
    if key.split('/').all(is_good) {
        return Ok(base.root.join(key));
    }
    Err(Error::new(ErrorKind::Other, operation, key)
        .with_source("no key of a directory: a part of it is empty, begins with a dot or holds a zero byte"))
}

/// The store's own names, and the two that lead elsewhere.
pub(super) fn is_reserved(part: &str) -> bool {
    part.starts_with('.')
}
