//! Progress as a bar on a terminal, and a writer for log lines that does not tear the bar.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Progress;

/// The stderr of a terminal, shared by bars and log lines. Clones are the same terminal.
#[derive(Clone, Debug, Default)]
pub struct Terminal {
    bars: MultiProgress,
}

impl Terminal {
    /// A progress that draws here.
    #[must_use]
    pub fn progress(&self) -> BarProgress {
        BarProgress {
            terminal: self.clone(),
            current: Mutex::new(None),
        }
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars
            .suspend(|| io::stderr().write_all(bytes))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Terminal {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// One bar at a time, for the phase that runs.
#[derive(Debug)]
pub struct BarProgress {
    terminal: Terminal,
    current: Mutex<Option<ProgressBar>>,
}

const WITH_TOTAL: &str = "{msg:<10} {bar:30} {percent:>3} %  {bytes:>11} of {total_bytes}  {bytes_per_sec}  {eta} left";
const WITHOUT_TOTAL: &str = "{msg:<10} {spinner} {bytes:>11}  {elapsed}";

impl BarProgress {
    fn replace(&self, bar: Option<ProgressBar>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *current, bar) {
            old.finish_and_clear();
            self.terminal.bars.remove(&old);
        }
    }
}

impl Progress for BarProgress {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        let (bar, template) = match total_bytes {
            Some(total) => (ProgressBar::new(total), WITH_TOTAL),
            None => (ProgressBar::new_spinner(), WITHOUT_TOTAL),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constants that parse");
        let bar = self.terminal.bars.add(bar);
        bar.set_style(style);
        bar.set_message(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        self.replace(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &*current {
            bar.inc(bytes);
            // Totals are estimates; a bar beyond its end would look like a fault.
            if bar.length().is_some_and(|length| bar.position() > length) {
                bar.set_length(bar.position());
            }
        }
    }

    fn end(&self) {
        self.replace(None);
    }
}

impl Drop for BarProgress {
    fn drop(&mut self) {
        self.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_parse() {
        let progress = Terminal::default().progress();
        progress.begin("dump", Some(10));
        progress.advance(25);
        progress.begin("load", None);
        progress.advance(1);
        progress.end();
    }
}
