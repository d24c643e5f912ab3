//! Log lines on stderr, as text or JSON, so that stdout holds results alone.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
}

/// Changes what is logged while the process runs.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> io::Result<()> + Send + Sync>);

impl LogLevel {
    /// From `level` on, as in [`start`].
    ///
    /// # Errors
    /// When `level` is no level.
    pub fn set(&self, level: &str) -> io::Result<()> {
        (self.0)(filter(level)?)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogLevel")
    }
}

/// Starts logging for the rest of the process: this program from `level` (a tracing level's name) on, libraries from
/// `warn` on.
///
/// # Errors
/// When `level` is no level, or logging has been started before.
pub fn start<W>(level: &str, shape: Shape, writer: W) -> io::Result<LogLevel>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let ansi = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    let filtered = tracing_subscriber::registry().with(filter);
    let started = match shape {
        Shape::Text => filtered.with(lines.with_target(false)).try_init(),
        Shape::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(io::Error::other)?;
    let set = move |filter| handle.reload(filter).map_err(io::Error::other);
    Ok(LogLevel(Arc::new(set)))
}

fn filter(level: &str) -> io::Result<EnvFilter> {
    // The demo's own S3 server reports each request that it does not know as an error.
    let demo = if cfg!(feature = "demo") {
        ",s3s=off,s3s_fs=off"
    } else {
        ""
    };
    EnvFilter::try_new(format!("warn,kubebackup={level}{demo}")).map_err(io::Error::other)
}
