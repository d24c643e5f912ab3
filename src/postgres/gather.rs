//! Reads in large pieces and makes many rows into one message: what a COPY costs this side, row by row, is mostly this.
//!
//! A server sends each row as a `CopyData` message of its own, in writes of 8 KiB. Here they are read as many at a time as
//! there are, and consecutive whole `CopyData` messages leave as one that holds their rows one after the other, which the
//! protocol allows: a message's borders mean nothing. Every other byte passes as it came. Under TLS this stands above it,
//! because below it there is nothing to read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::copies::Copies;

/// Read from the socket at a time, and so what one message can hold of several, at most.
const READ_BYTES: usize = 64 * 1024;

/// Tag and length, which counts itself and not the tag.
const HEADER_BYTES: usize = 5;

/// PostgreSQL builds no message beyond 1 GiB. A length beyond it has been corrupted on the way, and the driver would wait,
/// and make room, for as many bytes.
const LONGEST_MESSAGE_BYTES: usize = 1024 * 1024 * 1024 + HEADER_BYTES;

/// Of larger rows the driver gets one at a time.
const LARGE_ROW_BYTES: usize = 1024 * 1024;

const COPY_DATA: u8 = b'd';
const COMMAND_COMPLETE: u8 = b'C';

/// A stream of the server's messages.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    speech: Speech,
    /// Bytes read and not handed on: those from `begin` up to `end`.
    read: Box<[u8]>,
    begin: usize,
    end: usize,
    /// Bytes that pass as they are before the next header.
    passing: usize,
    /// Up to here headers are left out: the first of these messages has been made to hold them all.
    gathered_to: usize,
    is_at_end: bool,
    /// What the next message says that it has, where no server sends so much.
    unbelievable: Option<usize>,
    /// What passes is a large row.
    is_large: bool,
    copies: Arc<Copies>,
}

/// What the bytes to come are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// One byte: whether the server speaks TLS. Messages if not.
    TlsAnswer,
    Messages,
    /// TLS, and nothing that could be understood.
    Opaque,
}

impl<S> Gather<S> {
    /// Over a connection whose first bytes are messages.
    pub(super) fn new(stream: S, copies: Arc<Copies>) -> Self {
        Self {
            stream,
            speech: Speech::Messages,
            read: Box::default(),
            begin: 0,
            end: 0,
            passing: 0,
            gathered_to: 0,
            is_at_end: false,
            unbelievable: None,
            is_large: false,
            copies,
        }
    }

    /// Over a connection on which TLS is asked for first.
    pub(super) fn asking_for_tls(stream: S, copies: Arc<Copies>) -> Self {
        Self {
            speech: Speech::TlsAnswer,
            ..Self::new(stream, copies)
        }
    }

