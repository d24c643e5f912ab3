//! How much of full speed a run may use: decided by how soon the server answers.
//!
//! The answers to the smallest of questions tell what any small transaction would have to wait for, whatever the reason,
//! without a privilege and without knowing how many processors the server has or how many sessions are a crowd. Late ones
//! take a third of the share away at once, punctual ones give it back little by little. What must be over soon is not
//! paced: others wait for the run's locks, or its time is running out.

use std::time::Duration;

/// An answer is late that took so much longer than the soonest ever ...
const LATE: Duration = Duration::from_millis(1);
/// ... and so many times as long: on a long way, times differ by more than that anyhow.
const LATE_TIMES: u32 = 2;

/// Answers that are judged together.
const JURY: u32 = 10;
/// So many late ones of them are too many; none are fine.
const TOO_MANY: u32 = 2;

const DECREASE: f64 = 0.67;
const INCREASE: f64 = 0.04;

/// The least share of full speed.
const LEAST: f64 = 0.25;
/// The least where it does not help: so many judgements in a row found answers late at the least share.
const LEAST_IN_VAIN: f64 = 0.5;
const IN_VAIN: u32 = 25;

/// A run that has used so much of its time goes on at full speed, ...
const PACED_PART: f64 = 0.5;
/// ... and sooner where the one before it tells that it will need the rest; this one may take so many times as long.
const GROWN: f64 = 1.25;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    After(Duration),
    /// None yet, after a time that is late by any measure.
    None,
}

/// Decides; knows nothing but answers and the time.
#[derive(Debug)]
pub(super) struct Controller {
    workers: f64,
    max_duration: Duration,
    /// The age from which on the run is paced no longer.
    paced_until: Duration,
    /// In workers at full speed.
    share: f64,
    soonest: Option<Duration>,
    answers: u32,
    late: u32,
    /// Judgements in a row at the least share that found answers late all the same.
    in_vain: u32,
    is_blocking: bool,
}

