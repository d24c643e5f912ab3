//! What an agent shows on its port, to probes, to Prometheus, to `trigger` and to people. It knows nothing but the
//! [`status::Status`] that it is given: every view is made of that one document.

mod client;
mod connection;
pub mod metrics;
mod page;
mod routes;
#[cfg(any(test, feature = "demo"))]
pub mod sample;
mod serve;
pub mod status;

pub use client::fetch_runs;
pub use page::page;
pub use serve::{StatusSource, serve};
