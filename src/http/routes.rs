//! Which path shows what. GET and HEAD alone; nothing is kept by caches, framed, or able to load or run anything.
//!
//! Probes, metrics and `/runs` are small whatever the bucket holds. The page and `/status` are not: only a few of them
//! are in memory at a time, however many ask and however slowly they read.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::SignedDuration;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::serve::StatusSource;
use super::status::{Shown, Status};
use super::{metrics, page};

/// How long the loop may stay away before the process counts as wedged. The loop turns every second or so, also while a
/// run goes on; what takes longer is no work but a fault.
const WEDGED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Large answers in memory at a time. Each is at most about a megabyte.
pub(super) const LARGE_ANSWERS: usize = 8;

/// No script, nothing from elsewhere; the page brings its style with it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

fn headers() -> [(HeaderName, HeaderValue); 6] {
    [
        // Also what keeps a client from resting on an open connection.
        (CONNECTION, HeaderValue::from_static("close")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}

pub(super) fn router(status: &StatusSource) -> Router {
    let show = |view: fn(&Status) -> Response| {
        let status = StatusSource::clone(status);
        get(async move || view(&status()))
    };
    let places = Arc::new(Semaphore::new(LARGE_ANSWERS));
    let show_large = |content_type: &'static str, view: fn(&Status) -> String| {
        let (status, places) = (StatusSource::clone(status), Arc::clone(&places));
        get(async move || {
            // Whose turn does not come loses the connection when its time is over.
            let place = places.acquire_owned().await.expect("the semaphore is never closed");
            large(content_type, view(&status()), place)
        })
    };
    Router::new()
        .route("/livez", show(livez))
        .route(
            "/readyz",
            get(async || text("text/plain; charset=utf-8", "ok\n".to_owned())),
        )
        .route("/status", show_large("application/json", shown))
        .route("/runs", show(runs))
        .route("/metrics", show(exposition))
        .route("/", show_large("text/html; charset=utf-8", page::page))
        .fallback(not_found)
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().extend(headers());
            response
        }))
}

/// Whether the loop turns. A clock that was set back makes its last turn lie ahead, which is no fault.
fn livez(status: &Status) -> Response {
    let away = status.now.duration_since(status.turned);
    if away <= WEDGED_AFTER {
        return text("text/plain; charset=utf-8", "ok\n".to_owned());
    }
    let seconds = away.as_secs();
    let body = format!("the agent's loop has not turned for {seconds} s\n");
    (StatusCode::SERVICE_UNAVAILABLE, text("text/plain; charset=utf-8", body)).into_response()
}

fn shown(status: &Status) -> String {
    json(&Shown::of(status))
}

/// The status without the bucket, for whoever follows a run.
fn runs(status: &Status) -> Response {
    text("application/json", json(status))
}

fn json(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document);
    json.expect("plain data with keys that are text") + "\n"
}

fn exposition(status: &Status) -> Response {
    let body = metrics::exposition(status, metrics::ProcessMemory::now());
    text("text/plain; version=0.0.4; charset=utf-8", body)
}

async fn not_found() -> Response {
    let body = "there are / /status /runs /metrics /livez /readyz\n".to_owned();
    (StatusCode::NOT_FOUND, text("text/plain; charset=utf-8", body)).into_response()
}

fn text(content_type: &'static str, body: String) -> Response {
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

/// An answer that keeps its place for as long as it is in memory: until it has been sent, or its connection has ended.
fn large(content_type: &'static str, body: String, place: OwnedSemaphorePermit) -> Response {
    let held = Held { body, _place: place };
    ([(CONTENT_TYPE, content_type)], Body::from(Bytes::from_owner(held))).into_response()
}

struct Held {
    body: String,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}