impl Controller {
    /// Begins with the least share: production may be busy from the first moment on.
    pub(super) fn new(jobs: usize, max_duration: Duration) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "at most 64 jobs")]
        let workers = jobs.max(1) as f64;
        Self {
            workers,
            max_duration,
            paced_until: max_duration.mul_f64(PACED_PART),
            share: workers * LEAST,
            soonest: None,
            answers: 0,
            late: 0,
            in_vain: 0,
            is_blocking: false,
        }
    }

    /// The run may take as long as this at full speed. Until `paced_until` it does at least the least share of the work:
    /// what is left is made in time at full speed.
    pub(super) fn expect(&mut self, at_full_speed: Duration) {
        let spare = self.max_duration.saturating_sub(at_full_speed.mul_f64(GROWN));
        self.paced_until = self.paced_until.min(spare.div_f64(1.0 - LEAST));
    }

    pub(super) fn workers(&self) -> f64 {
        self.workers
    }

    /// How many workers' full speed the run may use, `now` being its age; infinite: without a pause.
    pub(super) fn share(&self, now: Duration) -> f64 {
        if self.is_blocking || now >= self.paced_until {
            f64::INFINITY
        } else {
            self.share
        }
    }

    /// Whether sessions of others wait for the run's locks.
    pub(super) fn set_blocking(&mut self, is_blocking: bool) {
        self.is_blocking = is_blocking;
    }

    /// Nobody can be asked: the least share, and whoever answers next may be somebody farther away.
    pub(super) fn unheard(&mut self) {
        self.share = self.workers * LEAST;
        self.soonest = None;
        (self.answers, self.late, self.in_vain) = (0, 0, 0);
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        self.answers += 1;
        self.late += u32::from(self.is_late(answer));
        if self.late >= TOO_MANY {
            self.slow_down();
        } else if self.answers < JURY {
            return;
        } else if self.late == 0 {
            self.in_vain = 0;
            self.share = (self.share + self.workers * INCREASE).min(self.workers);
        }
        (self.answers, self.late) = (0, 0);
    }

    /// Who is late although this run hardly reads is late for another reason: then the snapshot need not be held for that long.
    fn slow_down(&mut self) {
        let least = self.workers * LEAST;
        if self.share <= least {
            self.in_vain += 1;
        }
        let least = if self.in_vain >= IN_VAIN {
            self.workers * LEAST_IN_VAIN
        } else {
            least
        };
        self.share = (self.share * DECREASE).max(least);
    }

    fn is_late(&mut self, answer: Answer) -> bool {
        let Answer::After(time) = answer else { return true };
        let soonest = self.soonest.map_or(time, |soonest| soonest.min(time));
        self.soonest = Some(soonest);
        time > (soonest + LATE).max(soonest * LATE_TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SOON: Answer = Answer::After(Duration::from_micros(150));
    const TARDY: Answer = Answer::After(Duration::from_millis(4));

    fn controller() -> Controller {
        Controller::new(2, HOUR)
    }

    fn hear(controller: &mut Controller, answers: &[Answer], times: usize) {
        for answer in answers.iter().cycle().take(answers.len() * times) {
            controller.answered(*answer);
        }
    }

    fn share(controller: &Controller) -> f64 {
        controller.share(Duration::ZERO)
    }

    #[test]
    fn a_server_that_answers_soon_is_read_at_full_speed_little_by_little() {
        let mut controller = controller();
        assert!((share(&controller) - 0.5).abs() < 1e-9, "a quarter of two workers");
        hear(&mut controller, &[SOON], 100);
        assert!((0.9..1.9).contains(&share(&controller)), "{}", share(&controller));
        hear(&mut controller, &[SOON], 1000);
        assert!((share(&controller) - 2.0).abs() < 1e-9, "and not faster than that");
    }

    #[test]
    fn late_answers_take_the_share_away_at_once_and_down_to_a_quarter() {
        let mut controller = controller();
        hear(&mut controller, &[SOON], 1000);
        hear(&mut controller, &[TARDY, TARDY], 1);
        assert!((share(&controller) - 2.0 * DECREASE).abs() < 1e-9);
        hear(&mut controller, &[Answer::None], 40);
        assert!((share(&controller) - 0.5).abs() < 1e-9, "it never comes to a stop");
    }

    #[test]
    fn where_reading_slowly_does_not_help_it_reads_at_half_speed_until_answers_come_in_time() {
        let mut controller = controller();
        hear(&mut controller, &[Answer::None], 2 * IN_VAIN as usize + 100);
        assert!((share(&controller) - 1.0).abs() < 1e-9);
        hear(&mut controller, &[SOON], 10);
        hear(&mut controller, &[Answer::None], 20);
        assert!((share(&controller) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn who_cannot_be_asked_is_read_at_the_least_pace_and_who_answers_then_is_measured_anew() {
        let mut controller = controller();
        hear(&mut controller, &[SOON], 1000);
        controller.unheard();
        assert!((share(&controller) - 0.5).abs() < 1e-9);
        // A server farther away, after a switch-over: late by the measure of the one before.
        hear(&mut controller, &[TARDY], 1000);
        assert!((share(&controller) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_late_answer_now_and_then_changes_nothing() {
        let mut controller = controller();
        hear(&mut controller, &[SOON], 100);
        let before = share(&controller);
        let mut ten = [SOON; 10];
        ten[9] = TARDY;
        hear(&mut controller, &ten, 20);
        assert!((share(&controller) - before).abs() < 1e-9);
    }

    #[test]
    fn on_a_long_way_to_the_server_only_what_takes_twice_as_long_is_late() {
        let mut controller = controller();
        let after = |milliseconds| Answer::After(Duration::from_millis(milliseconds));
        hear(&mut controller, &[after(20), after(35)], 500);
        assert!((share(&controller) - 2.0).abs() < 1e-9);
        hear(&mut controller, &[after(45)], 2);
        assert!(share(&controller) < 2.0);
    }

    #[test]
    fn whoever_waits_for_the_runs_locks_is_let_go_soon() {
        let mut controller = controller();
        controller.set_blocking(true);
        assert!(share(&controller).is_infinite());
        controller.set_blocking(false);
        assert!((share(&controller) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_run_whose_time_is_half_over_is_paced_no_longer() {
        let controller = controller();
        assert!(controller.share(HOUR.mul_f64(0.499)).is_finite());
        assert!(controller.share(HOUR / 2).is_infinite());
    }

    #[test]
    fn a_run_that_will_need_its_time_is_paced_for_as_long_as_it_can_still_end_in_time() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for (at_full_speed, paced) in [(0, 30), (30, 30), (36, 20), (48, 0), (70, 0)] {
            let mut controller = controller();
            controller.expect(minutes(at_full_speed));
            assert!(controller.share(minutes(paced)).is_infinite(), "{at_full_speed}");
            if paced > 0 {
                assert!(
                    controller.share(minutes(paced).mul_f64(0.999)).is_finite(),
                    "{at_full_speed}"
                );
            }
            // The worst that pauses can do to a run that has grown by a quarter.
            let done_meanwhile = minutes(paced).mul_f64(LEAST);
            let end = minutes(paced) + minutes(at_full_speed).mul_f64(GROWN).saturating_sub(done_meanwhile);
            assert!(paced == 0 || end <= HOUR, "{end:?}");
        }
    }
}
