//! Results on stdout, as text or JSON.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::telemetry::plain;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// Prints one result in the format asked for.
pub(super) fn print<T: Serialize>(format: OutputFormat, value: &T, text: impl FnOnce() -> String) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        // Names are cleaned where they are put into lines; this is for what was forgotten there.
        OutputFormat::Table => out.write_all(plain::lines(&text()).as_bytes())?,
        OutputFormat::Json => {
            serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

/// Whether somebody watches: progress is drawn on stderr.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}
