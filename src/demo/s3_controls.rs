//! What the embedded S3 server does beside serving: who may do what, how it treats optional headers, what goes wrong next,
//! and what it was asked. Changed while it runs, through a handle.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests that the log remembers.
const LOG_LENGTH: usize = 20_000;

/// A key pair and what its bearer may do in the bucket. Everyone known may read and list.
#[derive(Clone, Debug)]
pub struct Identity {
    pub access_key: String,
    pub secret_key: String,
    /// Beginnings of keys (in the bucket) that it may write.
    pub may_write: Vec<String>,
    /// Beginnings of keys that it may delete.
    pub may_delete: Vec<String>,
    /// Beginnings of keys that it may lock, with an upload and after it.
    pub may_lock: Vec<String>,
    /// Uploads without `If-None-Match: *` are denied, as the recommended bucket policy does.
    pub create_only: bool,
}

impl Identity {
    pub(super) fn may_delete(&self, key: &str) -> bool {
        self.may_delete.iter().any(|beginning| key.starts_with(beginning))
    }

    pub(super) fn may_lock(&self, key: &str) -> bool {
        self.may_lock.iter().any(|beginning| key.starts_with(beginning))
    }

    /// Someone who may do everything.
    #[must_use]
    pub fn full(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            may_write: vec![String::new()],
            may_delete: vec![String::new()],
            may_lock: vec![String::new()],
            create_only: false,
        }
    }
}

/// What the server makes of an optional header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    #[default]
    Honoured,
    /// As if it had not been sent.
    Ignored,
    /// 501 `NotImplemented`.
    Refused,
}

/// The lock of an object.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    pub(super) mode: Option<s3s::dto::ObjectLockMode>,
    pub(super) until: s3s::dto::Timestamp,
}

/// What the server makes of Object Lock. It enforces none, except that a lock is not shortened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectLock {
    /// 501, as s3s-fs answers.
    #[default]
    Unknown,
    /// Retentions are kept and can be read back.
    Kept,
    /// The bucket says that it has it, takes retentions and forgets them.
    Forgotten,
}

/// Something that goes wrong `times` times, for requests that match.
#[derive(Clone, Debug)]
pub struct S3Fault {
    /// `PutObject`, `GetObject`, `HeadObject`, `ListObjectsV2`, `DeleteObject`, `DeleteObjects`; any when none.
    pub operation: Option<&'static str>,
    /// Beginning of the key in the bucket.
    pub key_prefix: String,
    pub times: usize,
    pub effect: S3Effect,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Effect {
    /// An error of this code with its usual status (`SlowDown`, `InternalError`, `AccessDenied`, `NotImplemented`, ...).
    Refuse(&'static str),
    /// Never an answer.
    Hang,
    /// The answer comes later.
    Delay(Duration),
    /// The request is carried out and the connection closed instead of an answer.
    LoseAnswer,
}

/// A request that passed the signature check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Request {
    pub operation: String,
    /// Key in the bucket; empty for requests about the bucket.
    pub key: String,
    pub access_key: String,
    /// That the signature is for.
    pub region: String,
    pub(super) query: String,
    /// Names in lower case; values that are no text are left out.
    pub(super) headers: Vec<(String, String)>,
}

impl S3Request {
    /// The beginning of keys that a listing asks for; none of any other request.
    #[must_use]
    pub fn prefix(&self) -> Option<String> {
        let text = self.query.split('&').find_map(|pair| pair.strip_prefix("prefix="))?;
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let mut decoded = [0];
                hex::decode_to_slice([rest.next()?, rest.next()?], &mut decoded).ok()?;
                bytes.extend(decoded);
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).ok()
    }

    /// The header `name` (in lower case), as it was sent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The handle. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct S3Controls {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) identities: HashMap<String, Identity>,
    pub(super) if_none_match: Treatment,
    pub(super) checksum: Treatment,
    pub(super) object_lock: ObjectLock,
    pub(super) retentions: HashMap<String, Retention>,
    pub(super) lost_answers: HashSet<String>,
    faults: Vec<S3Fault>,
    log: VecDeque<S3Request>,
    asked: u64,
    struck: u64,
    totals: BTreeMap<String, u64>,
}

impl S3Controls {
    /// Lets someone else in, or changes what they may do.
    pub fn admit(&self, identity: Identity) {
        self.lock().identities.insert(identity.access_key.clone(), identity);
    }

    /// From now on nobody has this access key.
    pub fn dismiss(&self, access_key: &str) {
        self.lock().identities.remove(access_key);
    }

    pub fn treat_if_none_match(&self, treatment: Treatment) {
        self.lock().if_none_match = treatment;
    }

    /// `x-amz-checksum-sha256`
    pub fn treat_checksum(&self, treatment: Treatment) {
        self.lock().checksum = treatment;
    }

    pub fn set_object_lock(&self, object_lock: ObjectLock) {
        self.lock().object_lock = object_lock;
    }

    /// Faults apply in the order in which they were injected.
    pub fn inject(&self, fault: S3Fault) {
        self.lock().faults.push(fault);
    }

    /// From now on nothing goes wrong that was injected before.
    pub fn calm(&self) {
        self.lock().faults.clear();
    }

    /// How many requests there were so far; those whose signature was refused are not among them.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// How many faults have taken effect so far.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// The requests so far, oldest first; those whose signature was refused are not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<S3Request> {
        self.lock().log.iter().cloned().collect()
    }

    /// How often each operation was asked for since the server started, those included that the log has forgotten.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, u64> {
        self.lock().totals.clone()
    }

    /// How often `operation` was asked for.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.lock()
            .log
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn note(&mut self, request: S3Request) {
        *self.totals.entry(request.operation.clone()).or_default() += 1;
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        self.log.push_back(request);
        self.asked += 1;
    }

    /// The effect of the first fault that matches, used up once.
    pub(super) fn next_effect(&mut self, operation: &str, key: &str) -> Option<S3Effect> {
        let fault = self.faults.iter_mut().find(|fault| {
            fault.times > 0
                && fault.operation.is_none_or(|name| name == operation)
                && key.starts_with(&fault.key_prefix)
        })?;
        fault.times -= 1;
        self.struck += 1;
        Some(fault.effect.clone())
    }
}
