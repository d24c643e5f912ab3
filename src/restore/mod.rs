//! Placeholder of the restore room.
