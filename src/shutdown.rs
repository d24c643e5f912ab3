//! Signals to a cancellation token.
