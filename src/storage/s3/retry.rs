//! What is worth another attempt beyond the SDK's own list (connection failures, time-outs, 500, 502, 503, 504 and AWS's
//! throttling codes): stores that throttle with a bare 429, a body that the store found damaged on
//! arrival, a create-only upload that met another one under way, and a 404 that does not say what is missing: an ingress
//! whose store is away, or an answer that was damaged on its way.

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_smithy_runtime_api::client::interceptors::context::Error;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;

use super::errors::{CONFLICT, is_damage, kind_of};
use crate::storage::ErrorKind;

/// See the module.
#[derive(Debug)]
pub(super) struct RetryMore;

impl ClassifyRetry for RetryMore {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let status = context.response().map(|response| response.status().as_u16());
        if status == Some(429) {
            return RetryAction::throttling_error();
        }
        if status == Some(404) && (is_unclear::<GetObjectError>(error) || is_unclear::<ListObjectsV2Error>(error)) {
            return RetryAction::transient_error();
        }
        let put_error = error
            .as_operation_error()
            .and_then(|error| error.downcast_ref::<PutObjectError>());
        if put_error
            .and_then(|error| error.code())
            .is_some_and(|code| is_damage(code) || code == CONFLICT)
        {
            return RetryAction::transient_error();
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "RetryMore"
    }
}

/// Whether a 404 to this operation names nothing that is missing.
fn is_unclear<E>(error: &OrchestratorError<Error>) -> bool
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let error = error.as_operation_error().and_then(|error| error.downcast_ref::<E>());
    error.is_some_and(|error| {
        kind_of(404, error.code()) == ErrorKind::Unavailable && error.code() != Some("NoSuchVersion")
    })
}
