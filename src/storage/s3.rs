//! A bucket, or a prefix of one, through the AWS SDK.
//!
//! Bodies go up from memory with a signed payload hash and an explicit SHA-256; they come down into one buffer. Failed
//! requests that are worth it are made again by the SDK, with back-off and jitter; a body that breaks off on its way down
//! is asked for again here. What the store can do is probed once and then relied upon.

mod bounded;
mod bucket;
mod client;
mod counting;
mod credentials;
mod delete;
mod errors;
mod known_payload;
mod options;
mod probe;
mod protection;
mod put;
mod read;
mod retry;
mod trust;
mod versions;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::{HeadObjectError, HeadObjectOutput};
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumMode, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::key::check_key;
use super::{
    BucketReport, Capabilities, Error, ErrorKind, Hidden, LockPeriod, ObjectMeta, ObjectStore, Page, Put, RequestStats,
    Result, Versions,
};
use counting::Counters;
use credentials::FreshCredentials;
use errors::{is_of_credentials, refusal, translate};
pub use options::{S3Credentials, S3Options};
pub use protection::{Encryption, Lock, LockMode, Protection};
use put::Refused;
use read::Wanted;

/// Keys that one listing request may return, by the protocol.
const MAX_PAGE: usize = 1000;

/// A bucket below a prefix.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    credentials: Option<FreshCredentials>,
    options: S3Options,
    key_prefix: String,
    /// Bucket and endpoint in words, for errors.
    place: String,
    counters: Arc<Counters>,
    capabilities: OnceCell<Capabilities>,
    refused: Refused,
    /// Requests that delete several keys are not to be had here.
    deletes_singly: AtomicBool,
}

