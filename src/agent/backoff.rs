//! Pauses that grow.

use std::time::Duration;

/// The pause after the failure number `failures`, counted from 0: twice as long each time, at most `longest`.
pub(super) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_last_one_up_to_the_longest() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 31, 32, u32::MAX]
            .map(|failures| backoff(Duration::from_mins(1), Duration::from_mins(5), failures).as_secs())
            .to_vec();
        assert_eq!(pauses, [60, 120, 240, 300, 300, 300, 300]);
    }
}
