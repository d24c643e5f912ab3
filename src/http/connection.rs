//! Connections with an end: each has a place among few and a time to live, so that no client can hold the port.
//!
//! The time covers everything, from the first byte of a request to the last of its answer. Every answer closes its
//! connection (see `routes`), so an honest client never meets it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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

/// Accepts while there are places.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    cancel: CancellationToken,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener, limits: Limits, cancel: CancellationToken) -> Self {
        Self {
            listener,
            limits,
            places: Arc::new(Semaphore::new(limits.places)),
            cancel,
        }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        // Axum's own way with errors: it logs and tries again.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            end: Box::pin(end(self.limits, self.cancel.clone())),
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Resolves when a connection that begins now must be over.
async fn end(limits: Limits, cancel: CancellationToken) {
    let stopped = async {
        cancel.cancelled().await;
        tokio::time::sleep(limits.grace).await;
    };
    tokio::select! {
        () = tokio::time::sleep(limits.lifetime) => {}
        () = stopped => {}
    }
}

/// A stream that fails when its time is over, whether it reads or writes.
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
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
