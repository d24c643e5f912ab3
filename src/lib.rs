//! KubeBackup: logical PostgreSQL backups whose restoration is proven equal to the source.
//!
//! The rooms and the arrows between them are in `ARCHITECTURE.md`; `tests/it/layering.rs` keeps them true.

pub mod agent;
pub mod backup;
pub mod cli;
pub mod config;
pub mod content;
#[cfg(feature = "demo")]
pub mod demo;
pub mod drill;
pub mod http;
pub mod postgres;
pub mod repository;
pub mod restore;
pub mod signals;
pub mod storage;
pub mod telemetry;
