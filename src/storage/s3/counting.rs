//! Counts what goes over the wire, attempt by attempt, and reads the store's clock, through hooks of the SDK.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;

use super::errors::kind_of_attempt;
use super::timestamp;
use crate::storage::{Ended, Operation, Outcome, RequestStats};

/// Running totals of one store, and its time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: [AtomicU64; Operation::ALL.len()],
    ended: [[AtomicU64; Outcome::ALL.len()]; Operation::ALL.len()],
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// What the last answer that told a time said, and when it came by our steady clock.
    clock: Mutex<Option<(jiff::Timestamp, Instant)>>,
}

impl Counters {
    pub(super) fn add_received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request made again by us, which the SDK sees as a first attempt.
    pub(super) fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_ended(&self, operation: Operation, outcome: Outcome) {
        self.ended[operation.position()][outcome.position()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> RequestStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sent = |operation: Operation| read(&self.sent[operation.position()]);
        RequestStats {
            puts: sent(Operation::Put),
            gets: sent(Operation::Get),
            heads: sent(Operation::Head),
            lists: sent(Operation::List),
            deletes: sent(Operation::Delete),
            retries: read(&self.retries),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
            ended: Ended::from_fn(|operation, outcome| read(&self.ended[operation][outcome])),
        }
    }

    /// The store's time now.
    pub(super) fn now(&self) -> jiff::Timestamp {
        let told = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let running = told.and_then(|(time, at)| time.checked_add(at.elapsed()).ok());
        running.unwrap_or_else(jiff::Timestamp::now)
    }

    fn set_clock(&self, response: &HttpResponse) {
        let date = response.headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(time) = timestamp(date.as_ref()) {
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
        }
    }
}

fn operation_of(config: &ConfigBag) -> Operation {
    match config.load::<Metadata>().map_or("", Metadata::name) {
        "PutObject" => Operation::Put,
        "GetObject" => Operation::Get,
        "HeadObject" => Operation::Head,
        "ListObjectsV2" => Operation::List,
        "DeleteObject" | "DeleteObjects" => Operation::Delete,
        _ => Operation::Probe,
    }
}

/// The hook: called for every attempt, just before it is sent and when it has ended.
#[derive(Debug)]
pub(super) struct CountRequests {
    counters: Arc<Counters>,
}

impl CountRequests {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }
}

#[dyn_dispatch_hint]
impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "CountRequests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = operation_of(config);
        self.counters.sent[operation.position()].fetch_add(1, Ordering::Relaxed);
        if config
            .load::<RequestAttempts>()
            .is_some_and(|attempts| attempts.attempts() > 1)
        {
            self.counters.add_retry();
        }
        let sent = context.request().body().content_length().unwrap_or(0);
        self.counters.bytes_sent.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(response) = context.response() {
            self.counters.set_clock(response);
        }
        let operation = operation_of(config);
        let status = context.response().map(|response| response.status().as_u16());
        let outcome = match context.output_or_error() {
            // Its body is still to come; whoever reads it counts it.
            Some(Ok(_)) if operation == Operation::Get => return Ok(()),
            Some(Err(_)) if operation == Operation::Put && status == Some(412) => Outcome::Exists,
            Some(Err(error)) => Outcome::Failed(kind_of_attempt(status, error)),
            Some(Ok(_)) | None => Outcome::Ok,
        };
        self.counters.add_ended(operation, outcome);
        Ok(())
    }
}
