//! Politeness: a backup that stalls production, outlives its welcome or meets a server going down gives way. One whose server
//! has fallen silent ends: its own sessions would wait for it for ever.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::error::Error;
use super::options::BackupOptions;
use super::pace::{Pacer, listen};
use crate::postgres::silence::SILENT_LOOKS;
use crate::postgres::watch::count_blocked_sessions;
use crate::postgres::{self, ConnectOptions};
use crate::telemetry::progress::Progress;

/// How often production is looked after. Short enough to leave within a smart shutdown's patience.
const PERIOD: Duration = Duration::from_secs(2);

/// Returns only when the run must end, with the reason.
pub(super) async fn watch(
    source: &ConnectOptions,
    options: &BackupOptions,
    pacer: &Pacer,
    progress: &dyn Progress,
) -> Error {
    tokio::select! {
        error = watch_server(source, options.max_blocking, pacer, progress) => error,
        never = listen(source, pacer, progress) => match never {},
        () = sleep_until(Instant::now() + options.max_duration) => Error::TooLong { limit: options.max_duration },
    }
}

async fn watch_server(
    source: &ConnectOptions,
    max_blocking: Duration,
    pacer: &Pacer,
    progress: &dyn Progress,
) -> Error {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut blocked_since: Option<Instant> = None;
    let mut silent_looks = 0;
    loop {
        ticks.tick().await;
        let blocked = count_blocked_sessions(source).await;
        silent_looks = match &blocked {
            Err(postgres::Error::ConnectTimeout { .. }) => silent_looks + 1,
            _ => 0,
        };
        if let Ok(sessions) = &blocked {
            progress.blocked_sessions(*sessions);
            pacer.blocked_sessions(*sessions);
        }
        match blocked {
            Ok(0) => blocked_since = None,
            Ok(sessions) => {
                let since = *blocked_since.get_or_insert_with(Instant::now);
                tracing::warn!(
                    sessions,
                    seconds = since.elapsed().as_secs(),
                    "sessions wait for the backup's locks"
                );
                if since.elapsed() >= max_blocking {
                    let reason = format!("{sessions} sessions waited longer than backup.max_blocking for its locks");
                    return Error::from(postgres::Error::Yielded { reason });
                }
            }
            Err(error @ postgres::Error::ShuttingDown) => return Error::from(error),
            Err(source @ postgres::Error::ConnectTimeout { .. }) if silent_looks >= SILENT_LOOKS => {
                return Error::Silent {
                    looks: silent_looks,
                    source,
                };
            }
            // Where applications wait for our locks their pools grow, and take the last connections.
            Err(_) if blocked_since.is_some_and(|since| since.elapsed() >= max_blocking) => {
                let reason = "sessions waited for its locks when the server was last looked at, longer than backup.max_blocking ago"
                    .to_owned();
                return Error::from(postgres::Error::Yielded { reason });
            }
            // The run's own sessions tell whether the server is there; this one only looks around.
            Err(error) => tracing::warn!(error = %error, "cannot look after production"),
        }
    }
}
