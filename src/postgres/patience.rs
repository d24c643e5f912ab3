//! A socket that waits for more than a byte once a stream has shown that more comes.
//!
//! A server writes 8 KiB at a time, and each of its writes wakes whoever waits at the other end: on a `COPY` this is a good
//! part of what both sides cost. The kernel can wake us later (`SO_RCVLOWAT`), but then it would keep a stream's last bytes
//! to itself. So it is asked to only once [`FLOW_BYTES`] have come since we last wrote, and what it has is fetched when
//! nothing came for [`AT_MOST`]: an answer waits for that once a megabyte, those of small tables and statements never.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SetStruct;
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use nix::{libc, setsockopt_impl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that have to be there before a reader is woken.
#[derive(Clone, Copy, Debug)]
struct ReceiveLowWater;

setsockopt_impl!(
    ReceiveLowWater,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    libc::c_int,
    SetStruct<'_, libc::c_int>
);

/// Four of a server's writes. A socket's receive buffer has room for several times as much (128 KiB, if nobody has set less).
const ENOUGH_BYTES: libc::c_int = 32 * 1024;

/// After so many bytes that answer one question there will be more.
const FLOW_BYTES: usize = 1024 * 1024;

/// How long bytes may lie in the kernel.
const AT_MOST: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct PatientTcp {
    stream: TcpStream,
    at_most: Duration,
    /// Bytes read since we wrote, or since a wait was in vain.
    flow: usize,
    patience: Patience,
}

#[derive(Debug)]
enum Patience {
    /// Every byte wakes.
    None,
    /// Until a wait for more has lasted too long, if one is going on.
    Until { limit: Pin<Box<Sleep>>, is_waiting: bool },
}

impl PatientTcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::waiting_at_most(AT_MOST, stream)
    }

    fn waiting_at_most(at_most: Duration, stream: TcpStream) -> Self {
        Self {
            stream,
            at_most,
            flow: 0,
            patience: Patience::None,
        }
    }

    /// After a read: that many bytes were there.
    fn flowed(&mut self, bytes: usize) {
        self.flow = self.flow.saturating_add(bytes);
        if let Patience::Until { is_waiting, .. } = &mut self.patience {
            *is_waiting = false;
        } else if self.flow >= FLOW_BYTES {
            if self.wake_from(ENOUGH_BYTES) {
                self.patience = Patience::Until {
                    limit: Box::pin(sleep(self.at_most)),
                    is_waiting: false,
                };
            } else {
                // A kernel that does not know the option is asked again a megabyte later.
                self.flow = 0;
            }
        }
    }

    /// When nothing can be read: whether that has lasted too long.
    fn has_waited(&mut self, context: &mut Context<'_>) -> bool {
        let Patience::Until { limit, is_waiting } = &mut self.patience else {
            return false;
        };
        if !std::mem::replace(is_waiting, true) {
            limit.as_mut().reset(Instant::now() + self.at_most);
        }
        if limit.as_mut().poll(context).is_pending() {
            return false;
        }
        *is_waiting = false;
        self.be_impatient();
        true
    }

    /// Every byte wakes again. Where the kernel refuses that, patience stays, and with it the limit to each wait.
    fn be_impatient(&mut self) {
        if matches!(self.patience, Patience::None) || self.wake_from(1) {
            self.patience = Patience::None;
            self.flow = 0;
        }
    }

    fn wake_from(&self, bytes: libc::c_int) -> bool {
        setsockopt(&self.stream, ReceiveLowWater, &bytes).is_ok()
    }

    /// What lies in the kernel, of which nobody has been told: before Linux 4.18 not even the change of the option tells.
    fn take(&self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match recv(
            self.stream.as_raw_fd(),
            out.initialize_unfilled(),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(bytes) => out.advance(bytes),
            // The runtime knows whom to wake, by any byte from now on.
            Err(Errno::EAGAIN | Errno::EINTR) => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for PatientTcp {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let mut read = Pin::new(&mut self.stream).poll_read(context, out);
        if read.is_pending() && self.has_waited(context) {
            read = self.take(out);
        }
        if read.is_ready() {
            self.flowed(out.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for PatientTcp {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Another question: what has come so far says nothing of its answer.
        self.be_impatient();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
