//! Progress as log lines, where there is no terminal: when a phase begins, every ten seconds or tenth, when it ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::progress::Progress;

const INTERVAL: Duration = Duration::from_secs(10);

/// Writes to the log.
#[derive(Debug, Default)]
pub struct LogProgress {
    phase: Mutex<Option<Phase>>,
}

#[derive(Debug)]
struct Phase {
    name: String,
    total_bytes: Option<u64>,
    done_bytes: u64,
    began: Instant,
    told_at: Instant,
    told_bytes: u64,
}

impl Phase {
    fn new(name: &str, total_bytes: Option<u64>, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            total_bytes,
            done_bytes: 0,
            began: now,
            told_at: now,
            told_bytes: 0,
        }
    }

    /// Takes more bytes in and says whether it is time to tell.
    fn advance(&mut self, bytes: u64, now: Instant) -> bool {
        self.done_bytes += bytes;
        let tenth = self.total_bytes.map_or(u64::MAX, |total| total.div_ceil(10).max(1));
        let is_due = now.duration_since(self.told_at) >= INTERVAL || self.done_bytes - self.told_bytes >= tenth;
        if is_due {
            self.told_at = now;
            self.told_bytes = self.done_bytes;
        }
        is_due
    }
}

impl Progress for LogProgress {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        tracing::info!(phase, total_bytes, "phase begins");
        let mut current = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Phase::new(phase, total_bytes, Instant::now()));
    }

    fn advance(&self, bytes: u64) {
        let mut current = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = &mut *current
            && phase.advance(bytes, Instant::now())
        {
            let (done_bytes, total_bytes) = (phase.done_bytes, phase.total_bytes);
            tracing::info!(phase = phase.name, done_bytes, total_bytes, "progress");
        }
    }

    fn end(&self) {
        let mut current = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = current.take() {
            let seconds = phase.began.elapsed().as_secs_f64();
            tracing::info!(
                phase = phase.name,
                done_bytes = phase.done_bytes,
                seconds,
                "phase ended"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_every_tenth_or_ten_seconds() {
        let start = Instant::now();
        let mut phase = Phase::new("dump", Some(1000), start);
        assert!(!phase.advance(99, start));
        assert!(phase.advance(1, start));
        assert!(!phase.advance(50, start + Duration::from_secs(9)));
        assert!(phase.advance(0, start + INTERVAL));
        assert!(!phase.advance(0, start + INTERVAL));
    }

    #[test]
    fn without_a_total_only_time_counts() {
        let start = Instant::now();
        let mut phase = Phase::new("dump", None, start);
        assert!(!phase.advance(u64::MAX / 2, start));
        assert!(phase.advance(1, start + INTERVAL));
    }
}
