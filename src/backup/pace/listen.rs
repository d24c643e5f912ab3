//! Asking the server: how soon does it answer, and how many of its processes work for this run?

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::control::Answer;
use super::{Pacer, Shared};
use crate::postgres::watch::Listener;
use crate::postgres::{self, ConnectOptions};
use crate::telemetry::progress::Progress;

/// Between two questions, of which each costs the server some ten microseconds.
const PERIOD: Duration = Duration::from_millis(20);

/// Every so many questions it is also looked for processes at work.
const LOOK: u32 = 5;

/// Every so many questions the pace is told.
const TELL: u32 = 50;

/// No answer by then is a late one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Before the server is connected to again.
const RECONNECT: Duration = Duration::from_secs(2);

/// Never returns: what goes wrong here only makes the run slower.
pub(in crate::backup) async fn listen(source: &ConnectOptions, pacer: &Pacer, progress: &dyn Progress) -> Infallible {
    let Some(shared) = &pacer.0 else {
        return std::future::pending().await;
    };
    loop {
        match ask_on(source, shared, progress).await {
            Ok(never) => match never {},
            Err(error) => {
                tracing::warn!(error = %error, "cannot hear how soon the server answers: the backup keeps to its least pace");
            }
        }
        // Nobody to ask is no reason to go on at full speed.
        shared.unheard();
        sleep(RECONNECT).await;
    }
}

async fn ask_on(source: &ConnectOptions, shared: &Shared, progress: &dyn Progress) -> postgres::Result<Infallible> {
    let listener = Listener::connect(source).await?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked: u32 = 0;
    loop {
        ticks.tick().await;
        asked = asked.wrapping_add(1);
        let begin = Instant::now();
        patiently(shared, listener.ask()).await?;
        shared.answered(Answer::After(begin.elapsed()));
        if asked.is_multiple_of(LOOK) {
            shared.saw_busy(patiently(shared, listener.busy_processes()).await?);
        }
        if asked.is_multiple_of(TELL) {
            let pace = shared.pace();
            progress.pace(pace.ratio, pace.paced_seconds);
        }
    }
}

/// The answer, however long it takes; while it does, it is late.
async fn patiently<T>(shared: &Shared, question: impl Future<Output = T>) -> T {
    let mut question = std::pin::pin!(question);
    loop {
        match timeout(PATIENCE, &mut question).await {
            Ok(answer) => return answer,
            Err(_) => shared.answered(Answer::None),
        }
    }
}
