//! What happens between us and the store: bytes change, answers are lost, bodies break off, nobody answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kubebackup::demo::{S3Effect, S3Fault};
use kubebackup::storage::{ErrorKind, ObjectStore as _, Operation, Outcome, Put, S3Options, S3Store};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{ACCESS_KEY, Bucket, PATIENCE, SECRET_KEY, chain, open, options};

const BODY: Bytes = Bytes::from_static(b"these bytes are to arrive as they are");

const UNAVAILABLE: Outcome = Outcome::Failed(ErrorKind::Unavailable);

/// What a wire does to what passes through it, a limited number of times.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    /// Changes a byte of [`BODY`] on its way up.
    FlipUpwards,
    /// Closes the connection after so many bytes on their way down.
    CutDownwards(usize),
    /// Lets nothing more through after so many bytes on their way down.
    StallDownwards(usize),
}

/// A wire between a test and its bucket; returns the endpoint to use instead.
async fn wire(bucket: &Bucket, mischief: Mischief, times: usize) -> String {
    let target = bucket.server.endpoint().replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&target).await.unwrap();
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            tokio::spawn(pass(client_read, server_write, mischief, left.clone(), true));
            tokio::spawn(pass(server_read, client_write, mischief, left.clone(), false));
        }
    });
    endpoint
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mischief: Mischief,
    left: Arc<AtomicUsize>,
    is_upwards: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut piece = &mut buffer[..count];
        let take = || {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        };
        match mischief {
            Mischief::FlipUpwards if is_upwards => {
                let position = piece.windows(BODY.len()).position(|window| window == BODY);
                if let Some(position) = position
                    && take()
                {
                    piece[position + 5] ^= 1;
                }
            }
            Mischief::CutDownwards(limit) if !is_upwards && passed + count > limit && take() => {
                piece = &mut piece[..limit.saturating_sub(passed)];
                let _ = to.write_all(piece).await;
                return;
            }
            Mischief::StallDownwards(limit) if !is_upwards && passed + count > limit && take() => {
                piece = &mut piece[..limit.saturating_sub(passed)];
                let _ = to.write_all(piece).await;
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        passed += count;
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

fn fault(operation: &'static str, times: usize, effect: S3Effect) -> S3Fault {
    S3Fault {
        operation: Some(operation),
        key_prefix: String::new(),
        times,
        effect,
    }
}

#[tokio::test]
async fn a_byte_flipped_on_the_way_up_is_refused_and_nothing_is_stored() {
    let bucket = Bucket::new().await;
    let store = open(&wire(&bucket, Mischief::FlipUpwards, usize::MAX).await, 2).await;
    let error = store.put_new("key", BODY).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Checksum, "{}", chain(&error));
    assert_eq!(bucket.stored("key"), None);
    assert_eq!(
        (store.stats().puts, store.stats().retries),
        (2, 1),
        "sent again, for a wire may do better"
    );
}

#[tokio::test]
async fn a_byte_flipped_once_is_healed_by_sending_again() {
    let bucket = Bucket::new().await;
    let store = open(&wire(&bucket, Mischief::FlipUpwards, 1).await, 3).await;
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    assert_eq!(bucket.stored("key").unwrap(), BODY);
}

#[tokio::test]
async fn a_body_that_breaks_off_on_the_way_down_is_asked_for_again() {
    let bucket = Bucket::new().await;
    let body: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    bucket.store().await.put_new("key", body.clone()).await.unwrap();
    let store = open(&wire(&bucket, Mischief::CutDownwards(150_000), 2).await, 4).await;
    assert_eq!(store.get("key").await.unwrap(), body);
    assert_eq!(store.stats().retries, 2);
    let ended = store.stats().ended;
    assert_eq!(
        (
            ended.get(Operation::Get, UNAVAILABLE),
            ended.get(Operation::Get, Outcome::Ok)
        ),
        (2, 1),
        "an answer without its body is no success"
    );

    let store = open(&wire(&bucket, Mischief::CutDownwards(150_000), usize::MAX).await, 2).await;
    let error = store.get("key").await.unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::Unavailable,
        "never a short body: {}",
        chain(&error)
    );
    assert_eq!(store.stats().gets, 2);
}

#[tokio::test]
async fn a_body_that_stalls_on_the_way_down_is_asked_for_again() {
    let bucket = Bucket::new().await;
    let body: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    bucket.store().await.put_new("key", body.clone()).await.unwrap();
    let endpoint = wire(&bucket, Mischief::StallDownwards(150_000), 1).await;
    let options = S3Options {
        read_timeout: Duration::from_millis(300),
        ..options(&endpoint, ACCESS_KEY, SECRET_KEY)
    };
    let store = S3Store::open(options).await.unwrap();
    assert_eq!(store.get("key").await.unwrap(), body);
    assert_eq!(store.stats().retries, 1);
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_meets_its_own_object() {
    let bucket = Bucket::new().await;
    bucket.controls().inject(fault("PutObject", 1, S3Effect::LoseAnswer));
    let store = bucket.store().await;
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Exists);
    assert_eq!(bucket.stored("key").unwrap(), BODY);
    assert_eq!(store.stats().puts, 2);
    let ended = store.stats().ended;
    assert_eq!(ended.get(Operation::Put, UNAVAILABLE), 1);
    assert_eq!(ended.get(Operation::Put, Outcome::Exists), 1);
}

