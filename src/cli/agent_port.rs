//! What both agents' verbs share: the port that shows what the agent does while it does it.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agent::Live;
use crate::config::Settings;
use crate::http;

/// Listens at `agent.listen`, before anything else is begun: who cannot show what he does need not do it.
pub(super) async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.agent.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("listen at {address} (the setting agent.listen)"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// Shows `live` until `work` has ended or `cancel` says so, whichever is first.
pub(super) async fn show_while<T>(
    listener: TcpListener,
    live: Live,
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    let stop = cancel.child_token();
    let status = Arc::new(move || live.status(crate::telemetry::clock::now()));
    let serving = async {
        if let Err(error) = http::serve(listener, status, stop.clone()).await {
            tracing::error!(%error, "the status is no longer shown");
        }
    };
    let working = async {
        let ended = work.await;
        stop.cancel();
        ended
    };
    tokio::join!(working, serving).0
}
