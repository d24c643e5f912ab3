//! The repository: where backups live, in what shape, and how they are written and read back.
//!
//! Objects are created once and never overwritten. A backup exists if and only if its manifest does, and the manifest
//! is written last. Only `layout` builds keys.

pub mod id;
pub mod manifest;
