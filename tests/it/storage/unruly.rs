//! What answers like a store and is none that keeps the rules: answers without end, pages that repeat, a connection that is
//! closed too early, words about keys that nobody asked for. And what such stores are sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kubebackup::storage::{ErrorKind, ObjectStore as _, Put, list_all};
use md5::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{PATIENCE, chain, open};

/// A server that answers each request with the head and no end of the body.
async fn endless(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 16 * 1024];
                let _ = client.read(&mut request).await;
                let mut sent = client.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = client.write_all(b"2000\r\n").await;
                    sent = sent.and(client.write_all(&[b'x'; 0x2000]).await);
                    sent = sent.and(client.write_all(b"\r\n").await);
                }
            });
        }
    });
    endpoint
}

#[tokio::test]
async fn an_object_of_ten_gigabytes_is_refused_by_its_announced_size_and_one_without_a_size_as_soon_as_it_is_too_long()
{
    let announced = endless("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n").await;
    let store = open(&announced, 3).await;
    let error = store.get_at_most("key", 65_536).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge, "{}", chain(&error));
    assert!(chain(&error).contains("10737418240 bytes"), "{}", chain(&error));
    assert_eq!((store.stats().gets, store.stats().bytes_received), (1, 0));

    let unannounced = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let store = open(&unannounced, 3).await;
    let error = store.get_at_most("key", 65_536).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge, "{}", chain(&error));
    let received = store.stats().bytes_received;
    assert!(received < 1 << 20, "{received} bytes");
    assert_eq!(store.stats().gets, 1, "not asked for again");
}

/// A store that answers every request with this page.
async fn repeating(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    match client.read(&mut buffer).await {
                        Ok(count @ 1..) => head.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    endpoint
}

/// Some gateways and caches do not know `start-after`.
#[tokio::test]
async fn a_listing_that_does_not_go_on_after_what_was_listed_ends_with_an_error_and_not_never() {
    let object = |key: &str| {
        format!(
            "<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-11-21T05:51:17.000Z</LastModified></Contents>"
        )
    };
    let page = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated>{}{}</ListBucketResult>",
        object("a"),
        object("b")
    );
    let store = open(&repeating(page).await, 1).await;
    let first = store.list("", None, 2).await.unwrap();
    assert_eq!(first.objects.len(), 2);
    let listed = tokio::time::timeout(PATIENCE, list_all(&store, "", None)).await;
    let error = listed.expect("it ends").unwrap_err();
    assert!(chain(&error).contains("does not go on"), "{}", chain(&error));
    assert_eq!(store.stats().lists, 3, "the second page told it");
}

#[tokio::test]
async fn a_listing_of_versions_that_repeats_its_page_ends_too() {
    let marker = "<DeleteMarker><Key>key</Key><VersionId>1</VersionId><IsLatest>true</IsLatest>\
                  <LastModified>2026-11-21T05:51:17.000Z</LastModified></DeleteMarker>";
    let page = format!(
        "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker>\
         <NextVersionIdMarker>1</NextVersionIdMarker>{marker}</ListVersionsResult>"
    );
    let store = open(&repeating(page).await, 1).await;
    let hidden = tokio::time::timeout(PATIENCE, store.hidden("")).await;
    let error = hidden.expect("it ends").unwrap_err();
    assert!(chain(&error).contains("does not go on"), "{}", chain(&error));
    let versions = tokio::time::timeout(PATIENCE, store.versions("key")).await;
    let versions = versions.expect("it ends").unwrap();
    assert!(versions.is_cut && versions.all.is_empty(), "{versions:?}");
}

