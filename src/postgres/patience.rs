//! A socket that waits for more than a byte once a stream has shown that more comes.
//!
//! A server writes 8 KiB at a time, and each of its writes wakes whoever waits at the other end: on a `COPY` this is a good
//! part of what both sides cost. The kernel can wake us later (`SO_RCVLOWAT`), but then it would keep a stream's last bytes
//! to itself. So it is asked to only after [`FLOW_BYTES`] in one go, and is told to hand over what there is when nothing came
//! for [`AT_MOST`]: an answer waits for that once a megabyte, small tables and statements never.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetStruct;
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

/// Half of what is read at a time. The kernel's own least receive buffer has room for it.
const ENOUGH_BYTES: libc::c_int = 32 * 1024;

/// After so many bytes without a wait in vain there will be more.
const FLOW_BYTES: usize = 1024 * 1024;

/// How long bytes may lie in the kernel.
const AT_MOST: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct PatientTcp {
    stream: TcpStream,
    /// Bytes read since a wait was in vain.
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
        Self {
            stream,
            flow: 0,
            patience: Patience::None,
        }
    }

    /// After a read: that many bytes were there.
    fn flowed(&mut self, bytes: usize) {
        self.flow = self.flow.saturating_add(bytes);
        if let Patience::Until { is_waiting, .. } = &mut self.patience {
            *is_waiting = false;
        } else if self.flow >= FLOW_BYTES && self.wake_from(ENOUGH_BYTES) {
            self.patience = Patience::Until {
                limit: Box::pin(sleep(AT_MOST)),
                is_waiting: false,
            };
        }
    }

    /// When nothing can be read: loses patience in time. What lies in the kernel wakes us as soon as it may.
    fn poll_limit(&mut self, context: &mut Context<'_>) {
        let Patience::Until { limit, is_waiting } = &mut self.patience else {
            return;
        };
        if !std::mem::replace(is_waiting, true) {
            limit.as_mut().reset(Instant::now() + AT_MOST);
        }
        if limit.as_mut().poll(context).is_ready() {
            self.wake_from(1);
            self.patience = Patience::None;
            self.flow = 0;
        }
    }

    fn wake_from(&self, bytes: libc::c_int) -> bool {
        setsockopt(&self.stream, ReceiveLowWater, &bytes).is_ok()
    }
}

impl AsyncRead for PatientTcp {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, out);
        match read {
            Poll::Ready(_) => self.flowed(out.filled().len() - before),
            Poll::Pending => self.poll_limit(context),
        }
        read
    }
}

impl AsyncWrite for PatientTcp {
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

#[cfg(test)]
mod tests;
