//! Builds the SDK's client: default credential chain, region, endpoint, time limits, retries.
//!
//! Request checksums are left to us (`WhenRequired`): bodies are in memory, so the signature covers their SHA-256, and the
//! trailing checksums that the SDK would add are refused by two of the stores we know. Response checksums are, too: a
//! reader that knows the digest has to see damaged bytes as damage, not as a store that cannot be read.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};

use super::counting::{CountRequests, Counters};
use super::options::S3Options;
use super::retry::RetryMore;
use crate::storage::{Error, ErrorKind, Result};

/// Longest pause between two attempts; pauses double from a second and are jittered.
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// Region that stores without regions take for granted.
const REGION_OF_NO_MATTER: &str = "us-east-1";

/// A client, and where it sends its requests, in words.
pub(super) async fn connect(options: &S3Options, counters: Arc<Counters>) -> Result<(Client, String)> {
    options.check()?;
    let shared = load(options).await;
    if shared.region().is_none() {
        return Err(Error::new(ErrorKind::Settings, "open", "").with_source(
            "no region: set it in the settings, in AWS_REGION or in the profile, or set the endpoint of a store that has none",
        ));
    }
    let place = match endpoint(options) {
        Some(endpoint) => format!("bucket '{}' at {endpoint}", options.bucket),
        None => format!(
            "bucket '{}' in {}",
            options.bucket,
            shared.region().map_or("", |region| region.as_ref())
        ),
    };
    let mut builder = Builder::from(&shared);
    // The store's alone: a web identity is exchanged at AWS whatever the store.
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let config = builder
        .force_path_style(options.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_classifier(RetryMore)
        .interceptor(CountRequests::new(counters))
        .build();
    Ok((Client::from_conf(config), place))
}

async fn load(options: &S3Options) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .operation_attempt_timeout(options.attempt_timeout)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(options.max_attempts)
        .with_max_backoff(MAX_BACKOFF);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region(options))
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(fixed) = &options.credentials {
        let mut credentials = Credentials::builder()
            .access_key_id(&fixed.access_key_id)
            .secret_access_key(&fixed.secret_access_key)
            .provider_name("settings");
        credentials.set_session_token(fixed.session_token.clone());
        loader = loader.credentials_provider(SharedCredentialsProvider::new(credentials.build()));
    }
    loader.load().await
}

/// Settings, environment, profile; then, for AWS itself, the instance; for any other store a region of no matter.
fn region(options: &S3Options) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build());
    if endpoint(options).is_some() {
        chain.or_else(Region::from_static(REGION_OF_NO_MATTER))
    } else {
        chain.or_else(aws_config::imds::region::ImdsRegionProvider::builder().build())
    }
}

/// From the settings or from the SDK's own variables.
fn endpoint(options: &S3Options) -> Option<String> {
    let from_environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut choices = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter();
    options.endpoint.clone().or_else(|| choices.find_map(from_environment))
}
