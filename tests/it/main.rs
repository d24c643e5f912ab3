//! The one integration binary: real PostgreSQL, a real S3 server, and the real program.

#![allow(clippy::unwrap_used, reason = "a test that panics has said where")]

mod layering;
mod support;
