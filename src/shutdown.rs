//! Signals to a cancellation token: SIGINT and SIGTERM ask the work to stop at its next safe point.
//!
//! A second signal ends the process at once: whoever sends two does not want to wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals;
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told to stop; what shells use for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// A token that the first SIGINT or SIGTERM cancels. Must be called inside a tokio runtime, once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn cancel_on_signals() -> io::Result<CancellationToken> {
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), armed.clone())?;
        flag::register(signal, armed.clone())?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        if signals.next().await.is_some() {
            tracing::info!("stopping; a second signal ends this process at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
