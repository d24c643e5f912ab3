//! Where throw-away data lies: in memory when there is room, and gone once its owner is.
//!
//! Starting a cluster from a template is five times as fast in `/dev/shm` as on ext4 (0.03 s against 0.17 s for the
//! copy), and nothing here has to survive anything. A process that is killed cannot clean up after itself, so each
//! directory is locked by its owner, and whoever makes the next one removes those that nobody holds any more.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::statvfs::statvfs;

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "kubebackup-ground-";
const LOCK: &str = "owner.lock";

/// Room that a memory file system must have left before it is used: a demo and a few tests side by side.
const WANTED_FREE_BYTES: u64 = 2 << 30;

/// A directory that goes when the value goes, or with the next one made after its owner was killed.
#[derive(Debug)]
pub struct Ground {
    directory: tempfile::TempDir,
    _owned: File,
}

impl Ground {
    /// Makes a directory that the server's user may walk through as well.
    ///
    /// # Errors
    /// When no temporary directory can be made.
    pub fn new() -> Result<Self> {
        let place = fast_place();
        sweep(&place);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&place)?;
        let unlocked = directory.path().join("owner");
        let owned = File::create(&unlocked)?;
        owned.lock()?;
        // Only now does it have the name that a sweeper looks at.
        fs::rename(unlocked, directory.path().join(LOCK))?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        Ok(Self {
            directory,
            _owned: owned,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// `TMPDIR` when somebody chose one; else memory when it has room; else the system's temporary directory.
#[must_use]
pub fn fast_place() -> PathBuf {
    let has_room = statvfs(MEMORY)
        .is_ok_and(|space| space.blocks_available().saturating_mul(space.fragment_size()) >= WANTED_FREE_BYTES);
    if std::env::var_os("TMPDIR").is_none() && has_room {
        PathBuf::from(MEMORY)
    } else {
        std::env::temp_dir()
    }
}

/// Removes what owners that were killed left behind. A directory without its lock file is just being made.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            // Somebody else's directory, or one that another sweeper is removing: both are theirs to deal with.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_whose_owner_is_gone_is_removed_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let directory = place.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&directory).unwrap();
            File::create(directory.join(LOCK)).unwrap()
        };
        drop(make("orphan"));
        let held = make("held");
        held.lock().unwrap();
        fs::create_dir(place.path().join("other")).unwrap();
        sweep(place.path());
        let left: Vec<_> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!left.contains(&format!("{PREFIX}orphan")));
    }
}
