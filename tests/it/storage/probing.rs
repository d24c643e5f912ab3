//! What a store can do is found out by trying, on stores of different manners; and create-only holds on all of them.

use bytes::Bytes;
use kubebackup::demo::{Identity, ObjectLock, S3Effect, S3Fault, Treatment};
use kubebackup::storage::conformance::conformance;
use kubebackup::storage::{Capabilities, ErrorKind, ObjectStore as _, Put, S3Options, S3Store, list_all};

use super::{Bucket, chain};

const BODY: Bytes = Bytes::from_static(b"body");
const OTHER: Bytes = Bytes::from_static(b"other");

async fn assert_leaves_nothing(store: &S3Store) {
    let left = list_all(store, "", None).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_store_that_honours_both_headers_is_seen_to() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    let found = store.capabilities("probes/").await.unwrap();
    assert_eq!(
        found,
        Capabilities {
            create_only: true,
            checksum_sha256: true,
            object_lock: false
        }
    );
    assert_leaves_nothing(&store).await;
    let heads = bucket.controls().count("HeadObject");
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("key", OTHER).await.unwrap(), Put::Exists);
    assert_eq!(
        bucket.controls().count("HeadObject"),
        heads,
        "no HEAD before a PUT that the store guards"
    );
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_overwrites_nothing_all_the_same() {
    let bucket = Bucket::new().await;
    bucket.controls().treat_if_none_match(Treatment::Ignored);
    let store = bucket.store().await;
    assert!(!store.capabilities("probes/").await.unwrap().create_only);
    assert_leaves_nothing(&store).await;
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("key", OTHER).await.unwrap(), Put::Exists);
    assert_eq!(bucket.stored("key").unwrap(), BODY);
    store.delete("key").await.unwrap();
    conformance(&store).await;
}

#[tokio::test]
async fn before_any_probe_nothing_is_overwritten_either() {
    let bucket = Bucket::new().await;
    bucket.controls().treat_if_none_match(Treatment::Ignored);
    let store = bucket.store().await;
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("key", OTHER).await.unwrap(), Put::Exists);
    assert_eq!(bucket.stored("key").unwrap(), BODY);
}

#[tokio::test]
async fn a_store_that_ignores_a_wrong_checksum_is_seen_to() {
    let bucket = Bucket::new().await;
    bucket.controls().treat_checksum(Treatment::Ignored);
    let store = bucket.store().await;
    let found = store.capabilities("probes/").await.unwrap();
    assert_eq!(
        found,
        Capabilities {
            create_only: true,
            checksum_sha256: false,
            object_lock: false
        }
    );
    assert_leaves_nothing(&store).await;
    conformance(&store).await;
}

#[tokio::test]
async fn a_header_that_a_store_does_not_implement_is_left_out_and_remembered() {
    let refused = Treatment::Refused;
    for (condition, checksum, requests_of_first) in [
        (refused, Treatment::Honoured, 2),
        (Treatment::Honoured, refused, 3),
        (refused, refused, 4),
    ] {
        let bucket = Bucket::new().await;
        bucket.controls().treat_if_none_match(condition);
        bucket.controls().treat_checksum(checksum);
        let store = bucket.store().await;
        assert_eq!(store.put_new("1", BODY).await.unwrap(), Put::Created);
        assert_eq!(
            bucket.controls().count("PutObject"),
            requests_of_first,
            "{condition:?} {checksum:?}"
        );
        assert_eq!(store.put_new("2", BODY).await.unwrap(), Put::Created);
        assert_eq!(
            bucket.controls().count("PutObject"),
            requests_of_first + 1,
            "{condition:?} {checksum:?}"
        );
        assert_eq!(store.put_new("2", OTHER).await.unwrap(), Put::Exists);
        let found = store.capabilities("probes/").await.unwrap();
        assert_eq!(found.create_only, condition != refused);
        assert_eq!(found.checksum_sha256, checksum != refused);
        assert_eq!(bucket.stored("2").unwrap(), BODY);
    }
}

#[tokio::test]
async fn object_lock_counts_only_when_a_retention_can_be_read_back() {
    for (object_lock, expected) in [
        (ObjectLock::Unknown, false),
        (ObjectLock::Forgotten, false),
        (ObjectLock::Kept, true),
    ] {
        let bucket = Bucket::new().await;
        bucket.controls().set_object_lock(object_lock);
        let store = bucket.store().await;
        assert_eq!(
            store.capabilities("probes/").await.unwrap().object_lock,
            expected,
            "{object_lock:?}"
        );
        assert_leaves_nothing(&store).await;
        let locked = bucket
            .controls()
            .requests()
            .iter()
            .filter(|request| request.key.ends_with("-lock"))
            .count();
        assert_eq!(
            locked > 0,
            object_lock != ObjectLock::Unknown,
            "a retention is tried only where it may be kept"
        );
    }
}

#[tokio::test]
async fn a_store_is_probed_once() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    let found = store.capabilities("probes/").await.unwrap();
    let requests = bucket.controls().requests().len();
    assert_eq!(store.capabilities("elsewhere/").await.unwrap(), found);
    assert_eq!(bucket.controls().requests().len(), requests);
}

#[tokio::test]
async fn a_store_out_of_order_is_an_error_and_probed_again_later() {
    let bucket = Bucket::new().await;
    let store = S3Store::open(S3Options {
        max_attempts: 1,
        ..bucket.options()
    })
    .await
    .unwrap();
    for operation in ["PutObject", "GetObjectLockConfiguration"] {
        let effect = S3Effect::Refuse("SlowDown");
        bucket.controls().inject(S3Fault {
            operation: Some(operation),
            key_prefix: String::new(),
            times: 1,
            effect,
        });
        let error = store.capabilities("probes/").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{operation}: {}", chain(&error));
        assert_leaves_nothing(&store).await;
    }
    assert!(store.capabilities("probes/").await.unwrap().create_only);
}

#[tokio::test]
async fn an_identity_with_the_recommended_rights_probes_where_it_may_write() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity {
        may_write: vec!["certificates/".to_owned()],
        may_delete: false,
        create_only: true,
        ..Identity::full("restorer", "restorer-secret")
    });
    let store = bucket.store_as("restorer", "restorer-secret").await;
    let error = store.capabilities("manifests/").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    let found = store.capabilities("certificates/probe-").await.unwrap();
    assert_eq!(
        found,
        Capabilities {
            create_only: true,
            checksum_sha256: true,
            object_lock: false
        }
    );
    let left = list_all(&store, "", None).await.unwrap();
    assert!(
        left.iter()
            .all(|meta| meta.key.starts_with("certificates/probe-") && meta.bytes < 100),
        "{left:?}"
    );
    assert_eq!(store.put_new("certificates/1", BODY).await.unwrap(), Put::Created);
}

/// As AWS promises it. Whoever looks first and writes then lets several in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_an_object_at_once_one_does() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    assert!(store.capabilities("probes/").await.unwrap().create_only);
    for round in 0..20 {
        let key = format!("key-{round}");
        let puts = (0..8).map(|number| store.put_new(&key, Bytes::from(format!("number {number}"))));
        let puts = futures_util::future::join_all(puts).await;
        let created = puts.into_iter().filter(|put| matches!(put, Ok(Put::Created)));
        assert_eq!(created.count(), 1, "{key}");
    }
}
