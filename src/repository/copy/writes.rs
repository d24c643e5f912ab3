//! What a copy writes over there: the word that a backup comes, its chunks, and at last its root.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::Stays;
use crate::repository::error::{Error, Result};
use crate::repository::id::{BackupId, Sha256Digest};
use crate::repository::layout::Key;
use crate::repository::manifest::Chunk;
use crate::repository::reader::Repository;
use crate::storage::{ErrorKind, ObjectStore, Put};

/// Whoever prunes over there takes the word of a month ago for given up: one that is so old might go before this copy ends.
const GOOD_FOR: Duration = Duration::from_hours(21 * 24);

/// Says in the other repository what is about to come, and when that was said, by its clock.
pub(super) async fn announce(
    to: &dyn ObjectStore,
    backup_id: &BackupId,
    root: &Bytes,
) -> std::result::Result<Timestamp, Stays> {
    let key = Key::Incoming(backup_id.clone()).to_string();
    to.put_new(&key, root.clone()).await.map_err(Error::from)?;
    let said = to.head(&key).await.map_err(Error::from)?.modified;
    if to.now() <= said + GOOD_FOR {
        return Ok(said);
    }
    // Not deleted here: in the moment without it, a prune would find nothing that protects what another copy relies on.
    Err(Stays::Because(format!(
        "'{key}' of the copy was written {said}, too long ago to protect what is still to come: the next prune there removes it, or remove it \
         while nothing else copies or prunes there; then it is brought"
    )))
}

/// The root speaks for itself now. Where nothing may be deleted the word stays and does no harm.
pub(super) async fn withdraw(to: &dyn ObjectStore, backup_id: &BackupId) -> Result<()> {
    match to.delete(&Key::Incoming(backup_id.clone()).to_string()).await {
        Err(error) if error.kind == ErrorKind::Denied => {
            tracing::debug!(%backup_id, "what announced this backup may not be deleted, and stays");
            Ok(())
        }
        done => Ok(done?),
    }
}

pub(super) async fn copy_chunk(from: &Repository, to: &Repository, chunk: &Chunk) -> std::result::Result<(), Stays> {
    let stored = from.read_stored(chunk).await.map_err(Stays::of_read)?;
    // One that has come meanwhile came from another copy under way, after this backup was announced.
    to.store().put_new(&chunk.key, stored).await.map_err(Error::from)?;
    Ok(())
}

pub(super) async fn put_root(to: &Repository, backup_id: &BackupId, root: Bytes, sha256: Sha256Digest) -> Result<()> {
    let key = Key::Manifest(backup_id.clone()).to_string();
    if to.store().put_new(&key, root).await? == Put::Exists && to.read_manifest(backup_id).await?.sha256 != sha256 {
        return Err(Error::Conflict { key });
    }
    Ok(())
}
