//! The proof: a database rebuilt from the bucket alone is compared with what the backup says, and a certificate says how.

mod check;
mod inventory;

pub use check::{Check, CheckName, Outcome};
pub use inventory::compare_inventory;
