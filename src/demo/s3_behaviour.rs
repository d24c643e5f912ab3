//! How the embedded S3 server obeys its controls: authentication, permissions and faults before a request, and
//! s3s-fs with other manners behind it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
#[allow(clippy::wildcard_imports, reason = "the protocol's fifty shapes")]
use s3s::dto::*;
use s3s::{HttpError, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use super::s3_controls::{Identity, ObjectLock, Retention, S3Controls, S3Effect, S3Request as Seen, Treatment};

#[async_trait]
impl S3Auth for S3Controls {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.lock().identities.get(access_key) {
            Some(identity) => Ok(identity.secret_key.clone().into()),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "the access key id does not exist in our records"
            )),
        }
    }
}

#[async_trait]
impl S3Access for S3Controls {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let key = context.s3_path().get_object_key().unwrap_or_default().to_owned();
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "who are you"));
        };
        let access_key = credentials.access_key.clone();
        let region = region_of(context.headers().get("authorization")).unwrap_or_default();
        let has = |name: &str| context.headers().contains_key(name);
        let headers = context.headers().iter();
        let headers = headers
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .filter(|(name, _)| name != "authorization")
            .collect();
        let effect = {
            let mut state = self.lock();
            let identity = state.identities.get(&access_key).cloned();
            state.note(Seen {
                operation: operation.clone(),
                key: key.clone(),
                access_key,
                region,
                query: context.uri().query().unwrap_or_default().to_owned(),
                headers,
            });
            let is_refused = |name, treatment| has(name) && treatment == Treatment::Refused;
            if is_refused("if-none-match", state.if_none_match) || is_refused("x-amz-checksum-sha256", state.checksum) {
                return Err(s3_error!(
                    NotImplemented,
                    "a header implies functionality that is not implemented"
                ));
            }
            let is_lock = operation == "PutObjectRetention" || has("x-amz-object-lock-mode");
            if !identity.is_some_and(|identity| {
                may(&identity, &operation, &key, has("if-none-match")) && (!is_lock || identity.may_lock(&key))
            }) {
                return Err(s3_error!(AccessDenied, "Access Denied"));
            }
            let effect = state.next_effect(&operation, &key);
            if effect == Some(S3Effect::LoseAnswer) {
                state.lost_answers.insert(context.uri().path().to_owned());
            }
            effect
        };
        match effect {
            Some(S3Effect::Refuse(code)) => Err(refusal(code)),
            Some(S3Effect::Hang) => std::future::pending().await,
            Some(S3Effect::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(S3Effect::LoseAnswer) | None => Ok(()),
        }
    }
}

impl S3Controls {
    /// An error here makes the server close the connection without an answer.
    pub(super) fn keep_or_lose<A>(&self, path: &str, answer: A) -> Result<A, HttpError> {
        if self.lock().lost_answers.remove(path) {
            return Err(HttpError::new("the answer is lost, as the controls ordered".into()));
        }
        Ok(answer)
    }
}

/// `AWS4-HMAC-SHA256 Credential=KEY/20261121/REGION/s3/aws4_request, ...`
fn region_of(authorization: Option<&HeaderValue>) -> Option<String> {
    let (_, credential) = authorization?.to_str().ok()?.split_once("Credential=")?;
    Some(credential.split('/').nth(2)?.to_owned())
}

fn refusal(code: &str) -> S3Error {
    let status = match code {
        "TooManyRequests" => Some(StatusCode::TOO_MANY_REQUESTS),
        "ConditionalRequestConflict" => Some(StatusCode::CONFLICT),
        _ => None,
    };
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, "as the controls ordered");
    if let Some(status) = status {
        error.set_status_code(status);
    }
    error
}