    /// Moves what can be understood without reading more from what was read to `out`.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        while self.begin < self.end && out.remaining() > 0 && (self.passing > 0 || self.look_at_next()) {
            let bytes = self.passing.min(self.end - self.begin).min(out.remaining());
            out.put_slice(&self.read[self.begin..self.begin + bytes]);
            self.begin += bytes;
            self.passing -= bytes;
            if self.passing == 0 && std::mem::take(&mut self.is_large) {
                self.copies.hold();
                break;
            }
        }
    }

    /// Says what passes next; false when that cannot be known before more is read.
    fn look_at_next(&mut self) -> bool {
        match self.speech {
            Speech::Opaque => self.passing = self.end - self.begin,
            Speech::TlsAnswer => {
                let answer = self.read[self.begin];
                self.speech = if answer == b'S' {
                    Speech::Opaque
                } else {
                    Speech::Messages
                };
                // What is neither yes nor no is the first message: an error.
                self.passing = usize::from(matches!(answer, b'S' | b'N'));
            }
            Speech::Messages => {
                let Some((tag, bytes)) = self.header(self.begin) else {
                    // A stream that breaks off passes to its last byte.
                    self.passing = if self.is_at_end { self.end - self.begin } else { 0 };
                    return self.is_at_end;
                };
                if bytes > LONGEST_MESSAGE_BYTES {
                    self.unbelievable = Some(bytes);
                    return false;
                }
                let is_whole = bytes <= self.end - self.begin;
                if self.begin < self.gathered_to {
                    self.begin += HEADER_BYTES;
                    self.passing = bytes - HEADER_BYTES;
                } else if tag == COPY_DATA && is_whole {
                    self.gather();
                    self.passing = bytes;
                } else if matches!(tag, COPY_DATA | COMMAND_COMPLETE)
                    && !is_whole
                    && bytes <= READ_BYTES / 2
                    && !self.is_at_end
                {
                    return false;
                } else {
                    self.note(tag, bytes);
                    self.passing = bytes;
                }
            }
        }
        true
    }

    /// Of a message that passes as it is: a large row, or the server's count of a COPY's rows.
    fn note(&mut self, tag: u8, bytes: usize) {
        self.is_large = tag == COPY_DATA && bytes > LARGE_ROW_BYTES;
        let body = self.read[..self.end].get(self.begin + HEADER_BYTES..self.begin + bytes);
        if tag == COMMAND_COMPLETE
            && let Some(rows) = body.and_then(rows_of_copy)
        {
            self.copies.complete(rows);
        }
    }

    /// Makes the `CopyData` message that comes next hold all whole ones that follow it. One that does not end as a row does
    /// stays by itself, so that whoever reads rows sees that something happened to it on the way.
    fn gather(&mut self) {
        let (mut end, mut rows) = (self.begin, 0);
        while let Some((COPY_DATA, bytes)) = self.header(end)
            && end + bytes <= self.end
        {
            let is_row = bytes > HEADER_BYTES && self.read[end + bytes - 1] == b'\n';
            if is_row || end == self.begin {
                rows += bytes - HEADER_BYTES;
                end += bytes;
            }
            if !is_row {
                break;
            }
        }
        self.gathered_to = end;
        // Never more than was read.
        let length = u32::try_from(rows + HEADER_BYTES - 1).unwrap_or(u32::MAX).to_be_bytes();
        self.read[self.begin + 1..self.begin + HEADER_BYTES].copy_from_slice(&length);
    }

    /// Tag and bytes, header included, of the message that begins at `position`, once its header has come.
    fn header(&self, position: usize) -> Option<(u8, usize)> {
        let header = self.read[..self.end].get(position..position + HEADER_BYTES)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        // A length that does not count itself is for the driver to refuse.
        Some((header[0], (length + 1).max(HEADER_BYTES)))
    }
}

impl<S: AsyncRead + Unpin> Gather<S> {
    /// Reads once; false at the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            self.read = vec![0; READ_BYTES].into();
        }
        // Nothing that was gathered is left: all of it had been read.
        self.gathered_to = 0;
        self.read.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        let mut room = ReadBuf::new(&mut self.read[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        let bytes = room.filled().len();
        self.end += bytes;
        self.is_at_end |= bytes == 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = out.filled().len();
        loop {
            if this.speech == Speech::Opaque && this.begin == this.end {
                // What is understood lies above the encryption: there is nothing to hold here.
                this.read = Box::default();
                (this.begin, this.end) = (0, 0);
                return Pin::new(&mut this.stream).poll_read(context, out);
            }
            ready!(this.copies.poll_taken(context));
            this.hand_on(out);
            let is_over = this.is_at_end && this.begin == this.end;
            if out.filled().len() > before || is_over || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(bytes) = this.unbelievable {
                return Poll::Ready(Err(corrupted(bytes)));
            }
            ready!(this.poll_fill(context))?;
        }
    }
}

/// Of the tag `COPY <rows>`.
fn rows_of_copy(body: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(body.strip_suffix(b"\0")?).ok()?;
    tag.strip_prefix("COPY ")?.parse().ok()
}

fn corrupted(bytes: usize) -> io::Error {
    let reason =
        format!("the stream from the server is corrupted: a message of {bytes} bytes, where none has more than 1 GiB");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Gather<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// A TLS connector whose stream is gathered.
pub(super) struct GatherTls<C> {
    pub(super) connector: C,
    pub(super) copies: Arc<Copies>,
}

impl<S, C> TlsConnect<S> for GatherTls<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = Gather<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.connector.connect(stream);
        Box::pin(async move { connecting.await.map(|stream| Gather::new(stream, self.copies)) })
    }
}

#[cfg(test)]
mod tests;
