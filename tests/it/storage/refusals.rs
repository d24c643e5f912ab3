//! What a refusal means: each kind is told from the others, names the bucket, and shows no secret.

use bytes::Bytes;
use kubebackup::demo::{Identity, S3Effect, S3Fault};
use kubebackup::storage::{Error, ErrorKind, ObjectStore as _, Put, S3Options, S3Store};

use super::{ACCESS_KEY, BUCKET, Bucket, SECRET_KEY, chain, options};

const BODY: Bytes = Bytes::from_static(b"body");

async fn every_operation_fails(store: &S3Store) -> Vec<Error> {
    vec![
        store.put_new("key", BODY).await.unwrap_err(),
        store.get("key").await.unwrap_err(),
        store.get_range("key", 0..1).await.unwrap_err(),
        store.head("key").await.unwrap_err(),
        store.list("", None, 10).await.unwrap_err(),
        store.delete("key").await.unwrap_err(),
        store.capabilities("probes/").await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_wrong_secret_is_told_as_wrong_credentials_by_every_operation() {
    let bucket = Bucket::new().await;
    let store = bucket.store_as(ACCESS_KEY, "not-the-secret").await;
    for error in every_operation_fails(&store).await {
        let text = chain(&error);
        assert_eq!(error.kind, ErrorKind::Credentials, "{text}");
        assert!(
            text.contains("SignatureDoesNotMatch") && text.contains(BUCKET),
            "{text}"
        );
        assert!(
            !text.contains("not-the-secret") && !format!("{error:?}").contains("not-the-secret"),
            "{text}"
        );
    }
    assert_eq!(store.stats().retries, 0, "nothing here is worth another attempt");
}

#[tokio::test]
async fn an_unknown_access_key_is_told_as_wrong_credentials() {
    let bucket = Bucket::new().await;
    let store = bucket.store_as("NOBODY", SECRET_KEY).await;
    for error in every_operation_fails(&store).await {
        assert_eq!(error.kind, ErrorKind::Credentials, "{}", chain(&error));
        assert!(chain(&error).contains("InvalidAccessKeyId"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_told_by_name_and_from_a_missing_object() {
    let bucket = Bucket::new().await;
    let store = S3Store::open(S3Options {
        bucket: "elsewhere".to_owned(),
        ..bucket.options()
    })
    .await
    .unwrap();
    for error in [
        store.list("", None, 10).await.unwrap_err(),
        store.put_new("key", BODY).await.unwrap_err(),
        store.capabilities("probes/").await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::NoBucket, "{}", chain(&error));
        assert!(
            chain(&error).contains("NoSuchBucket") && chain(&error).contains("elsewhere"),
            "{}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn someone_known_without_the_right_is_denied_once() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity {
        may_write: vec!["certificates/".to_owned()],
        may_delete: Vec::new(),
        ..Identity::full("restorer", "restorer-secret")
    });
    let store = bucket.store_as("restorer", "restorer-secret").await;
    assert_eq!(store.put_new("certificates/1", BODY).await.unwrap(), Put::Created);
    assert_eq!(store.get("certificates/1").await.unwrap(), BODY);
    let before = bucket.controls().count("PutObject");
    for error in [
        store.put_new("manifests/1", BODY).await.unwrap_err(),
        store.delete("certificates/1").await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Denied, "{}", chain(&error));
        assert!(!error.is_retryable());
    }
    assert_eq!(
        bucket.controls().count("PutObject"),
        before + 1,
        "a denial is not asked again"
    );
    assert_eq!(store.stats().retries, 0);
}

#[tokio::test]
async fn a_denied_head_is_denied_and_not_mistaken_for_absence() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    store.put_new("key", BODY).await.unwrap();
    for operation in ["HeadObject", "GetObject"] {
        let effect = S3Effect::Refuse("AccessDenied");
        let fault = S3Fault {
            operation: Some(operation),
            key_prefix: String::new(),
            times: 2,
            effect,
        };
        bucket.controls().inject(fault);
    }
    let error = store.put_new("key", Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.operation),
        (ErrorKind::Denied, "put"),
        "{}",
        chain(&error)
    );
    assert_eq!(bucket.stored("key").unwrap(), b"body");
}

/// Answers of stores that take no batch, or refuse one for a key of it.
#[tokio::test]
async fn what_cannot_be_deleted_in_a_batch_is_deleted_key_by_key() {
    for code in ["NotImplemented", "MethodNotAllowed", "InvalidRequest", "AccessDenied"] {
        let bucket = Bucket::new().await;
        let store = bucket.store().await;
        bucket.controls().inject(S3Fault {
            operation: Some("DeleteObjects"),
            key_prefix: String::new(),
            times: usize::MAX,
            effect: S3Effect::Refuse(code),
        });
        let keys: Vec<String> = (0..20).map(|number| format!("key/{number:02}")).collect();
        for key in &keys {
            store.put_new(key, BODY).await.unwrap();
        }
        let (first, rest) = keys.split_at(10);
        for batch in [first, rest] {
            assert!(store.delete_many(batch).await.unwrap().is_empty(), "{code}");
        }
        assert!(store.list("", None, 10).await.unwrap().objects.is_empty(), "{code}");
        let asked = |operation| bucket.controls().count(operation);
        assert_eq!(
            (asked("DeleteObjects"), asked("DeleteObject")),
            (1, 20),
            "{code}: remembered"
        );
    }
}

#[tokio::test]
async fn keys_that_may_not_be_deleted_are_named_and_the_others_go() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity {
        may_delete: vec!["chunks/".to_owned()],
        ..Identity::full("sweeper", "sweeper-secret")
    });
    let store = bucket.store_as("sweeper", "sweeper-secret").await;
    let keys = ["chunks/1", "locked/1", "chunks/2"].map(str::to_owned);
    for key in &keys {
        store.put_new(key, BODY).await.unwrap();
    }
    let stay = store.delete_many(&keys).await.unwrap();
    assert_eq!(
        (stay.len(), stay[0].key.as_str(), stay[0].kind),
        (1, "locked/1", ErrorKind::Denied)
    );
    assert!(chain(&stay[0]).contains("AccessDenied"), "{}", chain(&stay[0]));
    let left = store.list("", None, 10).await.unwrap().objects;
    assert_eq!(
        left.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(),
        ["locked/1"]
    );
}

