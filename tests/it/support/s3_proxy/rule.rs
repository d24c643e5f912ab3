//! Which calls a scripted fault strikes.

use super::{Call, Fault};

/// A fault, and the calls that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Any when none.
    pub(crate) operation: Option<&'static str>,
    /// Beginning of the key in the bucket, or of the prefix of a listing.
    pub(crate) key_prefix: String,
    /// Matching calls that pass before it strikes.
    pub(crate) after: usize,
    /// Matching calls that it strikes.
    pub(crate) times: usize,
    pub(crate) fault: Fault,
}

impl Rule {
    /// Strikes the first matching call.
    pub(crate) fn first(operation: &'static str, key_prefix: impl Into<String>, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            ..Self::any(key_prefix, fault)
        }
    }

    /// Strikes the first call about such a key, whatever it asks.
    pub(crate) fn any(key_prefix: impl Into<String>, fault: Fault) -> Self {
        Self {
            operation: None,
            key_prefix: key_prefix.into(),
            after: 0,
            times: 1,
            fault,
        }
    }

    /// Lets so many matching calls pass before.
    pub(crate) fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Strikes so many matching calls in a row.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Strikes every matching call from there on.
    pub(crate) fn always(self) -> Self {
        self.times(usize::MAX)
    }

    pub(super) fn is_for(&self, call: &Call) -> bool {
        self.operation.is_none_or(|operation| operation == call.operation) && call.key.starts_with(&self.key_prefix)
    }

    /// Whether it strikes the matching call of this number, counted from 0.
    pub(super) fn strikes(&self, number: usize) -> bool {
        number >= self.after && number - self.after < self.times
    }
}
