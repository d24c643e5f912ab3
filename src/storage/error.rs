//! Why a storage request failed, in terms of what a caller can do about it.

use std::error::Error as StdError;

/// Result of a storage request.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object does not exist.
    NotFound,
    /// The bucket does not exist, so that nothing is known of any object.
    NoBucket,
    /// The store has no room, or the bucket's quota is reached.
    Full,
    /// Credentials are missing, wrong or expired, or the clock is off.
    Credentials,
    /// The credentials are good but may not do this.
    Denied,
    /// A range outside the object.
    InvalidRange,
    /// The object is larger than what was asked for may be.
    TooLarge,
    /// The store found the body damaged on arrival.
    Checksum,
    /// Time-out, connection failure, throttling or a server error, after all retries.
    Unavailable,
    /// The store does not implement the request.
    Unsupported,
    /// Settings that cannot work: endpoint, region, bucket name.
    Settings,
    /// Anything else.
    Other,
}

/// A failed storage request.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of '{key}': {}", .kind.as_text())]
pub struct Error {
    pub kind: ErrorKind,
    /// `put`, `get`, `head`, `list`, `delete`, ...
    pub operation: &'static str,
    /// The key or prefix, relative to the store.
    pub key: String,
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ErrorKind {
    fn as_text(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::NoBucket => "there is no such bucket",
            Self::Full => "the store is full",
            Self::Credentials => "credentials refused",
            Self::Denied => "access denied",
            Self::InvalidRange => "range outside the object",
            Self::TooLarge => "larger than it may be",
            Self::Checksum => "body damaged on the way",
            Self::Unavailable => "store unavailable",
            Self::Unsupported => "not supported by the store",
            Self::Settings => "settings cannot work",
            Self::Other => "request failed",
        }
    }
}

impl Error {
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, key: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            key: key.into(),
            source: None,
        }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An object of `bytes` where at most `limit` were wanted.
    pub(super) fn too_large(operation: &'static str, key: &str, bytes: u64, limit: u64) -> Self {
        let reason = format!("it has {bytes} bytes or more, at most {limit} are read");
        Self::new(ErrorKind::TooLarge, operation, key).with_source(reason)
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind == ErrorKind::TooLarge
    }

    /// The store answers, and says no to who asks.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, ErrorKind::Credentials | ErrorKind::Denied)
    }

    /// Nobody has answered, or only that it cannot be done now.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// Not this object is at fault, but where it was looked for.
    #[must_use]
    pub fn is_of_place(&self) -> bool {
        matches!(self.kind, ErrorKind::NoBucket | ErrorKind::Settings)
    }

    /// A later run may meet a better store; the operator need not act first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Checksum)
    }
}
