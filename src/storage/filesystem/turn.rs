//! Work on a thread of its own that may stand still for ever, as on a volume whose file server is away: the kernel keeps
//! such a thread, and nobody can end it. So whoever waits for it gives it up; the thread, once it goes on, puts no object in its
//! place any more and deletes none.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Threads of one store that stand still, before nobody is let go after them: each holds a body at most, and the runtime has
/// threads for hundreds.
pub(super) const MOST_STANDING: usize = 16;

/// As over a network: slower than this is as good as not at all.
const SLOWEST_BYTES_PER_SECOND: u64 = 128 * 1024;

/// One piece of work, as its thread and who waits for it see it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    steps: AtomicU64,
    bytes: AtomicU64,
    given_up: AtomicBool,
}

impl Turn {
    /// Something has been done: the time begins anew.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes are on their way from here on, which have time of their own.
    pub(super) fn carries(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.step();
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// # Errors
    /// When it has been given up.
    pub(super) fn is_wanted(&self) -> io::Result<()> {
        if self.given_up.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the volume of '{0}' does not answer, within {1:.1} s (repository.attempt_timeout)")]
    Within(String, f64),
    #[error("the volume of '{0}' does not answer: {MOST_STANDING} earlier requests still wait for it")]
    Before(String),
    /// Only a runtime that is shutting down refuses the thread.
    #[error("the program is ending")]
    Ending,
}

/// The turns of one store.
#[derive(Debug)]
pub(super) struct Turns {
    /// Who answers in words that name the place.
    place: String,
    patience: Duration,
    /// Those that were given up; a thread that has ended is gone from here.
    given_up: Mutex<Vec<Weak<Turn>>>,
}

impl Turns {
    pub(super) fn new(place: String, patience: Duration) -> Self {
        Self {
            place,
            patience,
            given_up: Mutex::default(),
        }
    }

    pub(super) async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> std::result::Result<T, NoAnswer> {
        if self.standing(None) >= MOST_STANDING {
            return Err(NoAnswer::Before(self.place.clone()));
        }
        let turn = Arc::new(Turn::default());
        let mut done = tokio::task::spawn_blocking({
            let turn = Arc::clone(&turn);
            move || work(&turn)
        });
        loop {
            let (steps, within) = (turn.steps.load(Ordering::Relaxed), self.patience_with(&turn));
            match tokio::time::timeout(within, &mut done).await {
                Ok(done) => return done.map_err(|_| NoAnswer::Ending),
                Err(_) if turn.steps.load(Ordering::Relaxed) != steps => {}
                Err(_) => {
                    turn.give_up();
                    self.standing(Some(Arc::downgrade(&turn)));
                    return Err(NoAnswer::Within(self.place.clone(), within.as_secs_f64()));
                }
            }
        }
    }

    fn patience_with(&self, turn: &Turn) -> Duration {
        self.patience + Duration::from_secs(turn.bytes.load(Ordering::Relaxed) / SLOWEST_BYTES_PER_SECOND)
    }

    /// How many stand still, with `one_more`.
    fn standing(&self, one_more: Option<Weak<Turn>>) -> usize {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|turn| turn.strong_count() > 0);
        given_up.extend(one_more);
        given_up.len()
    }
}
