//! A receiver of notifications on a port of its own: keeps what it gets, and answers as it is told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::support::wait;

/// Part of the path, as the secret of a real hook is.
pub(crate) const SECRET: &str = "T0K3N-of-the-hook";

/// Of a receiver at this port, whether or not it is up.
pub(crate) fn url_at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hooks/{SECRET}")
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Error,
    Refusal,
    /// To another place.
    Redirection,
    /// Never.
    Hang,
}

/// Dropped, it is gone.
pub(crate) struct Receiver {
    port: u16,
    state: Arc<Mutex<Received>>,
    _stop: oneshot::Sender<()>,
}

struct Received {
    answer: Answer,
    bodies: Vec<Value>,
}

impl Receiver {
    pub(crate) fn start(answer: Answer) -> Self {
        Self::start_at(0, answer)
    }

    /// At a port that nobody listens at.
    pub(crate) fn start_at(port: u16, answer: Answer) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(Received {
            answer,
            bodies: Vec::new(),
        }));
        let router = Router::new()
            .route("/hooks/{secret}", post(receive))
            .with_state(Arc::clone(&state));
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            port,
            state,
            _stop: stop,
        }
    }

    pub(crate) fn url(&self) -> String {
        url_at(self.port)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// Everything that has come so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.state.lock().unwrap().bodies.clone()
    }

    /// Waits until so many have come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Value> {
        wait::until(&format!("{count} notifications"), || self.bodies().len() >= count);
        self.bodies()
    }
}

async fn receive(
    State(state): State<Arc<Mutex<Received>>>,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let answer = {
        let mut received = state.lock().unwrap();
        received.bodies.push(serde_json::from_str(&body).unwrap());
        received.answer
    };
    let status = match answer {
        Answer::Ok => StatusCode::OK,
        Answer::Error => StatusCode::INTERNAL_SERVER_ERROR,
        Answer::Refusal => StatusCode::FORBIDDEN,
        Answer::Redirection => StatusCode::TEMPORARY_REDIRECT,
        Answer::Hang => std::future::pending().await,
    };
    (status, [("location", "/hooks/elsewhere")])
}
