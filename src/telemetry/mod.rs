//! Logging and metric names.
