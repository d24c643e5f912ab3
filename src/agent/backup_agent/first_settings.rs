//! Settings that are not there at the start, or cannot be used: the agent waits for better ones instead of ending.
//!
//! An agent that ended would be started again and again beside production, and its pod be out of its Service meanwhile.
//! What is wrong is told by the log, the status and a metric, and whoever mends the file has to restart nothing.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::workplace::Workplace;
use crate::agent::error::{Error, Result};
use crate::agent::live::Live;
use crate::agent::surroundings::Surroundings;
use crate::config::Settings;
use crate::postgres::Environment;
use crate::telemetry::causes;

/// How often they are looked at; SIGHUP has it done at once.
const PERIOD: Duration = Duration::from_secs(2);

/// Whether a backup agent can begin with these settings.
///
/// # Errors
/// Why not.
pub fn check_settings(settings: &Settings, environment: &Environment) -> Result<()> {
    Workplace::check_at_start(settings, environment)
}

/// Waits for settings that can be used, since those of the start are `wrong`. None when it is told to stop first.
pub async fn first_settings(surroundings: &mut Surroundings, live: &Live, wrong: Error) -> Option<Settings> {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wrong = wrong;
    let mut told = None;
    loop {
        let reason = causes::chain(&wrong);
        if told.as_ref() != Some(&reason) {
            tracing::error!(
                reason,
                hint = wrong.meaning().hint,
                "no settings that can be used; waiting for them"
            );
        }
        live.turn(crate::telemetry::clock::now());
        live.wait_for_settings(Some(&reason));
        told = Some(reason);
        tokio::select! {
            biased;
            () = surroundings.signals.cancel.cancelled() => return None,
            _ = surroundings.signals.reload.next() => {}
            _ = ticks.tick() => {}
        }
        match read(surroundings) {
            Ok(settings) => {
                surroundings.begin_with(&settings, live);
                return Some(settings);
            }
            Err(error) => wrong = error,
        }
    }
}

fn read(surroundings: &Surroundings) -> Result<Settings> {
    let settings = (surroundings.read_settings)()?;
    check_settings(&settings, &surroundings.environment)?;
    Ok(settings)
}
