//! What follows backups by the setting `retention.after_backup`: where it is, and how it ended before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Expiry and prune in a backup agent, beside its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentRetention>,
    /// The newest that came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_succeeded: Option<SucceededRetention>,
    /// The newest that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<FailedRetention>,
}

/// The one that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentRetention {
    pub started: Timestamp,
    /// `expire` or `prune`.
    pub step: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SucceededRetention {
    pub started: Timestamp,
    pub finished: Timestamp,
    pub expired_backups: u64,
    pub deleted_objects: u64,
    /// What should have gone and the store kept.
    pub retained_objects: u64,
    /// Why the store kept it, or why no chunk was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRetention {
    pub started: Timestamp,
    pub finished: Timestamp,
    pub message: String,
}

impl RetentionStatus {
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The newest failure, while nothing has come to its end since.
    #[must_use]
    pub fn failing(&self) -> Option<&FailedRetention> {
        let failed = self.last_failed.as_ref()?;
        let succeeded = self.last_succeeded.as_ref();
        succeeded
            .is_none_or(|succeeded| succeeded.finished < failed.finished)
            .then_some(failed)
    }
}
