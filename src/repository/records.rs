//! The records of a backup piece by piece, for whoever needs each of them once and none of them all.
//!
//! At most one piece of the index (`limits::MAX_PIECE_BYTES` raw) is in memory. Chunks are
//! found right like any other; that the records fit together is not looked at.

use super::error::{Error, Result};
use super::index;
use super::layout::Key;
use super::manifest::{Chunk, Record};
use super::reader::{Repository, StoredManifest};

/// Reads on with each call.
pub(super) struct Records<'a> {
    repository: &'a Repository,
    root: String,
    pieces: std::slice::Iter<'a, Chunk>,
    /// A line whose end lies in the next piece.
    begun: Vec<u8>,
}

impl Repository {
    pub(super) fn records<'a>(&'a self, stored: &'a StoredManifest) -> Records<'a> {
        Records {
            repository: self,
            root: Key::Manifest(stored.manifest.backup_id.clone()).to_string(),
            pieces: stored.manifest.index.iter(),
            begun: Vec::new(),
        }
    }
}

impl Records<'_> {
    /// The records of the next piece; none when all were read.
    ///
    /// # Errors
    /// `Damaged`, or the store's own.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        let damaged = |reason: String| Error::damaged(&self.root, format!("its index cannot be read: {reason}"));
        let Some(chunk) = self.pieces.next() else {
            return if self.begun.is_empty() {
                Ok(None)
            } else {
                Err(damaged("its last record has no end".to_owned()))
            };
        };
        let mut lines = std::mem::take(&mut self.begun);
        lines.extend(self.repository.read_all_frames(chunk).await?);
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.begun = lines.split_off(end);
        let parsed = tokio::task::spawn_blocking(move || index::parse(&lines)).await?;
        parsed.map(Some).map_err(damaged)
    }
}
