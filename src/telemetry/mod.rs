//! What the outside sees of a run: progress now, logging, later metric names.

pub mod failpoint;
pub mod progress;
