//! What the outside sees of a run: progress now, logging, later metric names.

pub mod causes;
pub mod clock;
pub mod failpoint;
pub mod figures;
pub mod logging;
pub mod memory;
pub mod plain;
pub mod progress;
pub mod progress_bar;
pub mod progress_log;
