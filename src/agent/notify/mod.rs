//! Tells people by a webhook what drills found: failed, unverified for too long, recovered, and, for who wants it,
//! certified.
//!
//! What is told follows from the bucket's records ([`events`]). Messages wait in an [`outbox`] until their receiver takes
//! them, and a task of its own sends them: no drill waits for a receiver. The URL may be a secret and stands in no log line.

mod events;
mod message;
mod outbox;
mod send;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::backoff::backoff;
use super::live::Live;
use crate::config::NotifySettings;

pub(super) use events::{Drilled, Event, Wanted, again, events, overdue};
pub(super) use message::{Message, Subject};
use outbox::Outbox;
use send::Sender;

/// After the first try that failed; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// A receiver that is only being restarted is no failure: it counts as one from this try in a row on.
const PATIENCE: u32 = 3;

/// How long the last messages may take when the process ends.
const DRAIN: Duration = Duration::from_secs(1);

/// The handle of the task that sends.
#[derive(Debug)]
pub(super) struct Notifier {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    /// Something on the desk has changed.
    news: Notify,
    ending: CancellationToken,
    live: Live,
}

#[derive(Debug)]
struct Desk {
    outbox: Outbox,
    settings: Arc<NotifySettings>,
}

impl Notifier {
    /// Starts the task. Must be called inside a runtime.
    pub(super) fn start(settings: NotifySettings, live: Live) -> Self {
        let desk = Desk {
            outbox: Outbox::default(),
            settings: Arc::new(settings),
        };
        let shared = Arc::new(Shared {
            desk: Mutex::new(desk),
            news: Notify::new(),
            ending: CancellationToken::new(),
            live,
        });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// From now on messages are sent so, also those that wait.
    pub(super) fn apply(&self, settings: NotifySettings) {
        let mut desk = self.shared.desk();
        desk.settings = Arc::new(settings);
        if !desk.has_receiver() {
            desk.outbox = Outbox::default();
        }
        drop(desk);
        self.shared.news.notify_one();
    }

    /// Hands a message over, where the settings name a receiver. Does not wait.
    pub(super) fn tell(&self, message: Message) {
        let mut desk = self.shared.desk();
        if desk.has_receiver() {
            desk.outbox.put(message);
            drop(desk);
            self.shared.news.notify_one();
        }
    }

    /// Lets the task try once more to send what it has, for a moment.
    pub(super) async fn end(self) {
        self.shared.ending.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(DRAIN, self.task).await.is_err() {
            abort.abort();
        }
        let waiting = self.shared.desk().outbox.len();
        if waiting > 0 {
            tracing::warn!(
                waiting,
                "notifications were not sent; the next start tells what still stands"
            );
        }
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Every change is one assignment or two: a panic elsewhere leaves nothing half done.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(u64, Message, Arc<NotifySettings>)> {
        let desk = self.desk();
        let (number, message) = desk.outbox.first()?;
        Some((number, message.clone(), Arc::clone(&desk.settings)))
    }
}

impl Desk {
    fn has_receiver(&self) -> bool {
        self.settings.webhook.is_some() || self.settings.webhook_file.is_some()
    }
}

/// Sends what waits, the oldest first, until the process ends; then each once more.
async fn run(shared: Arc<Shared>) {
    let mut sender = Sender::default();
    let mut failures = 0;
    loop {
        let is_ending = shared.ending.is_cancelled();
        let Some((number, message, settings)) = shared.next() else {
            if is_ending {
                return;
            }
            tokio::select! {
                () = shared.news.notified() => {}
                () = shared.ending.cancelled() => {}
            }
            continue;
        };
        let event = message.event.as_str();
        match sender.send(&settings, &message).await {
            Ok(()) => {
                failures = 0;
                shared.desk().outbox.remove(number);
                tracing::info!(event, "notification sent");
                shared.live.count(|counts| counts.notifications += 1);
            }
            Err(error) => {
                failures += 1;
                if failures >= PATIENCE || !error.is_passing() {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(event, error, failures, "notification not sent; it is tried again");
                    shared.live.count(|counts| counts.failed_notifications += 1);
                }
                if is_ending {
                    return;
                }
                // What has just been handed over, and new settings, are tried at once.
                tokio::select! {
                    () = tokio::time::sleep(backoff(FIRST_PAUSE, LONGEST_PAUSE, failures - 1)) => {}
                    () = shared.news.notified() => {}
                    () = shared.ending.cancelled() => {}
                }
            }
        }
    }
}
