//! Keys as paths below the root, and never outside it: not by what they are called, and not by a symbolic link that
//! somebody has put on their way. The root and what leads there may be links, being the operator's own.

use std::io;
use std::path::{Path, PathBuf};

use super::error::translate;
use crate::storage::key::check_key;
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

/// The path of `key`: each of its parts a name of its own, and none but the last anything else than a directory.
pub(super) fn path_of(base: &Base, operation: &'static str, key: &str) -> Result<PathBuf> {
    check_key(operation, key)?;
    if key.split('/').any(is_reserved) {
        return Err(Error::new(ErrorKind::Other, operation, key)
            .with_source("no key of a directory: a part of it begins with a dot"));
    }
    let path = base.root.join(key);
    refuse_links(base, path.parent().unwrap_or(&path)).map_err(|error| translate(operation, key, base, &error))?;
    Ok(path)
}

/// Whether a listing may look for keys that begin with `prefix`.
pub(super) fn is_listable(prefix: &str) -> bool {
    let parts = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.is_empty() || (check_key("list", parts).is_ok() && !parts.split('/').any(is_reserved))
}

/// # Errors
/// When `directory` or one between it and the root is a symbolic link. What is not there is none.
pub(super) fn refuse_links(base: &Base, directory: &Path) -> io::Result<()> {
    // Without a slash at its end, behind which a link would be looked through.
    let directory: PathBuf = directory.components().collect();
    for on_the_way in directory.ancestors().take_while(|above| *above != base.root) {
        if on_the_way.is_symlink() {
            let text = format!(
                "'{}' is a symbolic link, which a repository has none of",
                on_the_way.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
        }
    }
    Ok(())
}

/// The store's own names, and the two that lead elsewhere.
pub(super) fn is_reserved(part: &str) -> bool {
    part.starts_with('.')
}