fn may(identity: &Identity, operation: &str, key: &str, is_create_only: bool) -> bool {
    let is_reading = ["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb));
    let is_in_reach = identity.may_write.iter().any(|beginning| key.starts_with(beginning));
    match operation {
        _ if is_reading => true,
        "DeleteObject" => identity.may_delete(key),
        // Asked key by key, once the body is read; a right of its own, looked at beside this.
        "DeleteObjects" | "PutObjectRetention" => true,
        "PutObject" => is_in_reach && (is_create_only || !identity.create_only),
        _ => is_in_reach,
    }
}

/// Read from a file at a time.
const READ_BYTES: usize = 256 * 1024;

/// How many uploads of different keys go on at once, mostly.
const STRIPES: usize = 64;

/// s3s-fs with the manners that the controls ask for.
#[derive(Debug)]
pub(super) struct Behaving {
    files: s3s_fs::FileSystem,
    controls: S3Controls,
    /// Its folder.
    root: PathBuf,
    /// An upload holds the one of its key: s3s-fs looks for the object and makes it in two steps, and would let two who
    /// both ask for `If-None-Match: *` create it at the same moment.
    uploads: [Mutex<()>; STRIPES],
}

impl Behaving {
    pub(super) fn new(files: s3s_fs::FileSystem, controls: S3Controls, root: PathBuf) -> Self {
        Self {
            files,
            controls,
            root,
            uploads: std::array::from_fn(|_| Mutex::default()),
        }
    }

    fn upload_of(&self, key: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.uploads[usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0)]
    }

    /// The file of an object that is asked for as a whole.
    fn path_of_whole(&self, input: &GetObjectInput) -> Option<PathBuf> {
        let key = Path::new(&input.key);
        let is_below = key.components().all(|part| matches!(part, Component::Normal(_)));
        (input.range.is_none() && is_below).then(|| self.root.join(&input.bucket).join(key))
    }

    fn prepare(&self, input: &mut PutObjectInput) {
        let mut state = self.controls.lock();
        if state.if_none_match == Treatment::Ignored {
            input.if_none_match = None;
        }
        if state.checksum == Treatment::Ignored {
            input.checksum_sha256 = None;
        }
        if let Some(until) = input.object_lock_retain_until_date.take()
            && state.object_lock == ObjectLock::Kept
        {
            let mode = input.object_lock_mode.clone();
            state.retentions.insert(input.key.clone(), Retention { mode, until });
        }
    }
}

impl Behaving {
    /// Takes out of the request what its bearer may not delete.
    fn take_denied(&self, request: &mut S3Request<DeleteObjectsInput>) -> Vec<ObjectIdentifier> {
        let credentials = request.credentials.as_ref();
        let state = self.controls.lock();
        let identity = credentials.and_then(|credentials| state.identities.get(&credentials.access_key));
        let may = |object: &ObjectIdentifier| identity.is_some_and(|identity| identity.may_delete(&object.key));
        let objects = std::mem::take(&mut request.input.delete.objects);
        let (allowed, denied) = objects.into_iter().partition(may);
        request.input.delete.objects = allowed;
        denied
    }
}

/// s3s checks the signed payload hash as the body passes; s3s-fs then says 500 where AWS says that the body is damaged.
fn watch_body(input: &mut PutObjectInput) -> Arc<AtomicBool> {
    let is_broken = Arc::new(AtomicBool::new(false));
    let noted = is_broken.clone();
    input.body = input.body.take().map(|body| {
        StreamingBlob::wrap(body.map_err(move |error| {
            noted.store(true, Ordering::Relaxed);
            std::io::Error::other(error)
        }))
    });
    is_broken
}

/// s3s-fs reads 4 KiB at a time, each on another thread, which would cost more than all that is done with an object. None where
/// the file has another length than was answered.
async fn open_body(path: Option<PathBuf>, content_length: Option<i64>) -> Option<StreamingBlob> {
    let file = tokio::fs::File::open(path?).await.ok()?;
    let bytes = file.metadata().await.ok()?.len();
    let is_as_long = i64::try_from(bytes).ok() == content_length;
    is_as_long.then(|| StreamingBlob::wrap(ReaderStream::with_capacity(file.take(bytes), READ_BYTES)))
}

