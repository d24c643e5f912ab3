//! Settings: one YAML file and `KUBEBACKUP_*` overrides, checked against one table into validated structs.
//!
//! Only `cli`, `agent` and the demo see them; the rooms below get options of their own. Nothing is read from the process:
//! file and environment are handed in. A connection string may hold a password, so `Debug` never shows one.

mod copies;
mod error;
mod load;
mod nearest;
mod schedule;
mod settings;
mod table;
mod template;
mod validate;
mod value;

pub use error::{Error, Result};
pub use load::load;
pub use schedule::Schedule;
pub use settings::{
    AgentSettings, AssertionSettings, BackupAgentSettings, BackupSettings, CopySettings, DrillSettings, Encryption,
    Location, LockMode, LogFormat, LogSettings, NotifyFormat, NotifySettings, NotifySuccess, ObjectiveSettings,
    PaceSetting, PruneSettings, RepositorySettings, RestoreAgentSettings, RetentionSettings, RunOn, Secret, Settings,
    SourceSettings, TargetSettings,
};
pub use table::{Kind, SETTINGS, Setting, markdown};
pub use template::{Placeholder, Template};
pub use value::{ByteSize, Span};
