//! The port: listens until it is told to stop, then gives requests that run a moment to end.
//!
//! It is open to whatever can reach the pod. So it changes nothing, takes no request's body, and a client that is slow or
//! does not speak gets the time of [`Limits::USUAL`], or less where others come, and no more.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connection::{BoundedListener, Limits};
use super::routes::router;
use super::status::Status;

/// Gives the status of the moment; asked once for every request, so it must not wait.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// Shows the status on `listener` until `cancel`; returns within about a second of it.
///
/// # Errors
/// Those of the listener. A client's mistakes are its own.
pub async fn serve(listener: TcpListener, status: StatusSource, cancel: CancellationToken) -> io::Result<()> {
    serve_within(Limits::USUAL, listener, status, cancel).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    status: StatusSource,
    cancel: CancellationToken,
) -> io::Result<()> {
    let listener = BoundedListener::new(listener, limits, cancel.clone());
    axum::serve(listener, router(&status))
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await
}

#[cfg(test)]
mod tests;
