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

/// Both ends: ours, which waits so long at most, and the server's.
async fn connection(at_most: Duration) -> (PatientTcp, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    (PatientTcp::waiting_at_most(at_most, ours), server)
}

fn wakes_from(ours: &PatientTcp) -> libc::c_int {
    getsockopt(&ours.stream, ReceiveLowWater).unwrap()
}

/// Has the server send so much, and reads all of it.
async fn pass(ours: &mut PatientTcp, server: &mut TcpStream, bytes: usize) {
    let sent = vec![7; bytes];
    let mut came = vec![0; bytes];
    let both = async { tokio::try_join!(server.write_all(&sent), ours.read_exact(&mut came)) };
    let both = timeout(FOR_EVER, both).await;
    both.expect("bytes stay in the kernel").unwrap();
    assert!(came == sent);
}

#[tokio::test]
async fn a_stream_that_flows_wakes_its_reader_less() {
    let (mut ours, mut server) = connection(FOR_EVER).await;
    assert_eq!(wakes_from(&ours), 1);
    pass(&mut ours, &mut server, FLOW_BYTES - 1).await;
    assert_eq!(wakes_from(&ours), 1);
    pass(&mut ours, &mut server, 1).await;
    assert_eq!(wakes_from(&ours), ENOUGH_BYTES);
}

#[tokio::test]
async fn small_answers_are_no_stream_however_many_they_are() {
    let (mut ours, mut server) = connection(FOR_EVER).await;
    for _ in 0..4 {
        ours.write_all(b"Q").await.unwrap();
        pass(&mut ours, &mut server, FLOW_BYTES / 2).await;
    }
    assert_eq!(wakes_from(&ours), 1);
}

#[tokio::test]
async fn the_answer_to_another_question_wakes_by_its_first_byte() {
    let (mut ours, mut server) = connection(FOR_EVER).await;
    pass(&mut ours, &mut server, FLOW_BYTES).await;
    assert_eq!(wakes_from(&ours), ENOUGH_BYTES);
    ours.write_all(b"Q").await.unwrap();
    assert_eq!(wakes_from(&ours), 1);
    pass(&mut ours, &mut server, 1).await;
}

#[tokio::test]
async fn the_last_bytes_of_a_stream_come_and_then_every_byte_wakes_again() {
    let (mut ours, mut server) = connection(AT_MOST).await;
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
async fn the_end_of_a_connection_is_waited_for_no_longer() {
    let (mut ours, mut server) = connection(FOR_EVER).await;
    pass(&mut ours, &mut server, FLOW_BYTES).await;
    server.write_all(b"last").await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    let end = timeout(FOR_EVER / 2, ours.read_to_end(&mut rest)).await;
    end.expect("the end does not wake").unwrap();
    assert_eq!((rest.as_slice(), wakes_from(&ours)), (b"last".as_slice(), ENOUGH_BYTES));
}

#[tokio::test]
async fn a_connection_that_is_reset_is_waited_for_no_longer() {
    let (mut ours, mut server) = connection(FOR_EVER).await;
    pass(&mut ours, &mut server, FLOW_BYTES).await;
    socket2::SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let read = timeout(FOR_EVER / 2, ours.read_u8()).await;
    let error = read.expect("the reset does not wake").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
