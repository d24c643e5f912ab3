//! What no store takes for a key: whatever could lead out of the store's prefix or mean another object than it says.
//!
//! Nothing above makes such keys. A manifest that somebody forged may name some, and the answer must not depend on how a
//! server, a proxy or a file system reads them.

use super::{Error, ErrorKind, Result};

/// S3's limit for a key, prefix and all; a directory's names end sooner.
const MAX_KEY_BYTES: usize = 1024;

/// # Errors
/// `Other`, without asking the store.
pub(super) fn check_key(operation: &'static str, key: &str) -> Result<()> {
    let is_good = |part: &str| !matches!(part, "" | "." | "..");
    if key.len() <= MAX_KEY_BYTES && key.split('/').all(is_good) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    let reason = "no key: a part of it is empty or leads elsewhere, it holds a control character, or it is too long";
    Err(Error::new(
        ErrorKind::Other,
        operation,
        key.escape_debug().take(200).collect::<String>(),
    )
    .with_source(reason))
}
