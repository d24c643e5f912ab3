//! Answers that are read as a whole have an end: a hook of the SDK that reads no more of them than any could need.
//!
//! The SDK gathers the body of a listing, of a report or of a refusal in memory before anybody sees it, however long it
//! comes. An object's own bytes are read by us, up to the size that it may have.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

/// A page of a thousand keys of a kilobyte each, every character of them escaped, takes a third of it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Many requests may be refused at once.
const MAX_REFUSAL_BYTES: usize = 256 * 1024;

/// The hook.
#[derive(Debug)]
pub(super) struct BoundAnswers;

#[dyn_dispatch_hint]
impl Intercept for BoundAnswers {
    fn name(&self) -> &'static str {
        "BoundAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let is_object = config
            .load::<Metadata>()
            .is_some_and(|operation| operation.name() == "GetObject");
        if !(is_object && response.status().is_success()) {
            let limit = if response.status().is_success() {
                MAX_ANSWER_BYTES
            } else {
                MAX_REFUSAL_BYTES
            };
            let body = response.take_body();
            *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, limit));
        }
        Ok(())
    }
}
