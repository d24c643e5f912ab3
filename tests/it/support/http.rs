//! A plain request to an agent's port, and a port that serves a given status.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use kubebackup::http::{serve, status::Status};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// GET; none while nobody listens there.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        code: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// The port of an agent with that status; dropped, it is closed.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Port {
    pub(crate) fn of(status: Status) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(
            listener,
            Arc::new(move || status.clone()),
            CancellationToken::new(),
        ));
        Self {
            address,
            _runtime: runtime,
        }
    }
}
