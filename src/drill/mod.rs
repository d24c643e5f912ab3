//! Placeholder of the drill room.
