//! Signals, taken from the first instant and lost never: what a process with id 1 does not handle, the kernel ignores.
//!
//! [`Handlers::install`] is the first thing that `main` does; each signal puts a byte into a pipe, whether somebody
//! listens yet or not. SIGTERM and SIGINT cancel a token, a second one ends the process at once: whoever sends two does
//! not want to wait. SIGUSR1 and SIGHUP mean something to a long-running agent alone; any other verb dies of them, as
//! programs do.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream as Pipe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told to stop; what shells use for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Handlers that are in place; what arrives is kept until somebody listens.
#[derive(Debug)]
pub struct Handlers {
    stop: Pipe,
    trigger: Pipe,
    reload: Pipe,
    /// Whether SIGUSR1 and SIGHUP do what they do to programs without handlers.
    is_deadly: Arc<AtomicBool>,
}

/// What has been heard.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub cancel: CancellationToken,
    /// SIGUSR1: a run is wanted now.
    pub trigger: SignalStream,
    /// SIGHUP: the settings have changed.
    pub reload: SignalStream,
}

/// One kind of signal, in order of arrival.
#[derive(Debug)]
pub struct SignalStream(UnixStream);

impl Handlers {
    /// Puts the handlers in place. Needs no runtime; to be called once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        let is_deadly = Arc::new(AtomicBool::new(false));
        let (stop, told_to_stop) = Pipe::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down and raises it, the second finds it up.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&armed))?;
            flag::register(signal, Arc::clone(&armed))?;
            pipe::register(signal, told_to_stop.try_clone()?)?;
        }
        let counted = |signal| {
            let (pipe, told) = Pipe::pair()?;
            pipe::register(signal, told)?;
            flag::register_conditional_default(signal, Arc::clone(&is_deadly))?;
            io::Result::Ok(pipe)
        };
        Ok(Self {
            stop,
            trigger: counted(SIGUSR1)?,
            reload: counted(SIGHUP)?,
            is_deadly,
        })
    }

    /// For a verb that ends by itself: only stopping means something to it. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the pipes.
    pub fn cancel_only(self) -> io::Result<CancellationToken> {
        self.is_deadly.store(true, Ordering::SeqCst);
        for (signal, mut pipe) in [(SIGUSR1, &self.trigger), (SIGHUP, &self.reload)] {
            pipe.set_nonblocking(true)?;
            if pipe.read(&mut [0]).is_ok() {
                emulate_default_handler(signal)?;
            }
        }
        cancel_on(self.stop)
    }

    /// For an agent: all of them. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the pipes.
    pub fn listen(self) -> io::Result<Signals> {
        Ok(Signals {
            cancel: cancel_on(self.stop)?,
            trigger: SignalStream::new(self.trigger)?,
            reload: SignalStream::new(self.reload)?,
        })
    }
}

fn cancel_on(pipe: Pipe) -> io::Result<CancellationToken> {
    let mut stream = SignalStream::new(pipe)?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        stream.next().await;
        tracing::info!("stopping; a second signal ends this process at once");
        cancelled.cancel();
    });
    Ok(token)
}

impl SignalStream {
    fn new(pipe: Pipe) -> io::Result<Self> {
        pipe.set_nonblocking(true)?;
        UnixStream::from_std(pipe).map(Self)
    }

    /// Waits for the signal and says how often it has come since it was last asked. Dropped while it waits, it loses none.
    pub async fn next(&mut self) -> u64 {
        let mut bytes = [0; 64];
        loop {
            if self.0.readable().await.is_err() {
                // The runtime is shutting down, and this task with it.
                return std::future::pending().await;
            }
            match self.0.try_read(&mut bytes) {
                // The handlers hold the other end as long as the process lives.
                Ok(0) => return std::future::pending().await,
                Ok(count) => return count as u64,
                // Not ready after all.
                Err(_) => {}
            }
        }
    }
}
