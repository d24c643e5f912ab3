//! Each fault does what it says, seen by the S3 store on one side and by the bucket on the other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kubebackup::storage::{Error, ErrorKind, ObjectStore as _, Put, S3Credentials, S3Options, S3Store};

use super::{Fault, Rule, S3Proxy, refusals};
use crate::support::S3;
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};

const BODY: Bytes = Bytes::from_static(b"these bytes are to arrive as they are");

struct Ground {
    s3: S3,
    proxy: S3Proxy,
}

impl Ground {
    fn new() -> Self {
        let s3 = S3::start();
        let proxy = S3Proxy::before(&s3);
        Self { s3, proxy }
    }

    /// One that says what happened to a single attempt.
    async fn store(&self) -> S3Store {
        let credentials = S3Credentials {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: SECRET_KEY.to_owned(),
            session_token: None,
        };
        S3Store::open(S3Options {
            endpoint: Some(self.proxy.endpoint().to_owned()),
            path_style: true,
            credentials: Some(credentials),
            read_timeout: Duration::from_millis(500),
            attempt_timeout: Duration::from_secs(5),
            max_attempts: 1,
            ..S3Options::new(BUCKET)
        })
        .await
        .unwrap()
    }
}

fn kind<T>(outcome: &Result<T, Error>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(|error| error.kind)
}

#[tokio::test]
async fn nothing_goes_wrong_until_somebody_says_so() {
    let ground = Ground::new();
    kubebackup::storage::conformance::conformance(&ground.store().await).await;
    assert_eq!(ground.proxy.struck(), []);
    assert!(ground.proxy.calls().len() > 10);
}

#[tokio::test]
async fn what_strikes_an_upload_leaves_no_object_unless_only_the_answer_is_lost() {
    let ground = Ground::new();
    let store = ground.store().await;
    for (number, (fault, expected, is_stored)) in [
        (Fault::Refuse, Some(ErrorKind::Unavailable), false),
        (Fault::Hang, Some(ErrorKind::Unavailable), false),
        (Fault::CutRequest(7), Some(ErrorKind::Unavailable), false),
        (Fault::CorruptRequest, Some(ErrorKind::Checksum), false),
        (refusals::INTERNAL_ERROR, Some(ErrorKind::Unavailable), false),
        (refusals::EXPIRED_TOKEN, Some(ErrorKind::Credentials), false),
        (refusals::NO_SUCH_BUCKET, Some(ErrorKind::NoBucket), false),
        (Fault::LoseAnswer, Some(ErrorKind::Unavailable), true),
        (Fault::Slow(1000), None, true),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        ground.proxy.script(Rule::first("PutObject", &key, fault));
        let outcome = store.put_new(&key, BODY).await;
        assert_eq!(kind(&outcome), expected, "{fault}: {outcome:?}");
        assert_eq!(ground.s3.keys("").contains(&key), is_stored, "{fault}");
        assert_eq!(ground.proxy.struck().len(), number + 1, "{fault}");
    }
}

#[tokio::test]
async fn what_strikes_a_download_is_seen_by_its_reader() {
    let ground = Ground::new();
    let store = ground.store().await;
    store.put_new("key", BODY).await.unwrap();
    for fault in [
        Fault::CutAnswer(7),
        Fault::StallAnswer(7),
        Fault::CutAnswer(0),
        Fault::Refuse,
    ] {
        ground.proxy.script(Rule::first("GetObject", "key", fault));
        let outcome = store.get("key").await;
        assert_eq!(kind(&outcome), Some(ErrorKind::Unavailable), "{fault}: {outcome:?}");
        ground.proxy.clear();
    }
    ground
        .proxy
        .script(Rule::first("GetObject", "key", Fault::CorruptAnswer));
    let corrupt = store.get("key").await.unwrap();
    let differing = corrupt.into_iter().zip(BODY).filter(|(got, sent)| got != sent);
    assert_eq!(differing.count(), 1);
    assert_eq!(store.get("key").await.unwrap(), BODY, "once, as the rule says");
}

#[tokio::test]
async fn a_slow_wire_takes_as_long_as_its_rate_says_and_is_never_silent() {
    let ground = Ground::new();
    let store = ground.store().await;
    let body = Bytes::from(vec![7; 20_000]);
    store.put_new("key", body.clone()).await.unwrap();
    ground.proxy.script(Rule::any("", Fault::Slow(20_000)).always());
    let begin = Instant::now();
    assert_eq!(store.get("key").await.unwrap(), body, "longer than its read timeout");
    assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_rule_strikes_the_calls_that_it_names_alone() {
    let ground = Ground::new();
    let store = ground.store().await;
    let rule = Rule::first("PutObject", "a/", refusals::DENIED);
    ground.proxy.script(rule.after(1).times(2));
    for (key, is_struck) in [
        ("b/1", false),
        ("a/1", false),
        ("a/2", true),
        ("a/3", true),
        ("a/4", false),
    ] {
        let outcome = store.put_new(key, BODY).await;
        assert_eq!(kind(&outcome), is_struck.then_some(ErrorKind::Denied), "{key}");
    }
    let struck: Vec<String> = ground.proxy.struck().iter().map(ToString::to_string).collect();
    assert_eq!(
        struck,
        [
            "PutObject of 'a/2': 403 AccessDenied",
            "PutObject of 'a/3': 403 AccessDenied"
        ]
    );
}

#[tokio::test]
async fn a_stale_listing_is_what_was_listed_before() {
    let ground = Ground::new();
    let store = ground.store().await;
    let listed = async || store.list("", None, 10).await.unwrap().objects.len();
    ground.proxy.script(Rule::first("ListObjectsV2", "", Fault::Stale));
    assert_eq!(listed().await, 0, "never asked before: as it is");
    ground.proxy.clear();
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    ground
        .proxy
        .script(Rule::first("ListObjectsV2", "", Fault::Stale).times(2));
    assert_eq!((listed().await, listed().await), (0, 0));
    assert_eq!(listed().await, 1);
    assert_eq!(ground.proxy.struck().len(), 2);
}

#[tokio::test]
async fn a_seed_strikes_the_same_calls_again() {
    let struck = async |seed| {
        let ground = Ground::new();
        let store = ground.store().await;
        ground.proxy.seeded(seed, 0.2);
        for number in 0..40 {
            let _ = store.put_new(&format!("a/b/{seed}-{number}"), BODY).await;
        }
        let struck = ground.proxy.struck().into_iter();
        struck
            .map(|struck| (struck.call.operation, struck.fault))
            .collect::<Vec<_>>()
    };
    let first = struck(11).await;
    assert!(first.len() > 3, "{first:?}");
    assert_eq!(first, struck(11).await);
    assert_ne!(first, struck(12).await);
}