#[tokio::test]
async fn the_time_is_that_of_the_stores_last_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = socket.read(&mut request).await.unwrap();
            let answer = "HTTP/1.1 404 Not Found\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Length: 0\r\n\
                          Connection: close\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let store = open(&endpoint, 1).await;
    let seconds_since = |time: jiff::Timestamp| store.now().duration_since(time).as_secs();
    assert!(
        (0..60).contains(&seconds_since(jiff::Timestamp::now())),
        "ours, before any answer"
    );
    assert_eq!(store.get("key").await.unwrap_err().kind, ErrorKind::NotFound);
    let told: jiff::Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    assert!((0..60).contains(&seconds_since(told)), "{}", store.now());
}

#[tokio::test]
async fn a_throttling_store_is_asked_again_and_counted() {
    let bucket = Bucket::new().await;
    for (code, operation) in [
        ("SlowDown", "PutObject"),
        ("InternalError", "GetObject"),
        ("ServiceUnavailable", "ListObjectsV2"),
    ] {
        bucket.controls().inject(fault(operation, 2, S3Effect::Refuse(code)));
    }
    let store = bucket.store().await;
    assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created);
    assert_eq!(store.get("key").await.unwrap(), BODY);
    assert_eq!(store.list("", None, 10).await.unwrap().objects.len(), 1);
    let stats = store.stats();
    assert_eq!((stats.puts, stats.gets, stats.lists, stats.retries), (3, 3, 3, 6));
    for operation in [Operation::Put, Operation::Get, Operation::List] {
        assert_eq!(stats.ended.get(operation, Outcome::Ok), 1, "{operation:?}");
        assert_eq!(stats.ended.get(operation, UNAVAILABLE), 2, "{operation:?}");
    }
}

#[tokio::test]
async fn a_bare_429_and_an_upload_under_way_elsewhere_are_worth_another_attempt() {
    for code in ["TooManyRequests", "ConditionalRequestConflict"] {
        let bucket = Bucket::new().await;
        bucket.controls().inject(fault("PutObject", 1, S3Effect::Refuse(code)));
        let store = bucket.store().await;
        assert_eq!(store.put_new("key", BODY).await.unwrap(), Put::Created, "{code}");
        assert_eq!(store.stats().retries, 1, "{code}");

        bucket
            .controls()
            .inject(fault("PutObject", usize::MAX, S3Effect::Refuse(code)));
        let store = open(&bucket.server.endpoint(), 1).await;
        let error = store.put_new("other", BODY).await.unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Unavailable,
            "never taken for an object that is there: {}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn a_store_that_throttles_for_ever_is_given_up_after_the_last_attempt() {
    let bucket = Bucket::new().await;
    bucket
        .controls()
        .inject(fault("GetObject", usize::MAX, S3Effect::Refuse("SlowDown")));
    let store = open(&bucket.server.endpoint(), 2).await;
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(bucket.controls().count("GetObject"), 2);
}

#[tokio::test]
async fn a_store_that_never_answers_ends_with_the_attempts() {
    let bucket = Bucket::new().await;
    bucket.controls().inject(fault("GetObject", usize::MAX, S3Effect::Hang));
    for limit in ["attempt", "read"] {
        let (short, long) = (Duration::from_millis(200), PATIENCE);
        let (attempt_timeout, read_timeout) = if limit == "attempt" {
            (short, long)
        } else {
            (long, short)
        };
        let options = S3Options {
            attempt_timeout,
            read_timeout,
            max_attempts: 2,
            ..bucket.options()
        };
        let store = S3Store::open(options).await.unwrap();
        let begin = Instant::now();
        let error = store.get("key").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", chain(&error));
        assert!(begin.elapsed() < PATIENCE, "{limit}: {:?}", begin.elapsed());
        assert_eq!(store.stats().gets, 2, "{limit}");
        assert_eq!(store.stats().ended.get(Operation::Get, UNAVAILABLE), 2, "{limit}");
    }
}

/// A listener whose queue of connections is full: the next attempt to connect is not answered at all.
async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_host_that_does_not_take_the_connection_ends_with_the_connect_timeout() {
    let (listener, _waiting) = full_listener().await;
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let options = S3Options {
        connect_timeout: Duration::from_millis(200),
        read_timeout: PATIENCE,
        attempt_timeout: PATIENCE,
        max_attempts: 1,
        ..options(&endpoint, ACCESS_KEY, SECRET_KEY)
    };
    let begin = Instant::now();
    let error = S3Store::open(options).await.unwrap().head("key").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", chain(&error));
    assert!(
        chain(&error).contains("connect timeout occurred after 200ms"),
        "{}",
        chain(&error)
    );
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_body_that_rotted_in_the_store_is_handed_over_as_it_is() {
    let bucket = Bucket::new().await;
    let store = bucket.store().await;
    store.put_new("key", BODY).await.unwrap();
    let mut rotten = BODY.to_vec();
    rotten[3] ^= 1;
    std::fs::write(bucket.server.root().join(super::BUCKET).join("key"), &rotten).unwrap();
    // The reader knows the digest, says damage and names the chunk; an error here would read as a store out of order.
    assert_eq!(store.get("key").await.unwrap(), rotten);
    assert_eq!(store.stats().retries, 0);
}
