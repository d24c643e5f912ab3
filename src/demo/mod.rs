//! Throw-away ground to stand on: PostgreSQL clusters from the machine's own binaries and an embedded S3 server.
//!
//! `kubebackup demo` and the integration tests use the same ones. Nothing here runs in production.

mod cluster;
mod place;
mod s3_behaviour;
mod s3_controls;
mod s3_server;
pub mod shop;
pub mod story;

pub use cluster::{Cluster, ClusterOptions, find_bin_directory, give_to_server_user, initialize, unprivileged};
pub use place::{Ground, fast_place};
pub use s3_controls::{Identity, ObjectLock, S3Controls, S3Effect, S3Fault, S3Request, Treatment};
pub use s3_server::{S3Server, S3ServerOptions};
