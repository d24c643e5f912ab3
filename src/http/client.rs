//! The other side of the port: reads what an agent does, over loopback. Plain HTTP/1.0 without proxies or redirects, since
//! the port is ours and nothing lies between.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::status::Status;

/// Longest wait for the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// No such answer is larger; something else is there then.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// What the agent at `address` does and has done. Without the bucket, so that it is small enough to be asked often.
///
/// # Errors
/// When nothing answers there, or something that is no agent.
pub async fn fetch_runs(address: SocketAddr) -> io::Result<Status> {
    match timeout(PATIENCE, fetch(address)).await {
        Ok(status) => status,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

async fn fetch(address: SocketAddr) -> io::Result<Status> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /runs HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no agent"))
}

fn parse(answer: &[u8]) -> Option<Status> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let end = memchr::memmem::find(answer, END_OF_HEAD)?;
    let (head, body) = (&answer[..end], &answer[end + END_OF_HEAD.len()..]);
    let is_good = head.starts_with(b"HTTP/1.") && head.get(8..12) == Some(b" 200");
    is_good.then(|| serde_json::from_slice(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::{sample, serve};

    #[tokio::test]
    async fn what_is_served_is_read_back_without_the_bucket() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let served = tokio::spawn(serve(listener, Arc::new(sample::backup_agent), cancel.clone()));
        let without_bucket = Status {
            repository: None,
            ..sample::backup_agent()
        };
        assert_eq!(fetch_runs(address).await.unwrap(), without_bucket);
        cancel.cancel();
        served.await.unwrap().unwrap();
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for answer in [
            "",
            "HTTP/1.0 404 Not Found\r\n\r\n{}",
            "HTTP/1.0 200 OK\r\n\r\n{}",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert!(parse(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