#[tokio::test]
async fn a_listing_or_a_refusal_that_does_not_end_is_not_read_to_its_end() {
    let page = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let error = open(&page, 1).await.list("chunks/", None, 1000).await.unwrap_err();
    assert!(chain(&error).contains("length limit exceeded"), "{}", chain(&error));

    let refusal = endless("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let error = open(&refusal, 1).await.get_at_most("key", 65_536).await.unwrap_err();
    assert!(chain(&error).contains("length limit exceeded"), "{}", chain(&error));
}

/// A store that has every object by the time that it is sent, and hangs up while the body is on its way: what it may have said
/// is lost to whoever is still writing. Who asks before anything was sent is told that there is none.
async fn hasty() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let sent = Arc::clone(&sent);
            tokio::spawn(async move {
                let mut head = [0; 2048];
                let count = client.read(&mut head).await.unwrap_or(0);
                if head[..count].starts_with(b"PUT") {
                    sent.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                let answer = if sent.load(Ordering::SeqCst) == 0 {
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Sun, 29 Nov 2026 00:00:00 GMT\r\nETag: \"e\"\r\nConnection: close\r\n\r\n"
                };
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    endpoint
}

#[tokio::test]
async fn an_object_that_is_there_already_is_no_error_where_the_store_hangs_up_before_it_has_read_the_body() {
    let store = open(&hasty().await, 2).await;
    let large = Bytes::from(vec![7; 32 * 1024 * 1024]);
    let put = store.put_new("key", large).await;
    assert!(matches!(put, Ok(Put::Exists)), "{put:?}");
}

/// A store that says this of every deletion of many keys and deletes single ones; heads and bodies of what it was asked.
async fn deleting(said: &'static str) -> (String, Arc<Mutex<Vec<(String, Vec<u8>)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let Some(request) = read_request(&mut client).await else {
                    return;
                };
                let (status, page) = if request.0.starts_with("POST") {
                    ("200 OK", said)
                } else {
                    ("204 No Content", "")
                };
                seen.lock().unwrap().push(request);
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
                    page.len()
                );
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    (endpoint, asked)
}

/// Head, in lower case but for its first line, and body.
async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut request = Vec::new();
    loop {
        let end = request.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let (first, rest) = head.split_once("\r\n")?;
            let head = format!("{first}\r\n{}", lower_names(rest));
            let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some((head, request[end + 4..].to_vec()));
            }
        }
        let count = client.read_buf(&mut request).await.ok()?;
        if count == 0 {
            return None;
        }
    }
}

fn lower_names(head: &str) -> String {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let lines: Vec<String> = lines
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect();
    lines.join("\r\n")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find_map(|(found, value)| (found == name).then_some(value))
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn a_deletion_of_many_keys_carries_the_md5_of_its_body() {
    let (endpoint, asked) = deleting("<DeleteResult></DeleteResult>").await;
    let keys = KEYS.map(str::to_owned);
    assert!(open(&endpoint, 1).await.delete_many(&keys).await.unwrap().is_empty());
    let asked = asked.lock().unwrap();
    let [(head, body)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let text = String::from_utf8_lossy(body);
    assert!(
        KEYS.iter().all(|key| text.contains(&format!("<Key>{key}</Key>"))),
        "{text}"
    );
    let md5 = STANDARD.encode(md5::Md5::digest(body));
    assert_eq!(header(head, "content-md5"), Some(md5.as_str()), "{head}");
}

#[tokio::test]
async fn a_store_that_speaks_of_a_key_that_nobody_asked_about_is_asked_key_by_key() {
    let strange = "<DeleteResult><Error><Key>other</Key><Code>AccessDenied</Code></Error></DeleteResult>";
    let (endpoint, asked) = deleting(strange).await;
    let keys = KEYS.map(str::to_owned);
    assert!(open(&endpoint, 1).await.delete_many(&keys).await.unwrap().is_empty());
    let asked = asked.lock().unwrap();
    let mut singly: Vec<&str> = asked
        .iter()
        .filter_map(|(head, _)| head.strip_prefix("DELETE ")?.split(['?', ' ']).next())
        .collect();
    singly.sort_unstable();
    let expected = KEYS.map(|key| format!("/backups/{key}"));
    assert_eq!(
        (asked.len(), singly),
        (6, expected.iter().map(String::as_str).collect()),
        "{asked:?}"
    );
}
