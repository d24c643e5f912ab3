//! Pauses between attempts: the first as set, each further one twice as long, up to the longest.

use std::time::Duration;

/// How long to wait after how many attempts in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// The pause after `attempts`; none after none.
    pub(super) fn after(self, attempts: u32) -> Duration {
        let Some(doublings) = attempts.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 2_u32.saturating_pow(doublings);
        self.first.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_until_it_is_the_longest() {
        let backoff = Backoff {
            first: Duration::from_mins(1),
            max: Duration::from_mins(5),
        };
        let minutes = |attempts| backoff.after(attempts).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 40].map(minutes), [0, 1, 2, 4, 5, 5]);
        assert_eq!(backoff.after(u32::MAX), backoff.max);
    }
}
