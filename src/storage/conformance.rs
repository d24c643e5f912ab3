//! What every store must do, as one suite of assertions that each store's tests run.
//!
//! It needs a store (or a prefix of one) that is empty, and leaves it empty. Races between creators are left out: stores
//! differ there, and nothing rests on them. Compiled for tests only.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test suite: panicking is how it fails"
)]

use bytes::Bytes;

use super::{ErrorKind, ObjectStore, Operation, Outcome, Put, list_all};

/// Runs every check, one after the other, each on keys of its own.
pub async fn conformance(store: &dyn ObjectStore) {
    an_object_comes_back_as_it_went(store).await;
    an_empty_object_is_an_object(store).await;
    an_object_is_never_replaced(store).await;
    what_is_missing_is_not_found(store).await;
    ranges_are_exact(store).await;
    what_is_larger_than_was_asked_for_is_not_read(store).await;
    keys_that_lead_elsewhere_are_no_keys(store).await;
    a_listing_is_ordered_and_bounded_by_its_prefix(store).await;
    pages_join_into_the_whole(store).await;
    a_listing_starts_after_any_text(store).await;
    deletion_is_idempotent(store).await;
    many_are_deleted_at_once(store).await;
    requests_are_counted(store).await;
    its_clock_is_the_one_that_dates_objects(store).await;
    assert_eq!(keys(store, "").await, Vec::<String>::new(), "the suite leaves nothing");
}

async fn an_object_comes_back_as_it_went(store: &dyn ObjectStore) {
    // Larger than any socket buffer, and no run of it repeats.
    let large: Bytes = (0..250_007_u32).flat_map(u32::to_le_bytes).collect();
    for (key, body) in [
        ("whole/small", Bytes::from_static(b"text\n\0\xff")),
        ("whole/a b+c=é/%41", large),
    ] {
        let before = jiff::Timestamp::now();
        assert_eq!(store.put_new(key, body.clone()).await.unwrap(), Put::Created);
        assert_eq!(store.get(key).await.unwrap(), body);
        let meta = store.head(key).await.unwrap();
        assert_eq!((meta.key.as_str(), meta.bytes), (key, body.len() as u64));
        let age = before.duration_since(meta.modified).abs().as_secs();
        assert!(age <= 60, "modified {age} s off");
        if let Some(sha256) = meta.sha256 {
            use sha2::Digest as _;
            assert_eq!(sha256, <[u8; 32]>::from(sha2::Sha256::digest(&body)));
        }
        store.delete(key).await.unwrap();
    }
}

async fn an_empty_object_is_an_object(store: &dyn ObjectStore) {
    assert_eq!(store.put_new("empty", Bytes::new()).await.unwrap(), Put::Created);
    assert_eq!(store.put_new("empty", Bytes::new()).await.unwrap(), Put::Exists);
    assert_eq!(store.get("empty").await.unwrap(), Bytes::new());
    assert_eq!(store.head("empty").await.unwrap().bytes, 0);
    assert_eq!(keys(store, "empty").await, ["empty"]);
    store.delete("empty").await.unwrap();
}

async fn an_object_is_never_replaced(store: &dyn ObjectStore) {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    assert_eq!(store.put_new("once", first.clone()).await.unwrap(), Put::Created);
    let meta = store.head("once").await.unwrap();
    assert_eq!(store.put_new("once", second.clone()).await.unwrap(), Put::Exists);
    assert_eq!(store.get("once").await.unwrap(), first);
    assert_eq!(store.head("once").await.unwrap(), meta);
    store.delete("once").await.unwrap();
    assert_eq!(
        store.put_new("once", second.clone()).await.unwrap(),
        Put::Created,
        "free again once deleted"
    );
    assert_eq!(store.get("once").await.unwrap(), second);
    store.delete("once").await.unwrap();
}

async fn what_is_missing_is_not_found(store: &dyn ObjectStore) {
    let key = "missing/object";
    let errors = [
        store.get(key).await.unwrap_err(),
        store.get_range(key, 0..1).await.unwrap_err(),
        store.head(key).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        assert_eq!(error.key, key);
        assert!(!error.is_retryable());
    }
    assert_eq!(keys(store, "missing/").await, Vec::<String>::new());
}

