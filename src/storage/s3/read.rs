//! Reading a body into one buffer, and again when it breaks off.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::S3Store;
use super::errors::{broken_body, reasons, translate};
use super::put::time_for;
use crate::storage::{Error, ErrorKind, Operation, Outcome, Result};

/// First pause before a body is asked for again; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Largest buffer that is reserved on the word of a header alone.
const MAX_RESERVED_BYTES: u64 = 64 * 1024 * 1024;

/// How much of an object.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// All of it, unless it is larger.
    AtMost(u64),
    /// Not empty.
    Range(Range<u64>),
}

impl Wanted {
    fn range(&self) -> Option<&Range<u64>> {
        match self {
            Self::AtMost(_) => None,
            Self::Range(range) => Some(range),
        }
    }

    /// What an answer may hold.
    fn limit(&self) -> u64 {
        match self {
            Self::AtMost(limit) => *limit,
            Self::Range(range) => range.end - range.start,
        }
    }
}

impl S3Store {
    /// The object or a range of it. The SDK's retries end with the answer's headers; a body that breaks off
    /// after them is asked for again here, as often as any request.
    pub(super) async fn read(&self, operation: &'static str, key: &str, wanted: Wanted) -> Result<Bytes> {
        let range = wanted.range();
        let mut attempt = 1;
        loop {
            let answer = self.request(operation, key, range).await?;
            let collected = self.collect(operation, key, answer, wanted.limit()).await;
            self.counters.add_ended(Operation::Get, Outcome::of(&collected));
            match collected {
                Ok(body) => return check_length(operation, key, &self.place, body, range),
                Err(error) if error.kind == ErrorKind::TooLarge => return Err(error),
                Err(error) if attempt >= self.options.max_attempts => return Err(error),
                Err(error) => {
                    tracing::debug!(key, attempt, error = %reasons(&error), "body broke off, asking again");
                    tokio::time::sleep(pause(attempt)).await;
                    self.counters.add_retry();
                    attempt += 1;
                }
            }
        }
    }

    async fn request(&self, operation: &'static str, key: &str, range: Option<&Range<u64>>) -> Result<GetObjectOutput> {
        let request = || {
            self.client
                .get_object()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
                .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1))))
                .send()
        };
        let answer = self.send(request).await;
        answer.map_err(|error| translate(operation, key, &self.place, &error))
    }

    /// A body that arrives in one piece is handed over as that piece; others are put together in one buffer. One that is
    /// longer than `limit` is not read, or, where no length was announced, no further than that. One that only drips is
    /// given up: it has as long as an upload of its size.
    pub(super) async fn collect(
        &self,
        operation: &'static str,
        key: &str,
        answer: GetObjectOutput,
        limit: u64,
    ) -> Result<Bytes> {
        let broken = |reasons: String| broken_body(operation, key, &self.place, reasons);
        let announced = answer.content_length().and_then(|length| u64::try_from(length).ok());
        if let Some(bytes) = announced.filter(|bytes| *bytes > limit) {
            return Err(Error::too_large(operation, key, bytes, limit));
        }
        let mut body = answer.body;
        let patience = self.options.attempt_timeout + time_for(announced.unwrap_or(limit));
        let given_up = Instant::now() + patience;
        let mut received = 0;
        let mut first = None;
        let mut collected = BytesMut::new();
        loop {
            let silent = Instant::now() + self.options.read_timeout;
            let next = tokio::time::timeout_at(silent.min(given_up), body.next()).await;
            let next = next.map_err(|_| {
                broken(if silent < given_up {
                    "the body stalled".to_owned()
                } else {
                    too_slow(received, patience)
                })
            })?;
            let Some(piece) = next else { break };
            let piece = piece.map_err(|error| broken(reasons(&error)))?;
            self.counters.add_received(piece.len() as u64);
            received += piece.len() as u64;
            if received > limit {
                return Err(Error::too_large(operation, key, received, limit));
            }
            if first.is_none() {
                first = Some(piece);
                continue;
            }
            if collected.is_empty() {
                let reserved = announced.unwrap_or(0).min(MAX_RESERVED_BYTES);
                collected.reserve(usize::try_from(reserved).unwrap_or(0));
                collected.extend_from_slice(first.as_deref().unwrap_or_default());
            }
            collected.extend_from_slice(&piece);
        }
        let whole = match first {
            Some(first) if collected.is_empty() => first,
            _ => collected.freeze(),
        };
        match announced {
            Some(announced) if announced != whole.len() as u64 => {
                Err(broken(format!("{} of {announced} bytes came", whole.len())))
            }
            _ => Ok(whole),
        }
    }
}

fn too_slow(received: u64, patience: Duration) -> String {
    format!(
        "the body came too slowly: {received} bytes in {:.1} s; repository.attempt_timeout gives it more time",
        patience.as_secs_f64()
    )
}

/// S3 cuts a range that begins inside the object at its end; callers asked for all of it.
fn check_length(
    operation: &'static str,
    key: &str,
    place: &str,
    body: Bytes,
    range: Option<&Range<u64>>,
) -> Result<Bytes> {
    let expected = range.map_or(body.len() as u64, |range| range.end - range.start);
    if body.len() as u64 == expected {
        return Ok(body);
    }
    let problem = format!("{} bytes where {expected} were asked for ({place})", body.len());
    Err(Error::new(ErrorKind::InvalidRange, operation, key).with_source(problem))
}

/// Doubling with jitter, before a request is made again by us, so that workers whose bodies broke together do not come back together.
pub(super) fn pause(attempt: u32) -> Duration {
    let whole = FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(6) - 1);
    whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
