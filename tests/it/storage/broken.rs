//! Uploads whose connection breaks while the body is on its way: made again, each as often as the settings say, however
//! many others broke before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use kubebackup::storage::{ErrorKind, ObjectStore as _, Operation, Outcome, Put, S3Options, S3Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ACCESS_KEY, Bucket, SECRET_KEY, chain, options};

const UNAVAILABLE: Outcome = Outcome::Failed(ErrorKind::Unavailable);

/// Larger than what a system keeps of a body that nobody reads.
const BODY_BYTES: usize = 8 << 20;

/// Of a body that breaks off so much arrives.
const ARRIVES: usize = 64 << 10;

/// A wire to the bucket on which bodies break off, `times` in all; returns the endpoint to use instead.
async fn breaking_wire(bucket: &Bucket, times: usize) -> String {
    let target = bucket.server.endpoint().replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(pass(client, server, left.clone()));
        }
    });
    endpoint
}

/// Both ways, until one of them ends. What has not been read by then makes the system reset the connection.
async fn pass(mut client: TcpStream, mut server: TcpStream, left: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let upwards = async {
        let mut buffer = vec![0; 16 << 10];
        let mut passed = 0;
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            passed += count;
            let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if passed > ARRIVES && take().is_ok() {
                return;
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upwards => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

async fn open(endpoint: &str, max_attempts: u32) -> S3Store {
    let options = S3Options {
        max_attempts,
        ..options(endpoint, ACCESS_KEY, SECRET_KEY)
    };
    S3Store::open(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_is_made_again_as_often_as_any_request() {
    let bucket = Bucket::new().await;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let store = open(&breaking_wire(&bucket, 2).await, 3).await;
    assert_eq!(store.put_new("key", body.clone()).await.unwrap(), Put::Created);
    assert_eq!(bucket.stored("key").unwrap(), body);
    assert_eq!((store.stats().puts, store.stats().retries), (3, 2));
    let ended = store.stats().ended;
    assert_eq!(ended.get(Operation::Put, UNAVAILABLE), 2);
    assert_eq!(ended.get(Operation::Put, Outcome::Ok), 1);

    let store = open(&breaking_wire(&bucket, usize::MAX).await, 2).await;
    let error = store.put_new("other", body).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", chain(&error));
    assert_eq!(store.stats().puts, 2);
    assert_eq!(bucket.stored("other"), None, "half of it is nothing");
}

/// The SDK's own allowance is spent after fifty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_that_break_off_at_once_take_nothing_from_each_other() {
    const UPLOADS: usize = 70;
    let bucket = Bucket::new().await;
    // Which of them a break hits is chance: one that comes back early may meet another.
    let store = open(&breaking_wire(&bucket, UPLOADS).await, 20).await;
    let body = Bytes::from(vec![7; 4 * ARRIVES]);
    let puts = (0..UPLOADS).map(|number| {
        let (store, body) = (&store, body.clone());
        async move { store.put_new(&format!("key-{number}"), body).await }
    });
    for put in join_all(puts).await {
        assert_eq!(put.map_err(|error| chain(&error)), Ok(Put::Created));
    }
    assert_eq!(store.stats().retries, UPLOADS as u64);
}