fn content_mismatch() -> S3Error {
    let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
    let mut error = S3Error::with_message(code, "the body is not what x-amz-content-sha256 says");
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

macro_rules! behave {
    ($($passed_on:ident: $input:ident => $output:ident,)*) => {
        #[async_trait]
        impl S3 for Behaving {
            $(async fn $passed_on(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.files.$passed_on(request).await
            })*

            async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                if !self.root.join(&request.input.bucket).is_dir() {
                    // s3s-fs would make the bucket.
                    return Err(s3_error!(NoSuchBucket, "the bucket does not exist"));
                }
                self.prepare(&mut request.input);
                let _alone = self.upload_of(&request.input.key).lock().await;
                let is_broken = watch_body(&mut request.input);
                let answer = self.files.put_object(request).await;
                if is_broken.load(Ordering::Relaxed) { Err(content_mismatch()) } else { answer }
            }

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                let path = self.path_of_whole(&request.input);
                let mut answer = self.files.get_object(request).await?;
                if let Some(body) = open_body(path, answer.output.content_length).await {
                    answer.output.body = Some(body);
                }
                Ok(answer)
            }

            /// As AWS does, the answer to a batch tells of each key that may not be deleted.
            async fn delete_objects(
                &self,
                mut request: S3Request<DeleteObjectsInput>,
            ) -> S3Result<S3Response<DeleteObjectsOutput>> {
                let denied = self.take_denied(&mut request);
                let mut answer = self.files.delete_objects(request).await?;
                let errors = denied.into_iter().map(|object| Error {
                    code: Some("AccessDenied".to_owned()),
                    key: Some(object.key),
                    message: Some("Access Denied".to_owned()),
                    ..Default::default()
                });
                answer.output.errors = Some(errors.collect());
                answer.output.deleted = None;
                Ok(answer)
            }

            async fn get_object_lock_configuration(
                &self,
                _request: S3Request<GetObjectLockConfigurationInput>,
            ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
                if self.controls.lock().object_lock == ObjectLock::Unknown {
                    return Err(s3_error!(NotImplemented, "GetObjectLockConfiguration is not implemented yet"));
                }
                let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
                Ok(S3Response::new(GetObjectLockConfigurationOutput {
                    object_lock_configuration: Some(ObjectLockConfiguration {
                        object_lock_enabled: Some(enabled),
                        ..Default::default()
                    }),
                }))
            }

            async fn put_object_retention(
                &self,
                request: S3Request<PutObjectRetentionInput>,
            ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
                let input = request.input;
                if !self.root.join(&input.bucket).join(&input.key).is_file() {
                    return Err(s3_error!(NoSuchKey, "the object does not exist"));
                }
                let mut state = self.controls.lock();
                match state.object_lock {
                    ObjectLock::Unknown => Err(s3_error!(NotImplemented, "PutObjectRetention is not implemented yet")),
                    ObjectLock::Forgotten => Ok(S3Response::new(PutObjectRetentionOutput::default())),
                    ObjectLock::Kept => {
                        let wanted = input.retention.unwrap_or_default();
                        let mode = wanted.mode.map(|mode| ObjectLockMode::from(mode.as_str().to_owned()));
                        let Some(until) = wanted.retain_until_date else {
                            return Err(s3_error!(MalformedXML, "until when"));
                        };
                        let is_longer = |kept: &Retention| kept.until > until;
                        if state.retentions.get(&input.key).is_some_and(is_longer) {
                            return Err(s3_error!(AccessDenied, "a lock cannot be shortened"));
                        }
                        state.retentions.insert(input.key, Retention { mode, until });
                        Ok(S3Response::new(PutObjectRetentionOutput::default()))
                    }
                }
            }

            async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
                let retention = self.controls.lock().retentions.get(&request.input.key).cloned();
                let mut answer = self.files.head_object(request).await?;
                let (mode, until) = retention.map(|kept| (kept.mode, kept.until)).unzip();
                answer.output.object_lock_mode = mode.flatten();
                answer.output.object_lock_retain_until_date = until;
                Ok(answer)
            }
        }
    };
}

behave! {
    create_bucket: CreateBucketInput => CreateBucketOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    list_buckets: ListBucketsInput => ListBucketsOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
    list_parts: ListPartsInput => ListPartsOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
}
