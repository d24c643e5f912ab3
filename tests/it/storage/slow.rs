//! Uploads over a line that is slow and not broken: they are given the time of their bodies, and no more.

use std::time::Duration;

use bytes::Bytes;
use kubebackup::storage::{ErrorKind, ObjectStore as _, Put, S3Options, S3Store};

use super::{chain, options};
use crate::support::S3;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::s3_proxy::{Fault, Rule, S3Proxy};

async fn impatient(proxy: &S3Proxy) -> S3Store {
    let options = S3Options {
        read_timeout: Duration::from_millis(500),
        attempt_timeout: Duration::from_millis(500),
        max_attempts: 1,
        ..options(proxy.endpoint(), ACCESS_KEY, SECRET_KEY)
    };
    S3Store::open(options).await.unwrap()
}

/// It takes three times as long as any other request may.
#[tokio::test]
async fn a_body_that_comes_slowly_arrives_in_one_attempt() {
    let s3 = S3::start();
    let proxy = S3Proxy::before(&s3);
    let store = impatient(&proxy).await;
    let body = Bytes::from(vec![7; 300_000]);
    proxy.script(Rule::first("PutObject", "key", Fault::Slow(200_000)));
    let put = store.put_new("key", body.clone()).await;
    assert_eq!(put.map_err(|error| chain(&error)), Ok(Put::Created));
    assert_eq!(s3.read("key"), body);
    assert_eq!((store.stats().puts, proxy.struck().len()), (1, 1));
}

/// A verification, a restore by hand and a look at the repository have no limit of their own.
#[tokio::test]
async fn a_body_that_only_drips_down_is_given_up_and_one_that_is_slow_arrives() {
    let s3 = S3::start();
    let proxy = S3Proxy::before(&s3);
    let store = impatient(&proxy).await;
    let (small, large) = (Bytes::from(vec![7; 60_000]), Bytes::from(vec![7; 300_000]));
    store.put_new("small", small).await.unwrap();
    store.put_new("large", large.clone()).await.unwrap();
    // Never silent, and three times as long as an answer of its size may take.
    proxy.script(Rule::first("GetObject", "small", Fault::Slow(40_000)).always());
    let error = store.get("small").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", chain(&error));
    for words in [
        "the body came too slowly",
        " bytes in 0.5 s",
        "repository.attempt_timeout",
    ] {
        assert!(chain(&error).contains(words), "{}", chain(&error));
    }
    proxy.script(Rule::first("GetObject", "large", Fault::Slow(200_000)));
    assert_eq!(store.get("large").await.map_err(|error| chain(&error)), Ok(large));
}

#[tokio::test]
async fn a_store_that_takes_a_body_and_says_nothing_is_given_up() {
    let s3 = S3::start();
    let proxy = S3Proxy::before(&s3);
    let store = impatient(&proxy).await;
    proxy.script(Rule::first("PutObject", "key", Fault::Hang).always());
    for bytes in [1, 100_000] {
        let error = store.put_new("key", Bytes::from(vec![7; bytes])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", chain(&error));
    }
    assert!(s3.keys("").is_empty());
}
