//! Placeholder of the agent room.
