//! Create-only uploads, on stores that honour `If-None-Match` and on those that do not.
//!
//! Until a probe has seen the condition honoured, a HEAD goes before every upload. That leaves a race on stores without
//! the condition; nothing above rests on it, for keys are digests or random. A store that answers "not implemented" to
//! one of our two optional headers is asked again without, and remembered.
//!
//! The SDK's time limits begin with the request and end with the first byte of its answer, so that the body's way up counts
//! too: a large one is given more time, or a slow line could never take it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::Digest as _;

use super::S3Store;
use super::errors::{refusal, translate};
use super::known_payload::KnownPayload;
use crate::storage::{Put, Result};

/// Bodies from this size on are hashed off the async threads.
const HASH_ASIDE_BYTES: usize = 256 * 1024;

/// An upload on its way at this rate is slow, and not lost.
const SLOWEST_BYTES_PER_SECOND: u64 = 128 * 1024;

/// The SDK keeps connections of their own for each time limit, so there are few: 2 s, 8 s, 32 s, 128 s, ... more.
const FEWEST_BYTES_MORE: u64 = 256 * 1024;
const TIMES_MORE: u64 = 4;

/// Headers that the store has answered "not implemented" to.
#[derive(Debug, Default)]
pub(super) struct Refused {
    condition: AtomicBool,
    checksum: AtomicBool,
}

/// The optional headers of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// `If-None-Match: *`
    pub(super) condition: bool,
    /// `x-amz-checksum-sha256`
    pub(super) checksum: bool,
}

impl Refused {
    fn note(&self, sent: Extras) {
        self.condition.fetch_or(!sent.condition, Ordering::Relaxed);
        self.checksum.fetch_or(!sent.checksum, Ordering::Relaxed);
    }

    fn strongest(&self) -> Extras {
        Extras {
            condition: !self.condition.load(Ordering::Relaxed),
            checksum: !self.checksum.load(Ordering::Relaxed),
        }
    }
}

impl Extras {
    /// What to try when the store does not implement one of the headers sent and does not say which.
    fn weaker(self, is_condition_needed: bool) -> Option<Self> {
        let (condition, checksum) = match (self.condition, self.checksum) {
            (true, true) => (is_condition_needed, !is_condition_needed),
            (false, true) => (true, false),
            (true, false) if !is_condition_needed => (false, false),
            _ => return None,
        };
        Some(Self { condition, checksum })
    }
}

impl S3Store {
    /// `sha256` is the body's, where it is known.
    pub(super) async fn put_create_only(&self, key: &str, body: Bytes, sha256: Option<[u8; 32]>) -> Result<Put> {
        let is_condition_honoured = self.capabilities.get().is_some_and(|known| known.create_only);
        if !is_condition_honoured && self.exists("put", key).await? {
            return Ok(Put::Exists);
        }
        let sha256 = match sha256 {
            Some(sha256) => sha256,
            None => sha256_of(&body).await,
        };
        let checksum = STANDARD.encode(sha256);
        let mut extras = self.refused.strongest();
        extras.condition |= is_condition_honoured;
        loop {
            let request = || {
                let put = self.put_object(key, body.clone(), extras, &checksum).customize();
                put.config_override(self.limits(body.len()))
                    .interceptor(KnownPayload::new(&sha256))
                    .send()
            };
            let Err(error) = self.send(request).await else {
                self.refused.note(extras);
                return Ok(Put::Created);
            };
            if extras.condition && refusal(&error).is_some_and(|refusal| refusal.status == 412) {
                return Ok(Put::Exists);
            }
            extras = match extras.weaker(is_condition_honoured) {
                Some(weaker) if refusal(&error).is_some_and(|refusal| refusal.is_not_implemented()) => weaker,
                // A store that has the object may say so before it has read the body, and hang up: that answer is lost to
                // whoever is still writing, at each attempt.
                _ if extras.condition && is_cut_off(&error) && self.exists("put", key).await.unwrap_or(false) => {
                    return Ok(Put::Exists);
                }
                _ => return Err(translate("put", key, &self.place, &error)),
            };
            tracing::debug!(key, ?extras, "the store does not implement a header, trying others");
        }
    }

    /// As long as any request, and the time for its body.
    fn limits(&self, bytes: usize) -> Builder {
        let more = time_for(bytes as u64);
        let limits = TimeoutConfig::builder()
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(self.options.read_timeout + more)
            .operation_attempt_timeout(self.options.attempt_timeout + more);
        Builder::default().timeout_config(limits.build())
    }

    /// The request for one upload, which signs the payload's hash.
    pub(super) fn put_object(&self, key: &str, body: Bytes, extras: Extras, checksum: &str) -> PutObjectFluentBuilder {
        let put = self
            .client
            .put_object()
            .bucket(&self.options.bucket)
            .key(self.full_key(key))
            .content_type("application/octet-stream")
            .set_if_none_match(extras.condition.then(|| "*".to_owned()))
            .set_checksum_sha256(extras.checksum.then(|| checksum.to_owned()))
            .body(ByteStream::from(body));
        self.protect(key, put)
    }
}

/// Whether the other side hung up while it was written to.
fn is_cut_off(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset))
}

/// What a body of so many bytes is given on its way, beside the time of any request.
pub(super) fn time_for(bytes: u64) -> Duration {
    if bytes <= FEWEST_BYTES_MORE / TIMES_MORE {
        return Duration::ZERO;
    }
    let mut counted = FEWEST_BYTES_MORE;
    while counted < bytes {
        counted = counted.saturating_mul(TIMES_MORE);
    }
    Duration::from_secs(counted / SLOWEST_BYTES_PER_SECOND)
}

pub(super) async fn sha256_base64(body: &Bytes) -> String {
    STANDARD.encode(sha256_of(body).await)
}

async fn sha256_of(body: &Bytes) -> [u8; 32] {
    let digest = if body.len() < HASH_ASIDE_BYTES {
        sha2::Sha256::digest(body)
    } else {
        let aside = body.clone();
        // Not to be had while the runtime shuts down: then here.
        tokio::task::spawn_blocking(move || sha2::Sha256::digest(&aside))
            .await
            .unwrap_or_else(|_| sha2::Sha256::digest(body))
    };
    digest.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_at_least_the_time_of_the_slowest_line_and_few_bodies_have_a_time_of_their_own() {
        let bytes = (0..64 << 20).step_by(100_003);
        let mut times: Vec<Duration> = bytes
            .map(|bytes: u64| {
                let time = time_for(bytes);
                let needed = Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
                assert!(
                    time >= needed && time <= needed * 4 + Duration::from_secs(2),
                    "{bytes}: {time:?}"
                );
                time
            })
            .collect();
        times.dedup();
        assert_eq!(times, [0, 2, 8, 32, 128, 512].map(Duration::from_secs));
        assert!(time_for(u64::MAX) >= Duration::from_secs(u64::MAX / SLOWEST_BYTES_PER_SECOND));
    }
}
