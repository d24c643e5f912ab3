//! Probes, clients that are slow or silent, and the end, over real connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::http::routes::LARGE_ANSWERS;
use crate::http::sample;

/// No connection ends because it has had its time.
const FOREVER: Limits = Limits {
    lifetime: Duration::from_hours(1),
    ..Limits::USUAL
};

struct Port {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

async fn open(status: Status) -> Port {
    open_within(Limits::USUAL, status).await
}

async fn open_within(limits: Limits, status: Status) -> Port {
    open_source(limits, Arc::new(move || status.clone())).await
}

async fn open_source(limits: Limits, source: StatusSource) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let task = tokio::spawn(serve_within(limits, listener, source, cancel.clone()));
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
        ("/runs", "application/json"),
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

/// As many silent clients as there are places, and none of them has had its time.
#[tokio::test]
async fn probes_are_answered_although_silent_clients_take_every_place() {
    let port = open_within(FOREVER, sample::backup_agent()).await;
    let mut silent = Vec::new();
    for _ in 0..FOREVER.places {
        silent.push(TcpStream::connect(port.address).await.unwrap());
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert!(port.ask("GET", path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    // Each that came took the place of the oldest, or one that was free again.
    let mut byte = [0; 1];
    let closed = tokio::time::timeout(Duration::from_mins(1), silent[0].read(&mut byte)).await;
    assert_eq!(closed.expect("the first is closed").unwrap_or(0), 0);
    let last = silent.last_mut().unwrap();
    last.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 "),
        "the last is still served: {answer}"
    );
}

#[tokio::test]
async fn clients_that_say_nothing_lose_their_connections_in_time() {
    let limits = Limits {
        lifetime: Duration::from_millis(200),
        ..Limits::USUAL
    };
    let port = open_within(limits, sample::backup_agent()).await;
    let mut silent = TcpStream::connect(port.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

/// The answers are larger than what the kernel takes off our hands, and nobody reads them.
#[tokio::test]
async fn however_many_ask_for_large_answers_a_few_are_in_memory() {
    let mut status = sample::restore_agent();
    status.cluster = Some("x".repeat(12 << 20));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let source = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        status.clone()
    };
    let port = open_source(FOREVER, Arc::new(source)).await;
    let mut clients = Vec::new();
    for _ in 0..LARGE_ANSWERS + 4 {
        let mut client = TcpStream::connect(port.address).await.unwrap();
        client.write_all(b"GET /status HTTP/1.0\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    // Probes are answered all the while; what is left of the count are large answers.
    let mut probes = 0;
    let mut large = async |least: usize| loop {
        assert!(port.ask("GET", "/livez").await.starts_with("HTTP/1.1 200 "));
        probes += 1;
        let answers = asked.load(Ordering::Relaxed) - probes;
        if answers >= least {
            break answers;
        }
    };
    assert_eq!(large(LARGE_ANSWERS).await, LARGE_ANSWERS);
    for _ in 0..10 {
        assert_eq!(large(LARGE_ANSWERS).await, LARGE_ANSWERS, "the others wait");
    }
    drop(clients.remove(0));
    assert_eq!(large(LARGE_ANSWERS + 1).await, LARGE_ANSWERS + 1, "one has its turn");
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
