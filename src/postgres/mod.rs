//! PostgreSQL: connections, snapshots, catalogue, COPY, client programs. All SQL lives here.
//!
//! It knows nothing of repositories: what it reads is plain data (`content`), what it copies are rows.

pub mod analyze;
pub mod archive;
mod circumstance;
mod connect;
mod copies;
pub mod copy;
pub mod databases;
pub mod definitions;
mod dsn;
mod environment;
mod error;
pub mod extension;
pub mod fresh;
mod gather;
pub mod inventory;
pub mod jobs;
pub mod large_objects;
pub mod load;
mod lock_holder;
pub mod login;
pub mod machine;
pub mod materialized_view;
mod passfile;
mod patience;
pub mod present;
pub mod privileges;
pub mod program;
pub mod relation;
pub mod role;
pub mod role_apply;
mod row;
pub mod schema_dump;
pub mod scratch;
pub mod sequence;
pub mod server;
mod server_error;
pub mod setting;
pub mod silence;
pub mod snapshot;
mod socket;
pub mod stability;
pub mod target;
mod tls;
pub mod together;
pub mod validity;
pub mod watch;
pub mod wipe;

pub use circumstance::Circumstance;
pub use connect::{ConnectOptions, Password, Session, connect};
pub use dsn::Dsn;
pub use environment::{ConnectRequest, DsnOrigin, Environment};
pub use error::{Error, Result};
pub use server_error::ServerError;
pub use tls::{RootCertificates, TlsMode};
