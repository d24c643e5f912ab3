//! What a long-running agent gets from its process, and how it takes over new settings.

use std::fmt;
use std::net::SocketAddr;

use super::error::{Error, Result};
use super::live::Live;
use crate::config::{self, LogFormat, Settings};
use crate::postgres::Environment;
use crate::signals::Signals;
use crate::telemetry::logging::LogLevel;

/// Reads the settings anew, from the file and the variables that the process began with.
pub type ReadSettings = Box<dyn Fn() -> config::Result<Settings> + Send + Sync>;

/// What the process took from its settings for as long as it lives.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pub listen: SocketAddr,
    pub log_format: LogFormat,
}

impl Fixed {
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            listen: settings.agent.listen,
            log_format: settings.log.format,
        }
    }

    /// The settings that say something else and are in force from the next start on.
    fn changed_by(self, settings: &Settings) -> Vec<&'static str> {
        let new = Self::of(settings);
        let compared = [
            ("agent.listen", new.listen != self.listen),
            ("log.format", new.log_format != self.log_format),
        ];
        let changed = compared.into_iter().filter(|(_, has_changed)| *has_changed);
        changed.map(|(name, _)| name).collect()
    }
}

/// What an agent cannot make for itself.
pub struct Surroundings {
    pub fixed: Fixed,
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
                self.take_over(&settings, live);
                live.count(|counts| counts.reloads += 1);
                tracing::info!("settings read anew");
                self.tell_what_waits(&settings);
                Some(settings)
            }
            Err(error) => {
                live.count(|counts| counts.refused_reloads += 1);
                tracing::error!(%error, "the new settings cannot be used; the old ones stay");
                None
            }
        }
    }

    /// The first settings that can be used, of an agent that had to wait for them. The port is opened after that.
    pub fn begin_with(&mut self, settings: &Settings, live: &Live) {
        self.fixed.listen = settings.agent.listen;
        self.take_over(settings, live);
        live.wait_for_settings(None);
        tracing::info!("settings that can be used are there");
        self.tell_what_waits(settings);
    }

    fn take_over(&self, settings: &Settings, live: &Live) {
        if let Err(error) = self.log_level.set(&settings.log.level) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        live.apply(settings);
    }

    fn tell_what_waits(&self, settings: &Settings) {
        let changed = self.fixed.changed_by(settings).join(", ");
        if !changed.is_empty() {
            tracing::warn!(settings = changed, "changed, and in force from the next start on");
        }
    }
}
