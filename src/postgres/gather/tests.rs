//! What comes through is what was sent, however it is cut; rows lie closer together.

use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use super::*;

/// A stream that gives the bytes in pieces of the given sizes, over and over, and then ends.
struct Pieces {
    bytes: Vec<u8>,
    given: usize,
    sizes: Vec<usize>,
    reads: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.bytes.len() - self.given;
        let size = self.sizes[self.reads % self.sizes.len()].min(out.remaining()).min(left);
        out.put_slice(&self.bytes[self.given..self.given + size]);
        self.given += size;
        self.reads += 1;
        Poll::Ready(Ok(()))
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], length.as_slice(), body].concat()
}

/// What comes through, read into buffers of `room` bytes.
async fn through(bytes: Vec<u8>, sizes: Vec<usize>, room: usize, asks_for_tls: bool) -> Vec<u8> {
    let pieces = Pieces {
        bytes,
        given: 0,
        sizes,
        reads: 0,
    };
    let mut gather = if asks_for_tls {
        Gather::asking_for_tls(pieces, Arc::default())
    } else {
        Gather::new(pieces, Arc::default())
    };
    let (mut came, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match gather.read(&mut buffer).await.unwrap() {
            0 => return came,
            bytes => came.extend_from_slice(&buffer[..bytes]),
        }
    }
}

/// The messages, with consecutive rows put together.
fn understood(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (found, rest) = understood_in_part(bytes);
    assert!(rest.is_empty(), "{} bytes are no message", rest.len());
    found
}

/// The same, and what is left where the last message is not whole.
fn understood_in_part(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let (mut found, mut rest): (Vec<(u8, Vec<u8>)>, _) = (Vec::new(), bytes);
    while rest.len() >= 5 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        if length >= rest.len() {
            break;
        }
        let body = &rest[5..=length];
        match found.last_mut() {
            Some((COPY_DATA, rows)) if rest[0] == COPY_DATA => rows.extend_from_slice(body),
            _ => found.push((rest[0], body.to_vec())),
        }
        rest = &rest[length + 1..];
    }
    (found, rest.to_vec())
}

fn messages(longest: usize) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let body = prop_oneof![
        10 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 0..longest).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let tag = prop_oneof![5 => Just(COPY_DATA), 1 => prop::sample::select(b"cCZDTNSE".to_vec())];
    prop::collection::vec((tag, body), 0..60)
}

/// Pieces that come, and room to read them into: a few bytes, or more than is held.
fn sizes(least: usize) -> impl Strategy<Value = (Vec<usize>, usize)> {
    let size = move || prop_oneof![least..least + 20, least..3 * READ_BYTES];
    (prop::collection::vec(size(), 1..6), size())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

proptest! {
    #[test]
    fn the_same_messages_come_through_however_they_are_cut(
        (messages, (sizes, room)) in prop_oneof![
            (messages(500), sizes(1)),
            (messages(3 * READ_BYTES), sizes(4096)),
        ],
    ) {
        let sent: Vec<u8> = messages.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
        let came = run(through(sent.clone(), sizes, room, false));
        prop_assert_eq!(understood(&came), understood(&sent));
    }

    #[test]
    fn a_stream_that_breaks_off_comes_through_to_its_last_byte(
        messages in messages(500),
        kept in any::<prop::sample::Index>(),
        (sizes, room) in sizes(1),
    ) {
        let mut sent: Vec<u8> = messages.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
        sent.truncate(kept.index(sent.len() + 1));
        let came = run(through(sent.clone(), sizes, room, false));
        prop_assert_eq!(understood_in_part(&came), understood_in_part(&sent));
    }
}

#[test]
fn rows_that_came_together_leave_as_one_message() {
    let sent: Vec<u8> = (0..50)
        .flat_map(|n| message(COPY_DATA, format!("row {n}\n").as_bytes()))
        .collect();
    let came = run(through(sent.clone(), vec![usize::MAX], 8192, false));
    let rows = (0..50).map(|n| format!("row {n}\n")).collect::<Vec<_>>().concat();
    assert_eq!(came, message(COPY_DATA, rows.as_bytes()));
}

#[test]
fn after_a_no_to_tls_come_messages_and_after_a_yes_only_bytes() {
    let rows = [message(COPY_DATA, b"1\n"), message(COPY_DATA, b"2\n")].concat();
    let refused = run(through([b"N".as_slice(), &rows].concat(), vec![1, 100], 8192, true));
    assert_eq!(refused, [b"N".as_slice(), &message(COPY_DATA, b"1\n2\n")].concat());
    let accepted = run(through([b"S".as_slice(), &rows].concat(), vec![1, 100], 8192, true));
    assert_eq!(accepted, [b"S".as_slice(), &rows].concat());
    let error = message(b'E', b"too old");
    assert_eq!(run(through(error.clone(), vec![3], 8192, true)), error);
}

#[test]
fn a_length_that_no_server_sends_is_refused_after_what_came_before_it() {
    let sent = [
        message(COPY_DATA, b"1\n"),
        vec![COPY_DATA, 0x40, 0, 0, 5],
        b"2\n".to_vec(),
    ]
    .concat();
    let pieces = Pieces {
        bytes: sent,
        given: 0,
        sizes: vec![4],
        reads: 0,
    };
    let mut came = Vec::new();
    let error = run(Gather::new(pieces, Arc::default()).read_to_end(&mut came)).unwrap_err();
    assert_eq!(came, message(COPY_DATA, b"1\n"));
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("1073741830 bytes"), "{error}");
}

