//! Which path shows what. GET and HEAD alone; nothing is kept by caches, framed, or able to load or run anything.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::SignedDuration;

use super::serve::StatusSource;
use super::status::Status;
use super::{metrics, page};

/// How long the loop may stay away before the process counts as wedged. The loop turns every second or so, also while a
/// run goes on; what takes longer is no work but a fault.
const WEDGED_AFTER: SignedDuration = SignedDuration::from_secs(60);

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
    Router::new()
        .route("/livez", show(livez))
        .route(
            "/readyz",
            get(async || text("text/plain; charset=utf-8", "ok\n".to_owned())),
        )
        .route("/status", show(json))
        .route("/metrics", show(exposition))
        .route("/", show(html))
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

fn json(status: &Status) -> Response {
    match serde_json::to_string_pretty(status) {
        Ok(body) => text("application/json", body + "\n"),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "status cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn exposition(status: &Status) -> Response {
    let body = metrics::exposition(status, metrics::ProcessMemory::now());
    text("text/plain; version=0.0.4; charset=utf-8", body)
}

fn html(status: &Status) -> Response {
    text("text/html; charset=utf-8", page::page(status))
}

async fn not_found() -> Response {
    let body = "there are / /status /metrics /livez /readyz\n".to_owned();
    (StatusCode::NOT_FOUND, text("text/plain; charset=utf-8", body)).into_response()
}

fn text(content_type: &'static str, body: String) -> Response {
    ([(CONTENT_TYPE, content_type)], body).into_response()
}
