//! What a byte of COPY costs the server: seen from outside, by how often its processes are found at work.
//!
//! A process that waits for its reader says so (`pg_stat_activity.wait_event_type` is `Client`), to its own role without
//! any privilege. So the bytes of a while, and the share of looks that found a process busy, give seconds a byte: whatever
//! lies in sockets' buffers, and whether rows are narrow, come from TOAST or must be fetched from a disk.

use std::time::Duration;

/// Before anything was seen: what a core of these years does.
const FIRST_GUESS: f64 = 1.0 / 150_000_000.0;

/// Bounds of what is believed: 1 GB to 1 MB a second.
const BELIEVED: std::ops::RangeInclusive<f64> = 1e-9..=1e-6;

/// Looks that make a window, and the least that it must have read to tell anything; a window with less stays open for a
/// while, so that who reads slowly by a wrong idea of costs learns better all the same.
const WINDOW_LOOKS: u32 = 10;
const LONGEST_WINDOW_LOOKS: u32 = 30 * WINDOW_LOOKS;
const WINDOW_BYTES: u64 = 256 * 1024;

/// What a new window counts for.
const WEIGHT: f64 = 0.3;

#[derive(Debug)]
pub(super) struct Effort {
    seconds_per_byte: f64,
    window_began: Duration,
    bytes: u64,
    looks: u32,
    busy: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            seconds_per_byte: FIRST_GUESS,
            window_began: Duration::ZERO,
            bytes: 0,
            looks: 0,
            busy: 0,
        }
    }
}

impl Effort {
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// A look at the server found so many processes at work on what this run reads. A window opens with the first bytes: what
    /// processes did before them (snapshots, waits for locks) was not for them.
    pub(super) fn saw(&mut self, now: Duration, processes: u32) {
        if self.bytes == 0 {
            self.open_window(now);
            return;
        }
        self.looks += 1;
        self.busy += processes;
        let is_telling = self.bytes >= WINDOW_BYTES;
        if self.looks < WINDOW_LOOKS || !is_telling && self.looks < LONGEST_WINDOW_LOOKS {
            return;
        }
        let seconds =
            now.saturating_sub(self.window_began).as_secs_f64() * f64::from(self.busy) / f64::from(self.looks);
        if is_telling {
            #[allow(clippy::cast_precision_loss, reason = "a window's bytes")]
            let seen = (seconds / self.bytes as f64).clamp(*BELIEVED.start(), *BELIEVED.end());
            self.seconds_per_byte += (seen - self.seconds_per_byte) * WEIGHT;
        }
        self.open_window(now);
    }

    fn open_window(&mut self, now: Duration) {
        *self = Self {
            seconds_per_byte: self.seconds_per_byte,
            window_began: now,
            ..Self::default()
        };
    }

    /// The server's time for so many bytes.
    pub(super) fn cost(&self, bytes: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "a stride's bytes")]
        let bytes = bytes as f64;
        Duration::from_secs_f64(bytes * self.seconds_per_byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of looks, every one of which finds `busy` processes, while so many bytes are read.
    fn watch(effort: &mut Effort, second: u32, bytes: u64, busy: u32) {
        effort.read(bytes);
        for look in 1..=10 {
            effort.saw(Duration::from_millis(u64::from(second * 1000 + look * 100)), busy);
        }
    }

    #[test]
    fn what_a_byte_costs_is_learned_from_how_often_processes_are_at_work() {
        let mut effort = Effort::default();
        for second in 0..20 {
            watch(&mut effort, second, 80_000_000, 2);
        }
        let cost = effort.cost(80_000_000).as_secs_f64();
        assert!((1.95..2.05).contains(&cost), "{cost}");
    }

    #[test]
    fn a_while_without_bytes_teaches_nothing() {
        let mut effort = Effort::default();
        let before = effort.cost(1_000_000);
        let seconds = LONGEST_WINDOW_LOOKS / WINDOW_LOOKS;
        for second in 0..seconds {
            watch(&mut effort, second, 1000, 2);
        }
        assert_eq!(effort.cost(1_000_000), before);
        // Nor is anything taken along from it.
        watch(&mut effort, seconds, WINDOW_BYTES - 1, 2);
        assert_eq!(effort.cost(1_000_000), before);
    }

    /// Before its first row a run takes its snapshot, and its processes are at work for that.
    #[test]
    fn work_that_read_nothing_is_not_charged_to_the_first_bytes() {
        let mut effort = Effort::default();
        for second in 0..20 {
            watch(&mut effort, second, 0, 2);
        }
        watch(&mut effort, 20, 80_000_000, 1);
        let cost = effort.cost(80_000_000).as_secs_f64();
        assert!((0.5..1.1).contains(&cost), "{cost}");
    }

    #[test]
    fn who_reads_little_by_a_wrong_idea_of_costs_learns_better() {
        let mut effort = Effort {
            seconds_per_byte: *BELIEVED.end(),
            ..Effort::default()
        };
        // What a byte really costs, and a quarter of a process allowed.
        let (cost, share) = (7e-9, 0.25);
        for look in 1..=1200_u32 {
            let bytes = 0.1 * share / effort.seconds_per_byte;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small and positive"
            )]
            effort.read(bytes as u64);
            let is_busy = f64::from(look) * 0.1 % 1.0 < bytes * cost / 0.1;
            effort.saw(Duration::from_millis(u64::from(look) * 100), u32::from(is_busy));
        }
        assert!(
            effort.cost(1_000_000) < Duration::from_millis(30),
            "{:?}",
            effort.cost(1_000_000)
        );
    }

    #[test]
    fn nothing_incredible_is_believed() {
        let mut effort = Effort::default();
        for second in 0..100 {
            watch(&mut effort, second, 2_000_000_000, 0);
        }
        assert!(effort.cost(1_000_000_000) >= Duration::from_millis(900));
        for second in 100..200 {
            watch(&mut effort, second, WINDOW_BYTES, 60);
        }
        assert!(effort.cost(1_000_000) <= Duration::from_secs(1));
    }
}
