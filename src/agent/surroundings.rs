//! What a long-running agent gets from its process, and how it takes over new settings.

use std::fmt;

use super::error::{Error, Result};
use super::live::Live;
use crate::config::{self, Settings};
use crate::postgres::Environment;
use crate::signals::Signals;
use crate::telemetry::logging::LogLevel;

/// Reads the settings anew, from the file and the variables that the process began with.
pub type ReadSettings = Box<dyn Fn() -> config::Result<Settings> + Send + Sync>;

/// What an agent cannot make for itself.
pub struct Surroundings {
    pub signals: Signals,
    pub environment: Environment,
    pub read_settings: ReadSettings,
    pub log_level: LogLevel,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings {
    /// What SIGHUP asks for: the settings as they are now, or none when they cannot be used and the old ones stay. Says
    /// and counts either. `check` looks for what this agent needs beyond what all settings must be.
    pub fn reload(&self, live: &Live, check: impl FnOnce(&Settings) -> Result<()>) -> Option<Settings> {
        let read = (self.read_settings)().map_err(Error::from);
        let checked = read.and_then(|settings| check(&settings).map(|()| settings));
        match checked {
            Ok(settings) => {
                if let Err(error) = self.log_level.set(&settings.log.level) {
                    tracing::warn!(%error, "the log level stays as it was");
                }
                live.apply(&settings);
                live.count(|counts| counts.reloads += 1);
                tracing::info!("settings read anew");
                Some(settings)
            }
            Err(error) => {
                live.count(|counts| counts.refused_reloads += 1);
                tracing::error!(%error, "the new settings cannot be used; the old ones stay");
                None
            }
        }
    }
}