#[test]
fn a_message_that_is_no_row_is_seen_by_itself() {
    let sent = [b"1\n".as_slice(), b"2\n", b"3\x0b", b"4\n", b"", b"5\n"].map(|body| message(COPY_DATA, body));
    let came = run(through(sent.concat(), vec![usize::MAX], 8192, false));
    let expected = [b"1\n2\n".as_slice(), b"3\x0b", b"4\n", b"", b"5\n"].map(|body| message(COPY_DATA, body));
    assert_eq!(came, expected.concat());
}

#[test]
fn the_servers_count_of_a_copy_is_noted_however_it_is_cut() {
    let sent = [
        message(COPY_DATA, b"1\n"),
        message(b'c', b""),
        message(COMMAND_COMPLETE, b"COPY 4711\0"),
    ]
    .concat();
    for size in 1..sent.len() {
        let copies = Arc::new(Copies::default());
        let pieces = Pieces {
            bytes: sent.clone(),
            given: 0,
            sizes: vec![size],
            reads: 0,
        };
        let mut came = Vec::new();
        run(Gather::new(pieces, Arc::clone(&copies)).read_to_end(&mut came)).unwrap();
        assert_eq!(came, sent);
        assert_eq!(
            (copies.completed().copies, copies.completed().rows),
            (1, 4711),
            "{size}"
        );
    }
    for other in [b"INSERT 0 5\0".as_slice(), b"COPY\0", b"COPY 5", b"COPY -1\0"] {
        assert_eq!(rows_of_copy(other), None);
    }
}

#[test]
fn after_a_large_row_nothing_is_read_before_it_was_taken() {
    let row = message(COPY_DATA, &[vec![b'x'; LARGE_ROW_BYTES], vec![b'\n']].concat());
    let copies = Arc::new(Copies::default());
    let pieces = Pieces {
        bytes: [row.clone(), row.clone()].concat(),
        given: 0,
        sizes: vec![50_000],
        reads: 0,
    };
    let mut gather = Gather::new(pieces, Arc::clone(&copies));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let (mut came, mut buffer) = (0, vec![0; 2 * row.len()]);
    for expected in [row.len(), 2 * row.len()] {
        loop {
            let mut room = ReadBuf::new(&mut buffer);
            match Pin::new(&mut gather).poll_read(&mut context, &mut room) {
                Poll::Ready(read) => {
                    read.unwrap();
                    came += room.filled().len();
                }
                Poll::Pending => break,
            }
        }
        assert_eq!(came, expected);
        copies.take();
    }
}
