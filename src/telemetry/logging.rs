//! Log lines on stderr, as text or JSON, so that stdout holds results alone.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
}

/// Starts logging for the rest of the process: this program from `level` (a tracing level's name) on, libraries from
/// `warn` on.
///
/// # Errors
/// When `level` is no level, or logging has been started before.
pub fn start<W>(level: &str, shape: Shape, writer: W) -> io::Result<()>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // The demo's own S3 server reports each request that it does not know as an error.
    let demo = if cfg!(feature = "demo") {
        ",s3s=off,s3s_fs=off"
    } else {
        ""
    };
    let filter = EnvFilter::try_new(format!("warn,kubebackup={level}{demo}")).map_err(io::Error::other)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal());
    let started = match shape {
        Shape::Text => builder.with_target(false).try_init(),
        Shape::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(io::Error::other)
}
