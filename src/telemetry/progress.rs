//! How long work tells how far it is, whoever shows it: a bar on a terminal, log lines elsewhere, nobody in tests.

/// Receives what is going on. Cheap to call; called from many tasks at once.
pub trait Progress: Send + Sync {
    /// A phase begins (`dump`, `load`, `compare`, ...); `total_bytes` is an estimate where there is one.
    fn begin(&self, phase: &str, total_bytes: Option<u64>);

    /// So many more bytes of this phase are done.
    fn advance(&self, bytes: u64);

    /// The phase is over.
    fn end(&self);

    /// So many sessions of others wait for this work's locks now.
    fn blocked_sessions(&self, _sessions: u64) {}

    /// The work goes on at this share of full speed, and has been held up for so long already.
    fn pace(&self, _ratio: f64, _paced_seconds: f64) {}

    /// The source holds a snapshot for this work, taken at that time; none: it holds it no longer.
    fn snapshot(&self, _taken: Option<jiff::Timestamp>) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}
}