async fn ranges_are_exact(store: &dyn ObjectStore) {
    store.put_new("range", Bytes::from_static(b"0123456789")).await.unwrap();
    for (range, expected) in [
        (0..1, "0"),
        (3..7, "3456"),
        (9..10, "9"),
        (0..10, "0123456789"),
        (4..4, ""),
    ] {
        assert_eq!(store.get_range("range", range).await.unwrap(), expected);
    }
    for beyond in [10..11, 5..11, 100..200] {
        let error = store.get_range("range", beyond.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRange, "{beyond:?}");
    }
    store.delete("range").await.unwrap();
}

async fn what_is_larger_than_was_asked_for_is_not_read(store: &dyn ObjectStore) {
    let body = Bytes::from(vec![7; 300_000]);
    store.put_new("limit", body.clone()).await.unwrap();
    let received = store.stats().bytes_received;
    for limit in [0, 1, 299_999] {
        let error = store.get_at_most("limit", limit).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{limit}");
        assert!(!error.is_retryable());
    }
    assert_eq!(store.stats().bytes_received, received, "no byte of it");
    for limit in [300_000, u64::MAX] {
        assert_eq!(store.get_at_most("limit", limit).await.unwrap(), body);
    }
    store.delete("limit").await.unwrap();
}

async fn keys_that_lead_elsewhere_are_no_keys(store: &dyn ObjectStore) {
    let long = "x".repeat(1025);
    for key in [
        "",
        "/",
        "..",
        "../x",
        "/etc/passwd",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "./a",
        "a\0b",
        "a\nb",
        "\u{1b}[2J",
        &long,
    ] {
        let errors = [
            store.put_new(key, Bytes::new()).await.unwrap_err(),
            store.get_at_most(key, 1).await.unwrap_err(),
            store.get_range(key, 0..1).await.unwrap_err(),
            store.head(key).await.unwrap_err(),
            store.delete(key).await.unwrap_err(),
            store.delete_many(&[key.to_owned()]).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind, ErrorKind::Other, "{key:?}: {error}");
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }
    for prefix in ["../", "/etc/", "a/../../", "./"] {
        assert_eq!(keys(store, prefix).await, Vec::<String>::new(), "{prefix}");
    }
}

async fn a_listing_is_ordered_and_bounded_by_its_prefix(store: &dyn ObjectStore) {
    let ordered = [
        "list/a", "list/a.1", "list/a0", "list/b/1", "list/b/2", "list/é", "lista", "other",
    ];
    for key in ordered.iter().rev() {
        store
            .put_new(key, Bytes::copy_from_slice(key.as_bytes()))
            .await
            .unwrap();
    }
    assert_eq!(keys(store, "").await, ordered);
    assert_eq!(keys(store, "list/").await, ordered[..6]);
    assert_eq!(keys(store, "list/b").await, ordered[3..5]);
    assert_eq!(keys(store, "list/b/1").await, ordered[3..4]);
    assert_eq!(keys(store, "lis").await, ordered[..7]);
    for meta in list_all(store, "list/", None).await.unwrap() {
        assert_eq!(meta.bytes, meta.key.len() as u64);
    }
    delete_all(store, "").await;
}

async fn pages_join_into_the_whole(store: &dyn ObjectStore) {
    let all: Vec<String> = (0..7).map(|number| format!("page/{number}")).collect();
    for key in &all {
        store.put_new(key, Bytes::new()).await.unwrap();
    }
    for limit in [1, 2, 3, 7, 8] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = store
                .list("page/", seen.last().map(String::as_str), limit)
                .await
                .unwrap();
            assert!(page.objects.len() <= limit);
            seen.extend(page.objects.into_iter().map(|meta| meta.key));
            if !page.truncated {
                break;
            }
            assert!(seen.len() < all.len(), "a page that is not the last leaves something");
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    delete_all(store, "page/").await;
}

