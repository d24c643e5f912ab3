//! A listing in the order of keys, which is not the order of directories: `a.json` comes before `a/b`, for a dot comes
//! before a slash. A directory therefore sorts as its name with the slash.

use std::fs::{self, Metadata};
use std::io;

use super::error::is_absent;
use super::path::{Base, is_listable, is_reserved, refuse_links};
use crate::storage::{ObjectMeta, Page};

/// What of the keys is wanted.
struct Wanted<'a> {
    prefix: &'a str,
    start_after: Option<&'a str>,
    limit: usize,
}

/// At most `limit` keys that begin with `prefix` and come after `start_after`.
pub(super) fn page(base: &Base, prefix: &str, start_after: Option<&str>, limit: usize) -> io::Result<Page> {
    let wanted = Wanted {
        prefix,
        start_after,
        limit,
    };
    // Everything wanted lies below the last directory that the prefix names whole.
    let start = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    let mut page = Page::default();
    if !is_listable(prefix) {
        // No key begins like that.
        return Ok(page);
    }
    refuse_links(base, &base.root.join(start))?;
    walk(base, start, &wanted, &mut page)?;
    Ok(page)
}

/// The object of a regular file; none for whatever else.
pub(super) fn meta(key: &str, found: &Metadata) -> Option<ObjectMeta> {
    let modified = found.modified().ok()?.try_into().ok()?;
    found.is_file().then(|| ObjectMeta {
        key: key.to_owned(),
        bytes: found.len(),
        modified,
        sha256: None,
    })
}

/// Adds what lies in `directory` (empty, or ending in a slash).
fn walk(base: &Base, directory: &str, wanted: &Wanted<'_>, page: &mut Page) -> io::Result<()> {
    for key in names(base, directory)? {
        if page.truncated {
            break;
        }
        if key.ends_with('/') {
            if wanted.may_lie_below(&key) {
                walk(base, &key, wanted, page)?;
            }
        } else if wanted.is_in(&key) {
            // A file that went since its name was read is no object any more.
            let found = match fs::symlink_metadata(base.root.join(&key)) {
                Err(error) if is_absent(&error) => None,
                found => meta(&key, &found?),
            };
            match found {
                Some(_) if page.objects.len() == wanted.limit => page.truncated = true,
                Some(object) => page.objects.push(object),
                None => {}
            }
        }
    }
    Ok(())
}

/// Keys of one directory in their order; those of directories end in a slash. One that is not there holds none.
fn names(base: &Base, directory: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(base.root.join(directory)) {
        Err(error) if is_absent(&error) && base.is_mounted() => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_reserved(&name) {
            continue;
        }
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(format!("{directory}{name}{slash}"));
    }
    names.sort_unstable();
    Ok(names)
}

impl Wanted<'_> {
    fn is_in(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.start_after.is_none_or(|after| key > after)
    }

    /// Whether keys that begin with `directory` can be wanted.
    fn may_lie_below(&self, directory: &str) -> bool {
        let fits = directory.starts_with(self.prefix) || self.prefix.starts_with(directory);
        fits && self
            .start_after
            .is_none_or(|after| directory > after || after.starts_with(directory))
    }
}
