//! Placeholder of the backup room.