async fn a_listing_starts_after_any_text(store: &dyn ObjectStore) {
    for key in ["after/1", "after/3", "after/5"] {
        store.put_new(key, Bytes::new()).await.unwrap();
    }
    for (start_after, expected) in [
        ("", vec!["after/1", "after/3", "after/5"]),
        ("a", vec!["after/1", "after/3", "after/5"]),
        ("after/1", vec!["after/3", "after/5"]),
        ("after/2", vec!["after/3", "after/5"]),
        ("after/5", vec![]),
        ("b", vec![]),
    ] {
        let page = store.list("after/", Some(start_after), 10).await.unwrap();
        let found: Vec<_> = page.objects.iter().map(|meta| meta.key.as_str()).collect();
        assert_eq!(found, expected, "after '{start_after}'");
        assert!(!page.truncated);
    }
    delete_all(store, "after/").await;
}

async fn deletion_is_idempotent(store: &dyn ObjectStore) {
    store.put_new("gone", Bytes::from_static(b"x")).await.unwrap();
    store.put_new("gone-not", Bytes::from_static(b"y")).await.unwrap();
    store.delete("gone").await.unwrap();
    store.delete("gone").await.unwrap();
    assert!(store.get("gone").await.unwrap_err().is_not_found());
    assert_eq!(keys(store, "").await, ["gone-not"], "a prefix is not a key");
    store.delete("gone-not").await.unwrap();
}

async fn many_are_deleted_at_once(store: &dyn ObjectStore) {
    let keys_of = |names: &[&str]| names.iter().map(|name| format!("many/{name}")).collect::<Vec<_>>();
    let gone = keys_of(&["1", "2 <&> \"é\"", "never there", "3"]);
    for key in gone
        .iter()
        .filter(|key| !key.ends_with("there"))
        .chain(&keys_of(&["left"]))
    {
        store.put_new(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let before = store.stats().deletes;
    assert!(store.delete_many(&gone).await.unwrap().is_empty());
    assert_eq!(store.stats().deletes - before, 1, "one request for all");
    assert_eq!(keys(store, "many/").await, ["many/left"]);
    assert!(store.delete_many(&keys_of(&["left"])).await.unwrap().is_empty());
    assert!(store.delete_many(&[]).await.unwrap().is_empty());
    assert_eq!(store.stats().deletes - before, 2, "nothing to delete is no request");
}

async fn requests_are_counted(store: &dyn ObjectStore) {
    let body = Bytes::from_static(b"0123456789");
    let before = store.stats();
    store.put_new("count", body.clone()).await.unwrap();
    store.get("count").await.unwrap();
    store.get_range("count", 2..5).await.unwrap();
    store.list("count", None, 10).await.unwrap();
    store.delete("count").await.unwrap();
    let after = store.stats();
    assert_eq!(after.puts - before.puts, 1);
    assert_eq!(after.gets - before.gets, 2);
    assert_eq!(after.lists - before.lists, 1);
    assert_eq!(after.deletes - before.deletes, 1);
    assert_eq!(after.bytes_sent - before.bytes_sent, 10);
    assert_eq!(after.bytes_received - before.bytes_received, 13);
    assert_eq!(after.retries, before.retries);
    let ended = |operation, outcome| after.ended.get(operation, outcome) - before.ended.get(operation, outcome);
    for (operation, number) in [
        (Operation::Put, 1),
        (Operation::Get, 2),
        (Operation::List, 1),
        (Operation::Delete, 1),
    ] {
        assert_eq!(ended(operation, Outcome::Ok), number, "{operation:?}");
    }
    let not_found = Outcome::Failed(ErrorKind::NotFound);
    let before = store.stats().ended.get(Operation::Get, not_found);
    store.get("count").await.unwrap_err();
    assert_eq!(store.stats().ended.get(Operation::Get, not_found), before + 1);
}

async fn its_clock_is_the_one_that_dates_objects(store: &dyn ObjectStore) {
    store.put_new("clock", Bytes::new()).await.unwrap();
    let modified = store.head("clock").await.unwrap().modified;
    let age = store.now().duration_since(modified).as_secs();
    assert!((-1..=60).contains(&age), "{age} s old");
    store.delete("clock").await.unwrap();
}

async fn keys(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    let objects = list_all(store, prefix, None).await.unwrap();
    objects.into_iter().map(|meta| meta.key).collect()
}

async fn delete_all(store: &dyn ObjectStore, prefix: &str) {
    for key in keys(store, prefix).await {
        store.delete(&key).await.unwrap();
    }
}
