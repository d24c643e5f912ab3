//! The backup agent: backs up when the schedule or a signal says so, for as long as the process lives.
//!
//! What to do next is decided by [`agenda`], purely; this loop obeys, one run at a time, and tells [`Live`] everything.
//! Nothing is kept on a disk: what was done before stands in the bucket.

mod agenda;
mod attempt;
mod copies;
mod first_settings;
mod lane;
mod lease;
mod retention;
mod work;
mod workplace;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::live::Live;
use super::surroundings::Surroundings;
use crate::config::Settings;
pub use first_settings::{check_settings, first_settings};
use work::Work;

/// How often the loop comes round when nothing happens; how late a run may begin.
const TURN: Duration = Duration::from_secs(1);

/// How long a run that was told to stop may take to close its sessions.
const STOP: Duration = Duration::from_secs(2);

/// Works until it is told to stop, with settings that [`check_settings`] has found good. Troubles are waited out or left to
/// the operator.
pub async fn backup_agent(settings: Settings, live: Live, surroundings: Surroundings) {
    let environment = surroundings.environment.clone();
    let mut work = Work::new(settings, environment, live, surroundings.signals.cancel.clone());
    run_loop(&mut work, surroundings).await;
    work.stop(STOP).await;
}

async fn run_loop(work: &mut Work, mut surroundings: Surroundings) {
    let mut ticks = interval(TURN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cancel = surroundings.signals.cancel.clone();
    loop {
        work.begin(crate::telemetry::clock::now());
        work.tell(crate::telemetry::clock::now());
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            count = surroundings.signals.trigger.next() => work.triggered(count),
            _ = surroundings.signals.reload.next() => work.reload(&surroundings),
            () = work.goes_on() => {}
            _ = ticks.tick() => {}
        }
    }
}
