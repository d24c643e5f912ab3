//! How an object comes into being and goes: whole, durable, and never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::error::{is_absent, translate};
use super::path::{Base, INCOMING, path_of, refuse_links};
use super::turn::Turn;
use crate::storage::Result;

/// Directories of the way to an object may be removed, as empty, while it is being placed: then the way is made again.
const ATTEMPTS: usize = 100;

/// A body that has had no key for so long never gets one.
const LEFT_BEHIND: SignedDuration = SignedDuration::from_hours(24);

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// The time by the file server's clock.
    Created {
        at: jiff::Timestamp,
    },
    Exists,
}

pub(super) fn place(base: &Base, turn: &Turn, key: &str, body: &[u8]) -> Result<Placed> {
    let path = path_of(base, "put", key)?;
    turn.carries(body.len() as u64);
    place_at(base, turn, &path, body).map_err(|error| translate("put", key, base, &error))
}

fn place_at(base: &Base, turn: &Turn, path: &Path, body: &[u8]) -> io::Result<Placed> {
    if fs::symlink_metadata(path).is_ok() {
        return exists(path);
    }
    let incoming = Incoming::write(base, body)?;
    let at = fs::metadata(&incoming.path)?.modified()?;
    for attempt in 1.. {
        make_way(base, parent(path))?;
        // A manifest that came to be long after its run would name what prune has taken since.
        turn.is_wanted()?;
        match name(&incoming.path, path) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return exists(path),
            Err(error) if is_absent(&error) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    sync_directory(parent(path))?;
    Ok(Placed::Created {
        at: at.try_into().map_err(io::Error::other)?,
    })
}

/// Somebody's name may still be on its way to the disk: who relies on it waits for that.
fn exists(path: &Path) -> io::Result<Placed> {
    sync_directory(parent(path))?;
    Ok(Placed::Exists)
}

/// A second name for the body, then the first goes; where the file system has one name a file, it is moved.
fn name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if is_without_links(&error) => {
            renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).map_err(of_rename)
        }
        done => done,
    }
}

/// Somebody may have been first, or the way there may have gone; only some answers say that there is no such renaming.
fn of_rename(error: Errno) -> io::Error {
    match error {
        Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP => io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system has neither hard links nor renaming without replacing",
        ),
        error => error.into(),
    }
}

/// Not every refusal of a link says that there are none: a directory that may not be written refuses the move as well.
fn is_without_links(error: &io::Error) -> bool {
    let unlinked = [Errno::EPERM, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EMLINK];
    error
        .raw_os_error()
        .is_some_and(|code| unlinked.contains(&Errno::from_raw(code)))
}

pub(super) fn remove(base: &Base, turn: &Turn, key: &str) -> Result<()> {
    let path = path_of(base, "delete", key)?;
    turn.step();
    // What nobody needed then may be needed now.
    let removed = turn.is_wanted().and_then(|()| fs::remove_file(&path));
    let removed = removed.and_then(|()| sync_directory(parent(&path)));
    match removed {
        Ok(()) => {}
        Err(error) if is_absent(&error) && base.is_mounted() => return Ok(()),
        Err(error) => return Err(translate("delete", key, base, &error)),
    }
    // Directories that hold nothing any more go too, as a bucket has none; one that fills meanwhile stays.
    for directory in path.ancestors().skip(1).take_while(|directory| *directory != base.root) {
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(())
}

/// A body on the disk that has no key yet. Its first name goes with the value, whatever happens.
struct Incoming {
    path: PathBuf,
}

impl Incoming {
    fn write(base: &Base, body: &[u8]) -> io::Result<Self> {
        let directory = base.root.join(INCOMING);
        refuse_links(base, &directory)?;
        make_way(base, &directory)?;
        let path = directory.join(format!("{:032x}", rand::random::<u128>()));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let incoming = Self { path };
        file.write_all(body)?;
        file.sync_all()?;
        Ok(incoming)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Moved, or not ours to remove any more: either is well.
        drop(fs::remove_file(&self.path));
    }
}

/// The time by the file server's clock: of a file that is made for it and removed.
pub(super) fn tell_time(base: &Base) -> io::Result<jiff::Timestamp> {
    if !base.root.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let incoming = Incoming::write(base, &[])?;
    fs::metadata(&incoming.path)?
        .modified()?
        .try_into()
        .map_err(io::Error::other)
}

/// Removes what writers left that were killed: bodies without a key, older than any upload takes. As far as it may.
pub(super) fn remove_unfinished(base: &Base, before: jiff::Timestamp, now: jiff::Timestamp) -> io::Result<u64> {
    let directory = base.root.join(INCOMING);
    refuse_links(base, &directory)?;
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // No writer has been here, or not yet.
        Err(error) if is_absent(&error) => return Ok(0),
        Err(error) => return Err(error),
    };
    let is_over = |modified: jiff::Timestamp| modified < before && now.duration_since(modified) > LEFT_BEHIND;
    let mut removed = 0;
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|found| found.modified()).ok();
        let modified = modified.and_then(|time| jiff::Timestamp::try_from(time).ok());
        if modified.is_some_and(is_over) && fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// The directories below the mount down to `directory`, each entered durably into the one above.
fn make_way(base: &Base, directory: &Path) -> io::Result<()> {
    if directory == base.mount {
        return Ok(());
    }
    let above = parent(directory);
    make_way(base, above)?;
    if !directory.is_dir() {
        match fs::create_dir(directory) {
            Ok(()) => return sync_way(above),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    // Whoever made it may not have entered it durably yet; where nothing is open, that costs next to nothing.
    match sync_way(above) {
        // One of the operator's own, which may be entered and not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// One that was removed as empty meanwhile has taken the way with it, which whoever goes there finds out.
fn sync_way(directory: &Path) -> io::Result<()> {
    match sync_directory(directory) {
        Err(error) if is_absent(&error) => Ok(()),
        done => done,
    }
}

/// Names are as durable as the directory that holds them.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
