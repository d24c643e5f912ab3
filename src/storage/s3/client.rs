//! Builds the SDK's client: default credential chain, region, endpoint, certificates to trust, time limits, retries.
//!
//! Request checksums are left to us (`WhenRequired`): bodies are in memory, so the signature covers their SHA-256, and the
//! trailing checksums that the SDK would add are refused by two of the stores we know. Response checksums are, too: a
//! reader that knows the digest has to see damaged bytes as damage, not as a store that cannot be read.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, ProvideCredentials as _, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};

use super::bounded::BoundAnswers;
use super::counting::{CountRequests, Counters};
use super::credentials::FreshCredentials;
use super::options::{S3Credentials, S3Options};
use super::retry::RetryMore;
use super::trust;
use crate::storage::{Error, ErrorKind, Result};

/// Longest pause between two attempts; pauses double from a second and are jittered.
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// Region that stores without regions take for granted.
const REGION_OF_NO_MATTER: &str = "us-east-1";

/// What a store asks with.
pub(super) struct Connected {
    pub(super) client: Client,
    /// Where it sends its requests, in words.
    pub(super) place: String,
    /// None for fixed ones.
    pub(super) credentials: Option<FreshCredentials>,
}

/// Builds a client; makes no request to the store.
pub(super) async fn connect(options: &S3Options, counters: Arc<Counters>) -> Result<Connected> {
    options.check()?;
    let shared = load(options, region(options)).await;
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
    let mut credentials = None;
    if let Some(fixed) = &options.credentials {
        builder = builder.credentials_provider(fixed_credentials(fixed));
    } else {
        let fresh = fresh_credentials(options, shared.region().cloned());
        // It keeps what it found by itself, and would be asked too seldom by a cache over it.
        builder = builder
            .credentials_provider(fresh.clone())
            .identity_cache(IdentityCache::no_cache());
        credentials = Some(fresh);
    }
    if let Some(path) = &options.ca_file {
        builder = builder.http_client(trust::client_that_trusts(path)?);
    }
    // The store's alone: a web identity is exchanged at AWS whatever the store.
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let config = builder
        .force_path_style(options.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_partition(every_attempt())
        .retry_classifier(RetryMore)
        .interceptor(CountRequests::new(counters))
        .interceptor(BoundAnswers)
        .build();
    Ok(Connected {
        client: Client::from_conf(config),
        place,
        credentials,
    })
}

/// The SDK lends all clients of a process some fifty retries at a time, and gives them back one by one as requests
/// succeed: whoever comes to the store after an outage, or when many connections break at once, would have a single
/// attempt. Our few workers and the pauses between their attempts ask no more of a store than it can bear.
fn every_attempt() -> RetryPartition {
    RetryPartition::custom("kubebackup")
        .token_bucket(TokenBucket::unlimited())
        .build()
}

fn fixed_credentials(fixed: &S3Credentials) -> Credentials {
    let mut credentials = Credentials::builder()
        .access_key_id(&fixed.access_key_id)
        .secret_access_key(&fixed.secret_access_key)
        .provider_name("settings");
    credentials.set_session_token(fixed.session_token.clone());
    credentials.build()
}

/// The profile of the settings and nothing else, or the SDK's default chain; built anew for every look at it.
fn fresh_credentials(options: &S3Options, region: Option<Region>) -> FreshCredentials {
    let options = options.clone();
    FreshCredentials::new(move || {
        let (options, region) = (options.clone(), region.clone());
        async move {
            if let Some(profile) = &options.profile {
                return of_profile(profile, region).provide_credentials().await;
            }
            let shared = load(&options, region).await;
            let chain = shared.credentials_provider();
            let chain = chain.ok_or_else(|| CredentialsError::not_loaded("there is no credential chain"))?;
            chain.provide_credentials().await
        }
    })
}

/// In the chain the environment goes before any profile, also before one that was asked for by name: each place would be
/// reached with the credentials that happen to stand there.
fn of_profile(name: &str, region: Option<Region>) -> ProfileFileCredentialsProvider {
    ProfileFileCredentialsProvider::builder()
        .configure(&ProviderConfig::without_region().with_region(region))
        .profile_name(name)
        .build()
}

async fn load(options: &S3Options, region: impl ProvideRegion + 'static) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .operation_attempt_timeout(options.attempt_timeout)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(options.max_attempts)
        .with_max_backoff(MAX_BACKOFF);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
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
