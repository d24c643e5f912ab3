//! What a copy makes of a chunk that it finds in the other place, or does not find.

use std::time::Duration;

use jiff::Timestamp;

use super::Stays;
use crate::repository::damage::KnownDamage;
use crate::repository::manifest::Chunk;
use crate::storage::ObjectMeta;

/// By what a found object is judged.
pub(super) struct Rules<'a> {
    /// What was found damaged over there.
    pub(super) damage: &'a KnownDamage,
    /// When the backup was announced, if that is no grace period ago.
    pub(super) announced: Option<Timestamp>,
    pub(super) grace: Duration,
}

impl Rules<'_> {
    /// Whether `object` can stand for `chunk`; if not, why the backup waits. `is_safe`: a root over there protects it.
    pub(super) fn accept(&self, chunk: &Chunk, object: &ObjectMeta, is_safe: bool) -> Result<(), Stays> {
        let key = &chunk.key;
        if object.bytes != chunk.stored_bytes {
            return Err(Stays::Because(format!(
                "'{key}' of the copy has {} bytes instead of {}: remove it there, and it is brought anew",
                object.bytes, chunk.stored_bytes
            )));
        }
        if self.damage.names(object) {
            return Err(Stays::Because(format!(
                "'{key}' is damaged there, as a verification or drill of the copy has found: remove it there, and it is \
                 brought anew"
            )));
        }
        if !is_safe && self.announced.is_some_and(|announced| object.modified < announced) {
            return Err(Stays::Waiting(format!(
                "'{key}' of the copy is older than this copying and no backup there refers to it, so a prune may be \
                 about to delete it: this backup is copied when it is gone, or a grace period of {} h from now",
                self.grace.as_secs() / 3600,
            )));
        }
        Ok(())
    }
}
