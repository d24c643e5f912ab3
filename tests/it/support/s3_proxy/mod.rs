//! A proxy that does to requests what networks and stores do: it stands between the real program and an S3 server (the
//! embedded one, or moto), on a thread and runtime of its own, and ends with the test.
//!
//! What goes wrong is scripted call by call (operation, beginning of the key, which of them), or drawn from a seed that is
//! printed, so that a failing run can be had again. Nothing goes wrong until somebody says so.

mod call;
mod fault;
mod pass;
mod rule;
mod seeded;
mod state;
#[cfg(test)]
mod tests;
mod twist;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::S3;
pub(crate) use call::Call;
pub(crate) use fault::{Fault, Refusal, refusals};
pub(crate) use rule::Rule;
use state::Shared;
pub(crate) use state::Struck;

/// A running proxy; dropped, it stops, and says what it did if the test has failed.
pub(crate) struct S3Proxy {
    endpoint: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Proxy {
    /// Before a world's server.
    pub(crate) fn before(server: &S3) -> Self {
        Self::before_endpoint(&server.endpoint)
    }

    /// Before whoever serves `http://<host>:<port>`.
    pub(crate) fn before_endpoint(endpoint: &str) -> Self {
        let upstream = endpoint.strip_prefix("http://").expect("an endpoint without TLS");
        let shared = Arc::new(Shared::new(upstream));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            endpoint,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What a client asks instead of the server.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What makes a program ask it instead of the store of its settings.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 1] {
        [("KUBEBACKUP_REPOSITORY_ENDPOINT", &self.endpoint)]
    }

    /// From now on this goes wrong too. Of several rules that would strike a call, the first does.
    pub(crate) fn script(&self, rule: Rule) {
        self.shared.lock().script(rule);
    }

    /// From now on a call in `1 / rate` goes wrong, as `seed` says, unless a rule strikes it.
    pub(crate) fn seeded(&self, seed: u64, rate: f64) {
        println!("S3 faults from seed {seed} at a rate of {rate}");
        self.shared.lock().seed(seed, rate);
    }

    /// From now on nothing goes wrong; what hangs goes on hanging.
    pub(crate) fn clear(&self) {
        self.shared.lock().clear();
    }

    /// What went wrong so far, oldest first.
    pub(crate) fn struck(&self) -> Vec<Struck> {
        self.shared.lock().struck()
    }

    /// What was asked so far, oldest first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls()
    }
}

impl fmt::Debug for S3Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Proxy")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if std::thread::panicking() {
            for struck in self.struck() {
                println!("S3 fault: {struck}");
            }
        } else {
            ended.unwrap().expect("the proxy's thread");
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| pass::pass(Arc::clone(&shared), request));
            let server = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(client), service);
            // What goes wrong on purpose ends connections, and so do clients.
            let _ = server.await;
        });
    }
}
