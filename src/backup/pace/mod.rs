//! Pacing: a backup that leaves production its server.
//!
//! The work of a backup is done by the server's own processes, which no priority of ours reaches. What does is not reading:
//! a COPY whose reader pauses blocks as soon as the socket's buffers are full. So readers pause a little and often, by a
//! clock that all workers share, and how much is decided by how soon the server answers the smallest of questions.
//! Pure parts take the time as an argument: [`control`] decides, [`gate`] turns a decision into pauses, [`effort`] knows
//! what a byte costs the server.

mod control;
mod effort;
mod gate;
mod listen;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use control::{Answer, Controller};
use effort::Effort;
use gate::Gate;
pub(super) use listen::listen;

/// Pauses shorter than this are left to add up: the runtime's timers are no finer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Bytes that a worker reads between two looks at the clock: some milliseconds of a server process.
const STRIDE_BYTES: u64 = 256 * 1024;

/// What beginning a COPY counts for, so that ten thousand small tables are paced as well.
const STATEMENT_BYTES: u64 = 64 * 1024;

/// What the workers of a run, and whoever looks after the server, share. Clones are the same pacer.
#[derive(Clone, Debug)]
pub(super) struct Pacer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    controller: Controller,
    effort: Effort,
    gate: Gate,
    paused: Duration,
}

/// How a run is being paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Of the speed of all workers together, the share that they may use now; 1 is full speed.
    pub(super) ratio: f64,
    /// Pauses of all workers so far, added up and divided by the workers.
    pub(super) paced_seconds: f64,
}

impl Pacer {
    /// No pauses at all.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Paces `jobs` workers in a run of at most `max_duration`.
    pub(super) fn polite(jobs: usize, max_duration: Duration) -> Self {
        Self(Some(Arc::new(Shared {
            began: Instant::now(),
            state: Mutex::new(State {
                controller: Controller::new(jobs, max_duration),
                effort: Effort::default(),
                gate: Gate::default(),
                paused: Duration::ZERO,
            }),
        })))
    }

    /// A worker's own view of the pacer.
    pub(super) fn stride(&self) -> Stride {
        Stride {
            pacer: self.clone(),
            unpaid_bytes: 0,
        }
    }

    /// The run before this one took so long but for its pauses.
    pub(super) fn expect(&self, at_full_speed: Duration) {
        if let Some(shared) = &self.0 {
            shared.lock().controller.expect(at_full_speed);
        }
    }

    /// Sessions of others that wait for this run's locks, as last looked at.
    pub(super) fn blocked_sessions(&self, sessions: u64) {
        if let Some(shared) = &self.0 {
            shared.lock().controller.set_blocking(sessions > 0);
        }
    }

    /// None where nothing is paced.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.0.as_ref().map(|shared| shared.pace())
    }

    /// Waits until a worker may read on that has read so many bytes.
    async fn pay(&self, bytes: u64) {
        let Some(shared) = &self.0 else { return };
        let until = shared.until(bytes);
        let begin = Instant::now();
        if until < begin + SHORTEST_PAUSE {
            return;
        }
        sleep_until(until).await;
        shared.lock().paused += begin.elapsed();
    }
}

impl Shared {
    fn until(&self, bytes: u64) -> Instant {
        let now = self.began.elapsed();
        let mut state = self.lock();
        state.effort.read(bytes);
        let cost = state.effort.cost(bytes);
        let share = state.controller.share(now);
        self.began + state.gate.pass(now, cost, share)
    }

    fn pace(&self) -> Pace {
        let now = self.began.elapsed();
        let state = self.lock();
        let workers = state.controller.workers();
        Pace {
            ratio: state.controller.share(now).min(workers) / workers,
            paced_seconds: state.paused.as_secs_f64() / workers,
        }
    }

    fn answered(&self, answer: Answer) {
        self.lock().controller.answered(answer);
    }

    fn unheard(&self) {
        self.lock().controller.unheard();
    }

    fn saw_busy(&self, processes: u32) {
        let now = self.began.elapsed();
        self.lock().effort.saw(now, processes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain figures: a panic elsewhere leaves none of them half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what one worker reads and pauses it when its time has come.
#[derive(Debug)]
pub(super) struct Stride {
    pacer: Pacer,
    unpaid_bytes: u64,
}

impl Stride {
    /// A COPY begins.
    pub(super) async fn begin(&mut self) {
        self.took(STATEMENT_BYTES).await;
    }

    /// So many bytes more were read. Called for every row: nearly always it only adds.
    pub(super) async fn took(&mut self, bytes: u64) {
        self.unpaid_bytes += bytes;
        if self.unpaid_bytes >= STRIDE_BYTES {
            self.pacer.pay(std::mem::take(&mut self.unpaid_bytes)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_worker_read_too_soon_it_pauses_for_and_that_is_counted() {
        let pacer = Pacer::polite(2, Duration::from_hours(1));
        let mut stride = pacer.stride();
        stride.took(STRIDE_BYTES - 1).await;
        assert_eq!(
            pacer.pace(),
            Some(Pace {
                ratio: 0.25,
                paced_seconds: 0.0
            })
        );
        // 16 MiB are a tenth of a second of a server process, and a quarter of two may be used.
        stride.took(16 * 1024 * 1024).await;
        let paused = pacer.pace().unwrap().paced_seconds * 2.0;
        assert!(paused > 0.1, "{paused}");
    }

    #[tokio::test]
    async fn without_a_pacer_nothing_pauses_and_nothing_is_said() {
        let pacer = Pacer::none();
        pacer.blocked_sessions(1);
        let mut stride = pacer.stride();
        stride.begin().await;
        stride.took(u64::MAX / 2).await;
        assert_eq!(pacer.pace(), None);
    }
}
