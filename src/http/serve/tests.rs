//! Probes, clients that are slow or silent, and the end, over real connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::http::sample;

struct Port {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

async fn open(status: Status) -> Port {
    open_within(Limits::USUAL, status).await
}

async fn open_within(limits: Limits, status: Status) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let task = tokio::spawn(serve_within(
        limits,
        listener,
        Arc::new(move || status.clone()),
        cancel.clone(),
    ));
    Port { address, cancel, task }
}

impl Port {
    /// Status line, headers and body as they came.
    async fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: agent\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn every_view_answers_once_closes_and_forbids_caches_frames_and_scripts() {
    let port = open(sample::backup_agent()).await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/status", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
    ] {
        let answer = port.ask("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        for header in [
            &format!("content-type: {content_type}"),
            "connection: close",
            "cache-control: no-store",
            "content-security-policy: default-src 'none';",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
        ] {
            assert!(
                answer.contains(&format!("\r\n{header}")),
                "{path}: no {header} in {answer}"
            );
        }
        let head = port.ask("HEAD", path).await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn the_status_is_read_back_as_it_was() {
    let status = sample::restore_agent();
    let port = open(status.clone()).await;
    let answer = port.ask("GET", "/status").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Status>(body).unwrap(), status);
}

#[tokio::test]
async fn nothing_can_be_changed_and_nothing_else_is_there() {
    let port = open(sample::backup_agent()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = port.ask(method, "/status").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    for path in ["/nothing", "/status/", "//", "/../etc/passwd"] {
        let answer = port.ask("GET", path).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.contains("no-store"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_loop_that_has_stopped_is_not_live_but_ready() {
    let mut status = sample::backup_agent();
    status.turned = status.now - SignedDuration::from_secs(61);
    let port = open(status).await;
    let answer = port.ask("GET", "/livez").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("for 61 s"),
        "{answer}"
    );
    assert!(port.ask("GET", "/readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_clock_that_was_set_back_and_a_store_that_is_away_do_not_end_the_process() {
    let mut status = sample::backup_agent();
    status.turned = status.now + SignedDuration::from_hours(3);
    status.waiting_for = Some("the store".to_owned());
    let port = open(status).await;
    assert!(port.ask("GET", "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(port.ask("GET", "/readyz").await.starts_with("HTTP/1.1 200 "));
}

/// As many silent clients as there are places: whoever comes after them waits until they have had their time.
#[tokio::test]
async fn clients_that_say_nothing_lose_their_places() {
    let limits = Limits {
        lifetime: Duration::from_millis(200),
        places: 3,
        ..Limits::USUAL
    };
    let port = open_within(limits, sample::backup_agent()).await;
    let mut silent = Vec::new();
    for _ in 0..limits.places {
        silent.push(TcpStream::connect(port.address).await.unwrap());
    }
    let begun = Instant::now();
    let answer = port.ask("GET", "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        begun.elapsed() >= limits.lifetime / 2,
        "there was a place: {:?}",
        begun.elapsed()
    );
    assert_eq!(
        silent[0].read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "the first has been closed"
    );
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_does_not_delay_the_end() {
    let port = open(sample::backup_agent()).await;
    let mut slow = TcpStream::connect(port.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ag").await.unwrap();
    assert!(port.ask("GET", "/readyz").await.starts_with("HTTP/1.1 200 "));
    let begun = Instant::now();
    port.cancel.cancel();
    port.task.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(port.address).await.is_err());
}
