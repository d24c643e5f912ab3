//! Placeholder of the config room.
