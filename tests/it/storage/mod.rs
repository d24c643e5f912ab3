//! The S3 store against a real S3 protocol: the suite every store passes, and what only a network can do to it.

mod broken;
mod environment;
mod probing;
mod refusals;
mod slow;
mod tls;
mod unruly;
mod wire;

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use kubebackup::demo::{Ground, S3Controls, S3Server, S3ServerOptions};
use kubebackup::storage::conformance::conformance;
use kubebackup::storage::{ErrorKind, ObjectStore as _, S3Credentials, S3Options, S3Store};
use sha2::Digest as _;

const BUCKET: &str = "backups";
const ACCESS_KEY: &str = "AKIDTEST";
const SECRET_KEY: &str = "a-secret-of-a-test";

/// A server of its own for each test, in the test's runtime.
struct Bucket {
    server: S3Server,
    ground: Ground,
}

impl Bucket {
    async fn new() -> Self {
        let ground = Ground::new().unwrap();
        let options = S3ServerOptions {
            root: ground.path().to_owned(),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        };
        let server = S3Server::start(&options).await.unwrap();
        Self { server, ground }
    }

    fn controls(&self) -> &S3Controls {
        self.server.controls()
    }

    fn options(&self) -> S3Options {
        options(&self.server.endpoint(), ACCESS_KEY, SECRET_KEY)
    }

    async fn store(&self) -> S3Store {
        S3Store::open(self.options()).await.unwrap()
    }

    /// The store of someone else.
    async fn store_as(&self, access_key: &str, secret_key: &str) -> S3Store {
        S3Store::open(options(&self.server.endpoint(), access_key, secret_key))
            .await
            .unwrap()
    }

    /// What lies on the server's disk under `key`.
    fn stored(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.ground.path().join(BUCKET).join(key)).ok()
    }
}

fn options(endpoint: &str, access_key: &str, secret_key: &str) -> S3Options {
    S3Options {
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: access_key.to_owned(),
            secret_access_key: secret_key.to_owned(),
            session_token: None,
        }),
        ..S3Options::new(BUCKET)
    }
}

/// An error and all that stands behind it, as an operator reads it.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}

#[tokio::test]
async fn the_s3_store_does_what_a_store_must() {
    let bucket = Bucket::new().await;
    for prefix in ["", "some/prefix"] {
        let options = S3Options {
            prefix: prefix.to_owned(),
            ..bucket.options()
        };
        let store = S3Store::open(options).await.unwrap();
        conformance(&store).await;
        // Create-only by HEAD so far, by If-None-Match from here on.
        assert!(store.capabilities("probes/").await.unwrap().create_only);
        conformance(&store).await;
    }
}

#[tokio::test]
async fn two_prefixes_of_a_bucket_do_not_see_each_other() {
    let bucket = Bucket::new().await;
    let below = |prefix: &str| S3Options {
        prefix: prefix.to_owned(),
        ..bucket.options()
    };
    let (a, ab) = (
        S3Store::open(below("a")).await.unwrap(),
        S3Store::open(below("ab/")).await.unwrap(),
    );
    a.put_new("key", Bytes::from_static(b"1")).await.unwrap();
    ab.put_new("key", Bytes::from_static(b"22")).await.unwrap();
    let page = a.list("", None, 10).await.unwrap();
    assert_eq!(page.objects.len(), 1);
    assert_eq!(page.objects[0].key, "key");
    assert_eq!(ab.get("key").await.unwrap(), "22");
    assert_eq!(bucket.stored("a/key").unwrap(), b"1");
}

#[tokio::test]
async fn uploads_carry_the_length_and_both_digests_of_their_body() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    store.put_new("key", Bytes::from_static(b"body")).await.unwrap();
    let request = bucket
        .controls()
        .requests()
        .into_iter()
        .find(|request| request.operation == "PutObject")
        .unwrap();
    let sha256 = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
    assert_eq!(
        request.header("x-amz-content-sha256"),
        Some(sha256),
        "the payload is signed, not UNSIGNED or streamed"
    );
    assert_eq!(
        request.header("x-amz-checksum-sha256"),
        Some("Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU=")
    );
    assert_eq!(request.header("content-length"), Some("4"));
    assert_eq!(request.header("if-none-match"), Some("*"));
    assert_eq!(request.header("content-encoding"), None, "no aws-chunked body");
}

#[tokio::test]
async fn a_body_of_another_digest_than_its_caller_says_is_refused_and_not_stored() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    let digest = |bytes: &[u8]| <[u8; 32]>::from(sha2::Sha256::digest(bytes));
    let body = Bytes::from_static(b"body");
    let error = store
        .put_new_of_digest("key", body.clone(), digest(b"other"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Checksum, "{error:?}");
    assert_eq!(bucket.stored("key"), None);
    store
        .put_new_of_digest("key", body.clone(), digest(&body))
        .await
        .unwrap();
    assert_eq!(bucket.stored("key").unwrap(), b"body");
    let kept = store.head("key").await.unwrap().sha256.expect("this server keeps it");
    assert_eq!(kept, digest(&body));
}

#[tokio::test]
async fn a_head_tells_the_checksum_that_the_store_keeps() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    store.put_new("key", Bytes::from_static(b"body")).await.unwrap();
    let kept = store.head("key").await.unwrap().sha256.expect("this server keeps it");
    assert_eq!(
        hex::encode(kept),
        "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"
    );
}

/// Long enough for a loaded machine, short enough to tell a hang from a time-out.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(endpoint: &str, max_attempts: u32) -> S3Store {
    let options = S3Options {
        max_attempts,
        ..options(endpoint, ACCESS_KEY, SECRET_KEY)
    };
    S3Store::open(options).await.unwrap()
}
