//! Where the rooms are put together: settings become options, options become a run.
//!
//! One function a verb, which the command line calls; the two that run until they are told to end are the agents. Nothing
//! is printed here.

mod backoff;
mod backup;
mod backup_agent;
mod check;
mod choose;
mod compare;
mod copy;
mod diff;
mod drift;
mod drift_view;
mod drill;
mod error;
mod live;
mod meaning;
mod notify;
mod open;
mod overview;
mod restore;
mod restore_agent;
mod retention;
mod roots;
mod store_counts;
mod surroundings;
mod verify;
mod view;

pub use backup::{BackupOverrides, backup, backup_options};
pub use backup_agent::{backup_agent, check_settings as check_backup_agent, first_settings};
pub use check::{Finding, Level, check};
pub use choose::{BackupChoice, choose_backup, choose_database, choose_databases};
pub use compare::{CompareRequest, Compared, compare};
pub use copy::{Copied, copy};
pub use diff::{Diffed, diff};
pub use drift::{AcceptedDrift, accept_drift};
pub use drill::{DrillOverrides, drill};
pub use error::{Error, Result};
pub use live::{Live, LiveProgress, RunEnd};
pub use meaning::{Class, Meaning, Next, Severity};
pub use open::{
    RestoreTarget, Target, create_repository, drill_target, open_repository, open_store, restore_target, source,
};
pub use overview::{BackupLine, overview};
pub use restore::{RestoreRequest, Restored, restore};
pub use restore_agent::{check_settings as check_restore_agent, restore_agent};
pub use retention::{accept_hidden, expire, hold, prune, unhold};
pub use surroundings::{Fixed, ReadSettings, Surroundings};
pub use verify::verify;
pub use view::View;
