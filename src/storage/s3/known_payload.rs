//! Tells the signature the body's SHA-256 where it is known already, so that the SDK does not hash the body once more.
//!
//! The store checks the body against that digest as against one of the SDK's own: a wrong one is refused as damage.

use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sigv4::http_request::SignableBody;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

/// The digest of one request's body.
#[derive(Debug)]
pub(super) struct KnownPayload {
    sha256: String,
}

impl KnownPayload {
    pub(super) fn new(sha256: &[u8; 32]) -> Self {
        Self {
            sha256: hex::encode(sha256),
        }
    }
}

#[dyn_dispatch_hint]
impl Intercept for KnownPayload {
    fn name(&self) -> &'static str {
        "KnownPayload"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Credentials that sign nothing have no such settings.
        if let Some(mut signing) = settings.load::<SigV4OperationSigningConfig>().cloned() {
            signing.signing_options.payload_override = Some(SignableBody::Precomputed(self.sha256.clone()));
            settings.interceptor_state().store_put(signing);
        }
        Ok(())
    }
}
