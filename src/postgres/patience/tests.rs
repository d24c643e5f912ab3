//! Patient only while a stream flows, and never so patient that a byte is kept.

use std::time::Duration;

use nix::getsockopt_impl;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

getsockopt_impl!(
    ReceiveLowWater,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    libc::c_int,
    GetStruct<libc::c_int>
);

/// Whoever waits for longer waits for ever.
const FOR_EVER: Duration = Duration::from_secs(20);

/// Both ends: ours and the server's.
async fn connection() -> (PatientTcp, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (PatientTcp::new(ours), listener.accept().await.unwrap().0)
}

fn wakes_from(ours: &PatientTcp) -> libc::c_int {
    getsockopt(&ours.stream, ReceiveLowWater).unwrap()
}

/// Has the server send so much, and reads all of it.
async fn pass(ours: &mut PatientTcp, server: &mut TcpStream, bytes: usize) {
    let sent = vec![7; bytes];
    let mut came = vec![0; bytes];
    let both = async { tokio::try_join!(server.write_all(&sent), ours.read_exact(&mut came)) };
    timeout(FOR_EVER, both)
        .await
        .expect("bytes stay in the kernel")
        .unwrap();
    assert!(came == sent);
}

#[tokio::test]
async fn a_stream_that_flows_wakes_its_reader_less() {
    let (mut ours, mut server) = connection().await;
    assert_eq!(wakes_from(&ours), 1);
    pass(&mut ours, &mut server, FLOW_BYTES - 1).await;
    assert_eq!(wakes_from(&ours), 1, "statements and small tables wait for nothing");
    pass(&mut ours, &mut server, 1).await;
    assert_eq!(wakes_from(&ours), ENOUGH_BYTES);
}

#[tokio::test]
async fn the_last_bytes_of_a_stream_come_and_then_every_byte_wakes_again() {
    let (mut ours, mut server) = connection().await;
    pass(&mut ours, &mut server, FLOW_BYTES).await;
    // One byte that nothing follows, for which the reader waits before it is sent.
    let mut last = [0];
    let read = timeout(FOR_EVER, ours.read_exact(&mut last));
    let (read, sent) = tokio::join!(read, server.write_all(b"Z"));
    sent.unwrap();
    read.expect("the byte stays in the kernel").unwrap();
    assert_eq!(last, *b"Z");
    assert_eq!(wakes_from(&ours), 1);
    pass(&mut ours, &mut server, FLOW_BYTES - 1).await;
    assert_eq!(wakes_from(&ours), ENOUGH_BYTES, "patient again when it flows again");
}

#[tokio::test]
async fn a_stream_that_ends_is_at_its_end() {
    let (mut ours, mut server) = connection().await;
    pass(&mut ours, &mut server, FLOW_BYTES).await;
    server.write_all(b"last").await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    timeout(FOR_EVER, ours.read_to_end(&mut rest))
        .await
        .expect("the end is not told")
        .unwrap();
    assert_eq!(rest, b"last");
}
