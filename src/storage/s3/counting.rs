//! Counts what goes over the wire, attempt by attempt, through a hook of the SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;

use crate::storage::RequestStats;

/// Running totals of one store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    others: AtomicU64,
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(super) fn add_received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A GET made again by us because its body broke off; the SDK sees it as a first attempt.
    pub(super) fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> RequestStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestStats {
            puts: read(&self.puts),
            gets: read(&self.gets),
            heads: read(&self.heads),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
            retries: read(&self.retries),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
        }
    }

    fn of_operation(&self, operation: &str) -> &AtomicU64 {
        match operation {
            "PutObject" => &self.puts,
            "GetObject" => &self.gets,
            "HeadObject" => &self.heads,
            "ListObjectsV2" => &self.lists,
            "DeleteObject" => &self.deletes,
            _ => &self.others,
        }
    }
}

/// The hook: called once for every attempt, just before it is sent.
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
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        self.counters.of_operation(operation).fetch_add(1, Ordering::Relaxed);
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
}
