//! Deleting many objects: up to a thousand keys a request, with the Content-MD5 that older servers ask for.
//!
//! A store that does not know such requests, or refuses one as a whole (some do so for one key of it), is asked key by
//! key, and from then on always. A key that may not be deleted is an answer, not a failure.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use md5::Digest as _;

use super::S3Store;
use super::errors::{of_one_key, refusal, translate};
use crate::storage::{Error, ErrorKind, MAX_DELETES, ObjectStore as _, Result};

/// Single deletes under way at once.
const CONCURRENCY: usize = 16;

/// Keys of a batch that are deleted before the others.
const SAMPLE: usize = 16;

/// What became of one request for many keys.
enum Batch {
    Done(Vec<Error>),
    /// The store takes no such request, or not from us.
    NotTaken(Error),
}

impl S3Store {
    pub(super) async fn delete_in_batches(&self, keys: &[String]) -> Result<Vec<Error>> {
        let mut refused = Vec::new();
        for batch in keys.chunks(MAX_DELETES) {
            if !self.deletes_singly.load(Ordering::Relaxed) {
                match self.delete_batch(batch).await? {
                    Batch::Done(more) => {
                        // A batch tells a code a key and no status; stores have many for what they keep. Alone, they say which it is.
                        let (denied, strange): (Vec<Error>, Vec<Error>) =
                            more.into_iter().partition(|error| error.kind == ErrorKind::Denied);
                        refused.extend(denied);
                        let strange: Vec<String> = strange.into_iter().map(|error| error.key).collect();
                        refused.extend(self.delete_each(strange.iter()).await?);
                        continue;
                    }
                    Batch::NotTaken(error) => tracing::debug!(%error, "deleting key by key"),
                }
            }
            refused.extend(self.delete_singly(batch).await?);
            self.deletes_singly.store(true, Ordering::Relaxed);
        }
        Ok(refused)
    }

    async fn delete_batch(&self, keys: &[String]) -> Result<Batch> {
        let first = keys.first().map_or("", String::as_str);
        let failed = |problem: String| Error::new(ErrorKind::Other, "delete", first).with_source(problem);
        let identify = |key: &String| ObjectIdentifier::builder().key(self.full_key(key)).build();
        let identifiers: std::result::Result<Vec<_>, _> = keys.iter().map(identify).collect();
        let identifiers = identifiers.map_err(|error| failed(error.to_string()))?;
        // Quiet: the answer names only what stays.
        let delete = Delete::builder().set_objects(Some(identifiers)).quiet(true).build();
        let delete = delete.map_err(|error| failed(error.to_string()))?;
        let request = || {
            self.client
                .delete_objects()
                .bucket(&self.options.bucket)
                .delete(delete.clone())
                .customize()
                .mutate_request(|request| {
                    if let Some(body) = request.body().bytes() {
                        let digest = STANDARD.encode(md5::Md5::digest(body));
                        request.headers_mut().insert("content-md5", digest);
                    }
                })
                .send()
        };
        let answer = match self.send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let translated = translate("delete", first, &self.place, &error);
                // 400, 405 and 501 are what stores answer that have other ideas of the request.
                let is_not_known = refusal(&error).is_some_and(|refusal| matches!(refusal.status, 400 | 405 | 501));
                return match translated.kind {
                    ErrorKind::Denied | ErrorKind::Unsupported => Ok(Batch::NotTaken(translated)),
                    ErrorKind::Other if is_not_known => Ok(Batch::NotTaken(translated)),
                    _ => Err(translated),
                };
            }
        };
        let mut refused = Vec::new();
        for said in answer.errors() {
            let key = said.key().and_then(|key| key.strip_prefix(&self.key_prefix));
            let Some(key) = key.filter(|key| keys.iter().any(|asked| asked == key)) else {
                // What it is about is still there, and nobody knows which that is.
                let code = said.code().unwrap_or("an error");
                let reason = format!("the store answered {code} for a key that it was not asked to delete");
                return Ok(Batch::NotTaken(failed(reason)));
            };
            if said.code() != Some("NoSuchKey") {
                refused.push(of_one_key("delete", key, &self.place, said));
            }
        }
        Ok(Batch::Done(refused))
    }

    /// Some keys from all over tell whether these credentials may delete here at all: nobody asks a thousand times to be told
    /// no.
    async fn delete_singly(&self, keys: &[String]) -> Result<Vec<Error>> {
        let tried: Vec<&String> = keys.iter().step_by(keys.len().div_ceil(SAMPLE).max(1)).collect();
        let mut refused = self.delete_each(tried.iter().copied()).await?;
        if refused.len() == tried.len() && !tried.is_empty() {
            return Err(refused.swap_remove(0));
        }
        let tried: HashSet<&String> = tried.into_iter().collect();
        let rest = keys.iter().filter(|key| !tried.contains(key));
        refused.extend(self.delete_each(rest).await?);
        Ok(refused)
    }

    /// The keys that may not be deleted.
    async fn delete_each<'a>(&self, keys: impl Iterator<Item = &'a String> + Send) -> Result<Vec<Error>> {
        // Owned keys: a stream that borrows them could not be sent to another thread.
        let keys: Vec<String> = keys.cloned().collect();
        let refused: Vec<Option<Error>> = stream::iter(keys)
            .map(|key| async move {
                match self.delete(&key).await {
                    Ok(()) => Ok(None),
                    Err(error) if error.kind == ErrorKind::Denied => Ok(Some(error)),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(refused.into_iter().flatten().collect())
    }
}
