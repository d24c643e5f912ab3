//! What an agent shows on its port, to probes, to Prometheus, to `trigger` and to people. It knows nothing but the
//! [`status::Status`] that it is given: every view is made of that one document.

pub mod status;
