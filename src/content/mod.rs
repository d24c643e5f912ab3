//! What a PostgreSQL database contains, as plain data.
//!
//! The vocabulary that `postgres` (which reads it from a catalogue) and `repository` (which stores it in a manifest)
//! share without knowing each other. A leaf: no I/O, no other room. Its serde shapes are part of the repository
//! format (`docs/format.md`), so a change here is a change of format.

mod database;
mod fingerprint;
mod inventory;
mod large_object;
mod name;
mod role;
mod table;

pub use database::{DatabaseProperties, Extension, LargeObject, MaterializedView, Sequence};
pub use fingerprint::{Fingerprint, RowTally, row_hash};
pub use inventory::{CatalogueObject, LedgerEntry, LedgerState};
pub use large_object::{LARGE_OBJECT_BLOCK_BYTES, LargeObjectTally};
pub use name::{QualifiedName, quote_identifier, quote_literal};
pub use role::{Membership, Role, RoleSetting};
pub use table::{GeneratedColumns, TableDescription, TableSource};
