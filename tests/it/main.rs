//! The one integration binary: real PostgreSQL, a real S3 server, and the real program.

mod layering;
mod support;
