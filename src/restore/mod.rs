//! Rebuilding a database from the repository: guards, wipe, plan, load.
//!
//! A restore never overwrites what it did not find empty, checks each chunk's SHA-256 before a byte of it is used, and
//! ignores no error. The wipe, which destroys, demands every guard.

mod error;
pub mod guard;
mod large_objects;
mod load;
mod options;
pub mod plan;
mod post_data;
pub mod preflight;
mod report;
mod roles;
mod run;
mod selection;
pub mod wipe;

pub use error::{Error, Result};
pub use guard::{Guarded, Refusal, guard};
#[cfg(any(test, feature = "demo"))]
#[doc(hidden)]
pub use options::LoadFault;
pub use options::{RestoreOptions, RolesMode, Selection, TargetUse};
pub use report::{Phase, RestoreReport};
pub use run::{FIRST_WRITING_PHASE, check_before_wipe, restore_database};
pub use wipe::{WipeReport, wipe};
