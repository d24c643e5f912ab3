//! What the outside sees of a run: progress now, logging, later metric names.

pub mod progress;
