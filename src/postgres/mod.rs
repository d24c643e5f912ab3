//! PostgreSQL: connections, snapshots, catalogue, COPY, client programs. All SQL lives here.
//!
//! It knows nothing of repositories: what it reads is plain data (`content`), what it copies are rows.

mod connect;
pub mod copy;
mod error;
pub mod large_objects;
pub mod program;

pub use connect::{ConnectOptions, Session, TlsMode, connect};
pub use error::{Error, Result};
