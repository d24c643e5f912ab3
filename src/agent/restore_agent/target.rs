//! The target before a drill: does its server answer, does anybody else hold it. Looked at before the start marker is
//! written, so that neither a server that is still starting nor another agent leaves a record that says nothing.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::drill::DrillOptions;
use crate::postgres::target::is_target_locked;
use crate::postgres::{self, connect};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a server that lets somebody in may take to answer. One that is stopped never does.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the session of a drill that was killed may keep its lock.
const LEAVING: Duration = Duration::from_secs(2);

/// How the target was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Or in a state that the drill itself will say something about.
    Ready,
    /// By another drill or a restore.
    Held { database: String },
}

/// Waits until the targets' server answers, for `patience` at most, and sees who holds the targets. `tell` is called
/// with what is being waited for.
pub(super) async fn look_at(options: &DrillOptions, patience: Duration, tell: impl Fn(Option<String>)) -> Target {
    let Some(first) = options.targets.values().next() else {
        return Target::Ready;
    };
    let maintenance = first.with_database(&options.maintenance_database);
    let since = Instant::now();
    let mut is_told = false;
    loop {
        match connect(&maintenance, "look at target").await {
            Ok(session) => {
                tell(None);
                return who_holds(options, &session).await;
            }
            Err(error) if is_absent(&error) && since.elapsed() < patience => {
                if !is_told {
                    let what = format!("the target's server at {}:{}", first.host, first.port);
                    tracing::warn!(what, "waiting");
                    tell(Some(what));
                    is_told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            // The drill says what is wrong.
            Err(_) => {
                tell(None);
                return Target::Ready;
            }
        }
    }
}

async fn who_holds(options: &DrillOptions, session: &postgres::Session) -> Target {
    let since = Instant::now();
    loop {
        // Without an answer the drill says what is wrong.
        let held = timeout(ANSWER, held_target(options, session)).await.unwrap_or_default();
        match held {
            None => return Target::Ready,
            Some(database) if since.elapsed() > LEAVING => return Target::Held { database },
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn held_target(options: &DrillOptions, session: &postgres::Session) -> Option<String> {
    for target in options.targets.values() {
        let is_held = is_target_locked(&session.client, &target.database).await;
        if is_held.unwrap_or(false) {
            return Some(target.database.clone());
        }
    }
    None
}

/// Nobody answers, or somebody who is only starting or stopping.
fn is_absent(error: &postgres::Error) -> bool {
    match error {
        postgres::Error::ConnectTimeout { .. } | postgres::Error::Silent { .. } => true,
        postgres::Error::Connect { .. } => {
            matches!(error.sqlstate(), None | Some(&SqlState::CANNOT_CONNECT_NOW))
        }
        _ => false,
    }
}