impl S3Store {
    /// Prepares a client; makes no request to the store.
    ///
    /// # Errors
    /// `Settings` when no region is to be had or an option cannot work.
    pub async fn open(options: S3Options) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let connected = client::connect(&options, counters.clone()).await?;
        Ok(Self {
            client: connected.client,
            credentials: connected.credentials,
            key_prefix: options.key_prefix(),
            options,
            place: connected.place,
            counters,
            capabilities: OnceCell::new(),
            refused: Refused::default(),
            deletes_singly: AtomicBool::new(false),
        })
    }

    /// Bucket, prefix and endpoint, in words.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.key_prefix)
    }

    /// Sends a request; a second time where the store refused credentials that have been replaced since.
    async fn send<T, E, F>(&self, request: impl Fn() -> F + Send) -> std::result::Result<T, SdkError<E, HttpResponse>>
    where
        T: Send,
        E: ProvideErrorMetadata + Send,
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let Some(credentials) = &self.credentials else {
            return request().await;
        };
        let used = credentials.used().await;
        match request().await {
            Err(error) if is_of_credentials(&error) && credentials.have_changed_since(&used).await => {
                self.counters.add_retry();
                request().await
            }
            answer => answer,
        }
    }

    async fn ask_head(
        &self,
        key: &str,
    ) -> std::result::Result<HeadObjectOutput, SdkError<HeadObjectError, HttpResponse>> {
        let request = || {
            self.client
                .head_object()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
                .checksum_mode(ChecksumMode::Enabled)
                .send()
        };
        self.send(request).await
    }

    /// Whether the object is there. A HEAD's refusal carries no code, so a GET of one byte is asked for the reason.
    async fn exists(&self, operation: &'static str, key: &str) -> Result<bool> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(Error { operation, ..error }),
        }
    }

    async fn explain_head(&self, key: &str, denied: Error) -> Error {
        match self.read("head", key, Wanted::Range(0..1)).await {
            Err(explained) if matches!(explained.kind, ErrorKind::Credentials | ErrorKind::Denied) => explained,
            _ => denied,
        }
    }

    fn meta_of_listed(&self, object: &Object) -> Result<ObjectMeta> {
        let wrong = |problem: &str| {
            Error::new(ErrorKind::Other, "list", object.key().unwrap_or_default())
                .with_source(format!("{problem} ({})", self.place))
        };
        let key = object.key().ok_or_else(|| wrong("an object without a key"))?;
        let key = key
            .strip_prefix(&self.key_prefix)
            .ok_or_else(|| wrong("a key outside the prefix"))?;
        Ok(ObjectMeta {
            key: key.to_owned(),
            bytes: size(object.size()).ok_or_else(|| wrong("an object without a size"))?,
            modified: timestamp(object.last_modified()).ok_or_else(|| wrong("an object without a time"))?,
            sha256: None,
        })
    }

    fn meta_of_head(&self, key: &str, head: &HeadObjectOutput) -> Result<ObjectMeta> {
        let wrong = |problem: &str| {
            Error::new(ErrorKind::Other, "head", key).with_source(format!("{problem} ({})", self.place))
        };
        Ok(ObjectMeta {
            key: key.to_owned(),
            bytes: size(head.content_length()).ok_or_else(|| wrong("an object without a size"))?,
            modified: timestamp(head.last_modified()).ok_or_else(|| wrong("an object without a time"))?,
            sha256: head.checksum_sha256().and_then(whole_object_sha256),
        })
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        check_key("put", key)?;
        self.put_create_only(key, body, None).await
    }

    async fn put_new_of_digest(&self, key: &str, body: Bytes, sha256: [u8; 32]) -> Result<Put> {
        check_key("put", key)?;
        self.put_create_only(key, body, Some(sha256)).await
    }

    async fn get_at_most(&self, key: &str, limit: u64) -> Result<Bytes> {
        check_key("get", key)?;
        self.read("get", key, Wanted::AtMost(limit)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        check_key("get", key)?;
        // HTTP has no way to say an empty range.
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.read("get", key, Wanted::Range(range)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        check_key("head", key)?;
        let error = match self.ask_head(key).await {
            Ok(head) => return self.meta_of_head(key, &head),
            Err(error) => error,
        };
        let is_bare_refusal = refusal(&error).is_some_and(|refusal| matches!(refusal.status, 400 | 403));
        let error = translate("head", key, &self.place, &error);
        if !is_bare_refusal {
            return Err(error);
        }
        let version = || self.credentials.as_ref().map(FreshCredentials::version);
        let before = version();
        let error = self.explain_head(key, error).await;
        if version() == before {
            return Err(error);
        }
        // The refusal was one of credentials, and asking for its reason has found others.
        let head = self.ask_head(key).await;
        let head = head.map_err(|error| translate("head", key, &self.place, &error))?;
        self.meta_of_head(key, &head)
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page> {
        let max_keys = i32::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(i32::MAX);
        let request = || {
            self.client
                .list_objects_v2()
                .bucket(&self.options.bucket)
                .prefix(self.full_key(prefix))
                .set_start_after(start_after.map(|key| self.full_key(key)))
                .max_keys(max_keys)
                .send()
        };
        let answer = self.send(request).await;
        let answer = answer.map_err(|error| translate("list", prefix, &self.place, &error))?;
        let objects = answer
            .contents()
            .iter()
            .map(|object| self.meta_of_listed(object))
            .collect::<Result<Vec<_>>>()?;
        // A full page of a store that does not say so may not be the last.
        let is_full = i32::try_from(objects.len()).is_ok_and(|number| number >= max_keys);
        let truncated = answer.is_truncated().unwrap_or(is_full);
        if truncated && objects.is_empty() {
            // Nothing to continue after: a caller would ask the same for ever, or believe that this was all.
            return Err(Error::new(ErrorKind::Other, "list", prefix)
                .with_source(format!("an empty page that is not the last ({})", self.place)));
        }
        if let Some(start) = start_after
            && objects.iter().any(|object| object.key.as_str() <= start)
        {
            // It would tell the same again and again.
            return Err(Error::new(ErrorKind::Other, "list", prefix).with_source(format!(
                "the store's listing does not go on after '{start}' ({})",
                self.place
            )));
        }
        Ok(Page { objects, truncated })
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key("delete", key)?;
        let request = || {
            self.client
                .delete_object()
                .bucket(&self.options.bucket)
                .key(self.full_key(key))
                .send()
        };
        match self.send(request).await {
            Ok(_) => Ok(()),
            Err(error) if refusal(&error).is_some_and(|refusal| refusal.code == Some("NoSuchKey")) => Ok(()),
            Err(error) => Err(translate("delete", key, &self.place, &error)),
        }
    }

    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>> {
        keys.iter().try_for_each(|key| check_key("delete", key))?;
        self.delete_in_batches(keys).await
    }

    async fn capabilities(&self, probe_prefix: &str) -> Result<Capabilities> {
        self.capabilities
            .get_or_try_init(|| self.probe(probe_prefix))
            .await
            .copied()
    }

    fn lock_period(&self) -> Option<LockPeriod> {
        self.lock().map(Lock::period)
    }

    fn place_name(&self) -> Option<String> {
        Some(format!("{} below '{}'", self.place, self.key_prefix))
    }

    async fn lock_again(&self, key: &str) -> Result<jiff::Timestamp> {
        check_key("lock", key)?;
        S3Store::lock_again(self, key).await
    }

    async fn bucket_report(&self) -> Result<Option<BucketReport>> {
        self.report().await.map(Some)
    }

    async fn versions(&self, key: &str) -> Result<Versions> {
        self.versions_of(key).await
    }

    async fn hidden(&self, prefix: &str) -> Result<Hidden> {
        self.hidden_below(prefix).await
    }

    async fn get_version(&self, key: &str, version: &str, limit: u64) -> Result<Bytes> {
        check_key("get", key)?;
        self.read_version(key, version, limit).await
    }

    fn stats(&self) -> RequestStats {
        self.counters.snapshot()
    }

    fn now(&self) -> jiff::Timestamp {
        self.counters.now()
    }
}

fn size(bytes: Option<i64>) -> Option<u64> {
    bytes.and_then(|bytes| u64::try_from(bytes).ok())
}

fn timestamp(time: Option<&DateTime>) -> Option<jiff::Timestamp> {
    let time = time?;
    jiff::Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// A multipart object's checksum is one of checksums (`<base64>-<parts>`) and says nothing about the whole.
fn whole_object_sha256(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
