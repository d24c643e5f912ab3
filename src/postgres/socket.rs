//! A connection's socket, opened here so that what is read from it can be gathered.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::connect::ConnectOptions;
use super::patience::PatientTcp;

/// A node that vanished says nothing: idle sessions find out within about a minute, working ones as well.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
const USER_TIMEOUT: Duration = Duration::from_mins(1);

/// To a server's port, or to the socket in its directory.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(PatientTcp),
    Unix(UnixStream),
}

/// One of the places that a server may be at.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Address(SocketAddr),
    Socket(PathBuf),
}

impl Place {
    /// All that the options' host means, in the resolver's order.
    ///
    /// # Errors
    /// The resolver's; `InvalidInput` when the name means nothing.
    pub(super) async fn all(options: &ConnectOptions) -> io::Result<Vec<Self>> {
        if options.host.starts_with('/') {
            let path = Path::new(&options.host).join(format!(".s.PGSQL.{}", options.port));
            return Ok(vec![Self::Socket(path)]);
        }
        let addresses = tokio::net::lookup_host((options.host.as_str(), options.port)).await?;
        let places: Vec<Self> = addresses.map(Self::Address).collect();
        if places.is_empty() {
            let reason = "could not resolve any addresses";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(places)
    }
}

impl Socket {
    /// # Errors
    /// Nobody takes the connection there.
    pub(super) async fn open(place: &Place) -> io::Result<Self> {
        match place {
            Place::Socket(path) => UnixStream::connect(path).await.map(Self::Unix),
            Place::Address(address) => {
                let stream = prepared(TcpStream::connect(address).await?)?;
                Ok(Self::Tcp(PatientTcp::new(stream)))
            }
        }
    }
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, out),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