/// Who may delete nothing is told so after a few requests, however many keys there are.
#[tokio::test]
async fn credentials_that_may_delete_nothing_are_not_asked_a_thousand_times() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity {
        may_delete: Vec::new(),
        ..Identity::full("reader", "reader-secret")
    });
    bucket.controls().inject(S3Fault {
        operation: Some("DeleteObjects"),
        key_prefix: String::new(),
        times: usize::MAX,
        effect: S3Effect::Refuse("AccessDenied"),
    });
    let store = bucket.store_as("reader", "reader-secret").await;
    let keys: Vec<String> = (0..1000).map(|number| format!("key/{number}")).collect();
    let error = store.delete_many(&keys).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{}", chain(&error));
    assert_eq!(store.stats().deletes, 1 + 16);
}

#[tokio::test]
async fn an_error_reads_as_one_line_without_repeating_itself() {
    let bucket = Bucket::new().await;
    let error = bucket.store().await.get("a/key").await.unwrap_err();
    let endpoint = bucket.server.endpoint();
    assert_eq!(
        chain(&error),
        format!("get of 'a/key': not found: status 404 NoSuchKey (bucket 'backups' at {endpoint})")
    );
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable_and_named() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let options = S3Options {
        max_attempts: 1,
        ..options(&format!("http://{unused}"), ACCESS_KEY, SECRET_KEY)
    };
    let error = S3Store::open(options).await.unwrap().get("key").await.unwrap_err();
    let text = chain(&error);
    assert_eq!(error.kind, ErrorKind::Unavailable, "{text}");
    assert!(error.is_retryable());
    assert!(text.contains("refused") && text.contains(&unused.to_string()), "{text}");
}
