//! What can go wrong with one call.

use std::fmt;

/// What a proxy does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is closed without a word; nothing is passed on.
    Refuse,
    /// Never an answer; nothing is passed on.
    Hang,
    /// Both bodies at so many bytes a second.
    Slow(u64),
    /// The request breaks off after so many bytes of its body.
    CutRequest(u64),
    /// The answer breaks off after so many bytes of its body.
    CutAnswer(u64),
    /// Nothing more of the answer comes after so many bytes of its body.
    StallAnswer(u64),
    /// A bit in the middle of the request's body is flipped.
    CorruptRequest,
    /// A bit in the middle of the answer's body is flipped.
    CorruptAnswer,
    /// The store says no; nothing is passed on.
    Answer(Refusal),
    /// All is done and the connection closed instead of an answer.
    LoseAnswer,
    /// A listing is answered as the last time that it was asked before; one that was not, as it is.
    Stale,
}

/// An error as a store answers it; without a code, as somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

/// Those that stores are known to give.
pub(crate) mod refusals {
    use super::{Fault, Refusal};

    const fn answer(status: u16, code: &'static str) -> Fault {
        Fault::Answer(Refusal { status, code })
    }

    /// As of a key management service whose key is disabled, or of an ingress that does not like a header.
    pub(crate) const BAD_REQUEST: Fault = answer(400, "KMS.DisabledException");
    pub(crate) const INTERNAL_ERROR: Fault = answer(500, "InternalError");
    pub(crate) const NOT_IMPLEMENTED: Fault = answer(501, "NotImplemented");
    /// To a page for people to log in, say.
    pub(crate) const MOVED: Fault = answer(302, "");
    pub(crate) const UNAVAILABLE: Fault = answer(503, "ServiceUnavailable");
    /// The body of a request did not come in time.
    pub(crate) const REQUEST_TIMEOUT: Fault = answer(400, "RequestTimeout");
    pub(crate) const SLOW_DOWN: Fault = answer(503, "SlowDown");
    pub(crate) const DENIED: Fault = answer(403, "AccessDenied");
    pub(crate) const EXPIRED_TOKEN: Fault = answer(403, "ExpiredToken");
    /// By the clock of who asks.
    pub(crate) const SKEWED: Fault = answer(403, "RequestTimeTooSkewed");
    pub(crate) const NO_SUCH_KEY: Fault = answer(404, "NoSuchKey");
    pub(crate) const NO_SUCH_BUCKET: Fault = answer(404, "NoSuchBucket");
    /// An ingress or a proxy whose store is away.
    pub(crate) const NOT_A_STORE: Fault = answer(404, "");
    /// As MinIO says that its disks are full.
    pub(crate) const STORAGE_FULL: Fault = answer(507, "XMinioStorageFull");
    /// As MinIO says that the bucket may hold no more.
    pub(crate) const BUCKET_QUOTA: Fault = answer(400, "XMinioAdminBucketQuotaExceeded");
    /// As Ceph says that the user or the bucket may hold no more.
    pub(crate) const QUOTA_EXCEEDED: Fault = answer(403, "QuotaExceeded");
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(Refusal { status, code }) => write!(formatter, "{status} {code}"),
            other => write!(formatter, "{other:?}"),
        }
    }
}
