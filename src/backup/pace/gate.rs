//! When a worker may read on: one clock for all of them, so that their pauses do not coincide.

use std::time::Duration;

/// Time that was not used may be made up for by this much, no more: a worker that comes late (timers, a busy machine) does
/// not lose its share, and a burst stays short.
const SLACK: Duration = Duration::from_millis(5);

/// No pause is longer: whoever must go on at full speed all of a sudden does not sit out what a huge row has cost, and a
/// wrong idea of costs never stops a run.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A clock that goes on by what was read, at the speed that is allowed.
#[derive(Debug, Default)]
pub(super) struct Gate {
    next: Duration,
}

impl Gate {
    /// What has just been read cost the server `cost`, of which `share` seconds a second are allowed: until when to pause.
    pub(super) fn pass(&mut self, now: Duration, cost: Duration, share: f64) -> Duration {
        let earliest = self.next.max(now.saturating_sub(SLACK));
        self.next = (earliest + cost.div_f64(share.max(0.001))).min(now + LONGEST_PAUSE);
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How long `strides` of a millisecond's work take in total, when each begins once it may.
    fn time_of(strides: u32, share: f64, workers: u32) -> Duration {
        let mut gate = Gate::default();
        let mut free = vec![Duration::ZERO; workers as usize];
        for _ in 0..strides {
            let next = free.iter_mut().min().unwrap();
            let read = *next + MILLISECOND;
            *next = gate.pass(read, MILLISECOND, share).max(read);
        }
        free.into_iter().max().unwrap()
    }

    #[test]
    fn a_share_of_all_workers_pauses_nobody() {
        assert_eq!(time_of(1000, 1.0, 1), MILLISECOND * 1000);
        assert_eq!(time_of(1000, 2.0, 2), MILLISECOND * 500);
    }

    #[test]
    fn half_the_share_takes_twice_as_long_for_one_worker_and_for_two() {
        for (share, workers, unpaced) in [(0.5, 1, 1000), (1.0, 2, 500), (0.25, 1, 2000)] {
            let took = time_of(1000, share, workers);
            let expected = MILLISECOND * unpaced * 2;
            assert!(
                took.abs_diff(expected) <= SLACK * 4,
                "{took:?} for {share} of {workers}"
            );
        }
    }

    #[test]
    fn a_row_of_a_gigabyte_pauses_its_worker_for_a_second_and_not_for_an_hour() {
        let mut gate = Gate::default();
        let now = Duration::from_secs(10);
        assert_eq!(gate.pass(now, Duration::from_secs(1000), 0.25), now + LONGEST_PAUSE);
        // Nor is anything of it left for the others.
        assert_eq!(gate.pass(now, MILLISECOND, f64::INFINITY), now + LONGEST_PAUSE);
    }

    #[test]
    fn what_was_missed_is_made_up_for_within_the_slack_alone() {
        let mut gate = Gate::default();
        gate.pass(Duration::ZERO, MILLISECOND, 1.0);
        let late = Duration::from_secs(10);
        let strides = (0..100)
            .take_while(|_| gate.pass(late, MILLISECOND, 1.0) <= late)
            .count();
        assert_eq!(strides, 5);
    }
}
