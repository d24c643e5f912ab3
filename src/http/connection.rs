//! Connections with an end: each has a time to live and a place among few. When all places are taken, a newcomer gets that
//! of the oldest: whoever rests on a connection cannot keep probes out.
//!
//! The time covers everything, from the first byte of a request to the last of its answer. Every answer closes its
//! connection (see `routes`), so an honest client never meets it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What clients get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long a connection may live.
    pub(super) lifetime: Duration,
    /// How long it may live once the agent stops.
    pub(super) grace: Duration,
    /// Connections at a time.
    pub(super) places: usize,
}

impl Limits {
    /// Several times what a page over a bad line takes; a part of the five seconds that an agent has to stop; and probes,
    /// Prometheus and a person or two need a handful of places.
    pub(super) const USUAL: Self = Self {
        lifetime: Duration::from_secs(10),
        grace: Duration::from_secs(1),
        places: 64,
    };
}

/// Accepts whoever comes, and keeps no more connections than there are places.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    limits: Limits,
    /// One a connection, the oldest first; one that is dropped ends its connection.
    places: VecDeque<oneshot::Sender<()>>,
    cancel: CancellationToken,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits, cancel: CancellationToken) -> Self {
        Self {
            listener,
            limits,
            places: VecDeque::with_capacity(limits.places),
            cancel,
        }
    }

    /// A place for a connection that begins now.
    fn place(&mut self) -> oneshot::Receiver<()> {
        self.places.retain(|place| !place.is_closed());
        while self.places.len() >= self.limits.places {
            self.places.pop_front();
        }
        let (place, taken) = oneshot::channel();
        self.places.push_back(place);
        taken
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Axum's own way with errors: it logs and tries again.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            end: Box::pin(end(self.limits, self.place(), self.cancel.clone())),
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Resolves when a connection that begins now must be over.
async fn end(limits: Limits, place: oneshot::Receiver<()>, cancel: CancellationToken) {
    let stopped = async {
        cancel.cancelled().await;
        tokio::time::sleep(limits.grace).await;
    };
    tokio::select! {
        () = tokio::time::sleep(limits.lifetime) => {}
        () = stopped => {}
        // Nothing is ever sent: the sender is dropped when the place is needed.
        _ = place => {}
    }
}

/// A stream that fails when its time is over, whether it reads or writes.
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Connection {
    /// The stream, while there is time.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_shutdown(context)
    }
}
