//! What is worth another attempt beyond the SDK's own list (connection failures, time-outs, 500, 502, 503, 504 and AWS's
//! throttling codes): stores that throttle with a bare 429, a body that the store found damaged on
//! arrival, and a create-only upload that met another one under way.

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::put_object::PutObjectError;

use super::errors::{CONFLICT, is_damage};

/// See the module.
#[derive(Debug)]
pub(super) struct RetryMore;

impl ClassifyRetry for RetryMore {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        if context
            .response()
            .is_some_and(|response| response.status().as_u16() == 429)
        {
            return RetryAction::throttling_error();
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
