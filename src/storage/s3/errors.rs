//! What a failed S3 request means.
//!
//! The SDK's error is not kept: its text is a dump, and what matters of it is the service's code and message, or the
//! innermost reasons of a failed connection. Neither holds secrets.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::delete_object::DeleteObjectError;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::get_object_lock_configuration::GetObjectLockConfigurationError;
use aws_sdk_s3::operation::get_object_retention::GetObjectRetentionError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::{RequestId as _, RequestIdExt as _};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::Error as S3KeyError;
use aws_smithy_runtime_api::client::interceptors::context::Error as InterceptorError;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;

use crate::storage::{Error, ErrorKind};

/// What stands behind an [`Error`] of the S3 store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// The service answered with an error.
    #[error("{0}")]
    Refused(Answer),
    /// No answer, or none that could be read.
    #[error("{reasons} ({place})")]
    NoAnswer { reasons: String, place: String },
}

#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    /// How the clocks differ, where that is what the service minds.
    clocks: Option<String>,
    place: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "status {}", self.status)?;
        if let Some(code) = &self.code {
            write!(formatter, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(formatter, ": {}", message.trim_end_matches('.'))?;
        }
        if let Some(clocks) = &self.clocks {
            write!(formatter, "; {clocks}")?;
        }
        write!(formatter, " ({}", self.place)?;
        if let Some(request_id) = &self.request_id {
            write!(formatter, ", request {request_id}")?;
        }
        formatter.write_str(")")
    }
}

/// The status and code of an answer, where there was one.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    pub(super) code: Option<&'a str>,
}

impl Refusal<'_> {
    /// The store does not know a header that was sent.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == 501 || self.code == Some("NotImplemented")
    }
}

/// What the service said, if it said anything.
pub(super) fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Refusal<'_>> {
    let response = error.raw_response()?;
    Some(Refusal {
        status: response.status().as_u16(),
        code: error.code(),
    })
}

/// The store refused who asks, not what was asked.
pub(super) fn is_of_credentials<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    refusal(error).is_some_and(|refusal| kind_of(refusal.status, refusal.code) == ErrorKind::Credentials)
}

/// Our error for the SDK's.
pub(super) fn translate<E>(operation: &'static str, key: &str, place: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let place = place.to_owned();
    let (kind, cause) = match (refusal(error), error) {
        (Some(Refusal { status, code }), SdkError::ServiceError(_)) => {
            let cause = Cause::Refused(Answer {
                status,
                code: code.map(str::to_owned),
                message: error.message().map(str::to_owned),
                request_id: error.request_id().or(error.extended_request_id()).map(str::to_owned),
                clocks: (code == Some(SKEWED)).then(|| clocks(error.raw_response(), jiff::Timestamp::now())),
                place,
            });
            (kind_of(status, code), cause)
        }
        _ => (
            kind_without_answer(error),
            Cause::NoAnswer {
                reasons: reasons(error) + trust(error),
                place,
            },
        ),
    };
    Error::new(kind, operation, key).with_source(cause)
}

