//! What the operating system says, in terms of what a caller can do about it.

use std::io;

use super::path::Base;
use crate::storage::{Error, ErrorKind};

pub(super) fn translate(operation: &'static str, key: &str, base: &Base, error: &io::Error) -> Error {
    if is_absent(error) && !base.is_mounted() {
        // A mount that is away must not look like a repository that is empty.
        return Error::new(ErrorKind::Unavailable, operation, key).with_source(format!(
            "'{}' is no directory: is the volume mounted?",
            base.mount.display()
        ));
    }
    Error::new(kind_of(error), operation, key).with_source(Told {
        code: error.raw_os_error(),
        text: format!("{error} (directory {})", base.root.display()),
    })
}

/// What the operating system said, and where.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Told {
    code: Option<i32>,
    text: String,
}

/// The device could not do it (EIO), or the file system found other bytes than it wrote.
pub(super) fn is_device_error(error: &Error) -> bool {
    let told = error.source.as_ref().and_then(|source| source.downcast_ref::<Told>());
    told.is_some_and(|told| {
        matches!(
            told.code,
            Some(nix::libc::EIO | nix::libc::EUCLEAN | nix::libc::EBADMSG)
        )
    })
}

/// Neither the name nor a directory on the way to it is there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        _ if is_absent(error) => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::InvalidFilename => ErrorKind::Other,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        // Stale, timed out, an error of the device: another time may be better.
        _ => ErrorKind::Unavailable,
    }
}
