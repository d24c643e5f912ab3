//! The proof: a database rebuilt from the bucket alone is compared with what the backup says, and a certificate says how.
//!
//! `compare_database` knows no chunk: what it says about rows it has read from the rebuilt server.

mod assertions;
mod check;
mod compare;
mod database;
mod definitions;
mod error;
mod inventory;
mod large_objects;
mod on_request;
mod rows;
mod state;

pub use check::{Check, CheckName, Outcome};
pub use compare::{CompareOptions, Comparison, compare_database};
pub use database::not_covered;
pub use error::{Error, Result};
pub use inventory::compare_inventory;
pub use rows::TableComparison;