/// The setting that helps where the store's certificate comes from nobody whom we trust.
fn trust(error: &(dyn StdError + 'static)) -> &'static str {
    let is_unknown = |error: &rustls::Error| {
        use rustls::CertificateError::{BadSignature, UnknownIssuer};
        // An authority that was made anew under its old name has signed nothing that fits the old one.
        matches!(error, rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature))
    };
    if chain(error).filter_map(of_tls).any(is_unknown) {
        "; the setting ca_file names the authority to trust"
    } else {
        ""
    }
}

/// What TLS says, which travels inside of an I/O error.
fn of_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => of_tls(error.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// Our error for what the answer to a batch says of one key, under a status of 200.
pub(super) fn of_one_key(operation: &'static str, key: &str, place: &str, said: &S3KeyError) -> Error {
    let (code, message) = (said.code().unwrap_or_default(), said.message().unwrap_or_default());
    // A batch tells no status a key; the code that every store sends for a refusal is that of a 403.
    let status = if code == "AccessDenied" { 403 } else { 400 };
    let cause = format!("{code}: {} ({place})", message.trim_end_matches('.'));
    Error::new(kind_of(status, said.code()), operation, key).with_source(cause)
}

/// What a single attempt's failure means, for counting; `status` is that of its answer, if any.
pub(super) fn kind_of_attempt(status: Option<u16>, error: &OrchestratorError<InterceptorError>) -> ErrorKind {
    match (error.as_operation_error(), status) {
        (Some(error), Some(status)) => kind_of(status, code_of(error)),
        _ if chain(error).any(<dyn StdError>::is::<CredentialsError>) => ErrorKind::Credentials,
        _ if error.is_timeout_error() || error.is_connector_error() || error.is_response_error() => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Other,
    }
}

/// The SDK erases the type of an attempt's error, and with it the way to its code.
fn code_of(error: &InterceptorError) -> Option<&str> {
    macro_rules! first_code {
        ($($type:ty),*) => {
            None$(.or_else(|| error.downcast_ref::<$type>().and_then(ProvideErrorMetadata::code)))*
        };
    }
    first_code!(
        PutObjectError,
        GetObjectError,
        HeadObjectError,
        ListObjectsV2Error,
        DeleteObjectError,
        DeleteObjectsError,
        GetObjectLockConfigurationError,
        GetObjectRetentionError
    )
}

/// An answer whose body broke off, stalled or was too short.
pub(super) fn broken_body(operation: &'static str, key: &str, place: &str, reasons: impl Into<String>) -> Error {
    let cause = Cause::NoAnswer {
        reasons: reasons.into(),
        place: place.to_owned(),
    };
    Error::new(ErrorKind::Unavailable, operation, key).with_source(cause)
}

/// The store found the body other than the digests that were sent with it.
pub(super) fn is_damage(code: &str) -> bool {
    matches!(
        code,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch"
    )
}

/// Another upload to the same key is under way; it may still fail, so this one has to ask again.
pub(super) const CONFLICT: &str = "ConditionalRequestConflict";

/// The request was signed by a clock that is too far from the store's.
const SKEWED: &str = "RequestTimeTooSkewed";

/// How this machine's clock, which says `now`, differs from the one that answered.
fn clocks(response: Option<&HttpResponse>, now: jiff::Timestamp) -> String {
    let date = response.and_then(|response| response.headers().get("date"));
    let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
    match date.map(|date| now.as_second() - date.secs()) {
        Some(seconds @ 1..) => format!("this machine's clock is {seconds} seconds ahead of the store's"),
        Some(seconds @ ..=-1) => format!("this machine's clock is {} seconds behind the store's", -seconds),
        // The answer may have passed somebody who put their own time into it.
        _ => "look at this machine's clock".to_owned(),
    }
}

/// Codes first, for stores agree on them better than on statuses (AWS answers 400 to an expired token).
pub(super) fn kind_of(status: u16, code: Option<&str>) -> ErrorKind {
    match code.unwrap_or_default() {
        code if is_damage(code) => ErrorKind::Checksum,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | SKEWED
        | "RequestExpired"
        | "InvalidSecurity"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "NotSignedUp"
        | "CredentialsNotSupported" => ErrorKind::Credentials,
        "NoSuchKey" | "NotFound" => ErrorKind::NotFound,
        "NoSuchBucket" => ErrorKind::NoBucket,
        // MinIO's disks and its quota of a bucket; Ceph's quota of a user or a bucket.
        "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded" => ErrorKind::Full,
        "InvalidRange" => ErrorKind::InvalidRange,
        "NotImplemented" => ErrorKind::Unsupported,
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestTimeout"
        | "ServiceUnavailable"
        | "InternalError"
        | "TooManyRequests"
        | "OperationAborted"
        | CONFLICT => ErrorKind::Unavailable,
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "InvalidBucketName"
        | "IllegalLocationConstraintException"
        | "IncorrectEndpoint" => ErrorKind::Settings,
        _ => kind_of_status(status),
    }
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        301 | 307 | 308 => ErrorKind::Settings,
        401 | 403 => ErrorKind::Denied,
        416 => ErrorKind::InvalidRange,
        501 => ErrorKind::Unsupported,
        507 => ErrorKind::Full,
        // Every store names what it does not have. Whoever says 404 and nothing else is no store: an ingress or a proxy
        // whose store is away, and an object that it does not have is not missing for that.
        404 | 408 | 429 | 500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

fn kind_without_answer<E>(error: &SdkError<E, HttpResponse>) -> ErrorKind
where
    E: StdError + Send + Sync + 'static,
{
    let credentials = chain(error).any(<dyn StdError>::is::<CredentialsError>);
    match error {
        _ if credentials => ErrorKind::Credentials,
        SdkError::ConstructionFailure(_) => ErrorKind::Settings,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// The SDK's names for the step that failed, which tell an operator nothing.
const STEPS: [&str; 4] = ["dispatch failure", "other", "io error", "client error (Connect)"];

/// The chain's texts on one line, innermost reasons last, without those that repeat what another says.
pub(super) fn reasons(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() && !STEPS.contains(&text.as_str()) && !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_before_statuses() {
        let cases = [
            (403, Some("InvalidAccessKeyId"), ErrorKind::Credentials),
            (403, Some("SignatureDoesNotMatch"), ErrorKind::Credentials),
            (400, Some("ExpiredToken"), ErrorKind::Credentials),
            (403, Some("RequestTimeTooSkewed"), ErrorKind::Credentials),
            (403, Some("AccessDenied"), ErrorKind::Denied),
            (403, None, ErrorKind::Denied),
            (404, Some("NotFound"), ErrorKind::NotFound),
            (404, None, ErrorKind::Unavailable),
            (404, Some("NoSuchBucket"), ErrorKind::NoBucket),
            (507, None, ErrorKind::Full),
            (507, Some("XMinioStorageFull"), ErrorKind::Full),
            (403, Some("QuotaExceeded"), ErrorKind::Full),
            (400, Some("XMinioAdminBucketQuotaExceeded"), ErrorKind::Full),
            (416, Some("InvalidRange"), ErrorKind::InvalidRange),
            (400, Some("BadDigest"), ErrorKind::Checksum),
            (400, Some("XAmzContentSHA256Mismatch"), ErrorKind::Checksum),
            (503, Some("SlowDown"), ErrorKind::Unavailable),
            (429, None, ErrorKind::Unavailable),
            (500, None, ErrorKind::Unavailable),
            (501, Some("NotImplemented"), ErrorKind::Unsupported),
            (400, Some("AuthorizationHeaderMalformed"), ErrorKind::Settings),
            (301, Some("PermanentRedirect"), ErrorKind::Settings),
            (400, Some("InvalidArgument"), ErrorKind::Other),
        ];
        for (status, code, expected) in cases {
            assert_eq!(kind_of(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn a_refusal_reads_in_one_line() {
        let cause = Cause::Refused(Answer {
            status: 403,
            code: Some("AccessDenied".to_owned()),
            message: Some("Access Denied.".to_owned()),
            request_id: None,
            clocks: None,
            place: "bucket 'b' at http://h".to_owned(),
        });
        assert_eq!(
            cause.to_string(),
            "status 403 AccessDenied: Access Denied (bucket 'b' at http://h)"
        );
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_its_distance() {
        let mut response = HttpResponse::new(403.try_into().unwrap(), aws_sdk_s3::primitives::SdkBody::empty());
        response.headers_mut().insert("date", "Mon, 01 Jan 2001 00:00:00 GMT");
        let told = |now: &str| clocks(Some(&response), now.parse().unwrap());
        assert_eq!(
            told("2001-01-01T02:00:00Z"),
            "this machine's clock is 7200 seconds ahead of the store's"
        );
        assert_eq!(
            told("2000-12-31T23:00:00Z"),
            "this machine's clock is 3600 seconds behind the store's"
        );
        assert_eq!(clocks(None, jiff::Timestamp::now()), "look at this machine's clock");
    }
}
