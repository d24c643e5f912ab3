//! What is wrong with the settings: each names the setting and the mend, none shows a secret.

use std::path::PathBuf;

/// Result of anything done with settings.
pub type Result<T> = std::result::Result<T, Error>;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("read the settings file {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or not a mapping.
    #[error("the settings file {path} is not as it should be: {reason}")]
    Malformed { path: PathBuf, reason: String },
    /// A setting or variable that does not exist.
    #[error("unknown {what} '{name}'{}", .nearest.as_ref().map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default())]
    Unknown {
        /// `setting` or `environment variable`
        what: &'static str,
        name: String,
        nearest: Option<String>,
    },
    #[error("{key} {problem}")]
    Invalid { key: String, problem: String },
    /// A verb needs a setting that is not there.
    #[error("{key} is not set; set it in the settings file or as {variable}")]
    Missing { key: &'static str, variable: String },
}

impl Error {
    pub(super) fn invalid(key: &str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.to_owned(),
            problem: problem.into(),
        }
    }
}
