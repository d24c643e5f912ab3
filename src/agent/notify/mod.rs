//! Tells people by a webhook what drills found: failed, unverified for too long, recovered, and, for who wants it,
//! certified.
//!
//! What is told follows from the bucket's records ([`events`]). Messages go through a bounded queue to a task of its own:
//! no drill waits for a receiver. The URL may be a secret and stands in no log line.

mod events;
mod message;
mod send;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::live::Live;
use crate::config::NotifySettings;

pub(super) use events::{Drilled, Wanted, events};
pub(super) use message::Message;
use send::Sender;

/// Messages that wait. A drill makes at most two, and takes longer than a receiver that works.
const QUEUE: usize = 32;

/// How long the last messages may take when the process ends.
const DRAIN: Duration = Duration::from_secs(1);

/// The handle of the task that sends.
#[derive(Debug)]
pub(super) struct Notifier {
    queue: mpsc::Sender<(Arc<NotifySettings>, Message)>,
    task: JoinHandle<()>,
    live: Live,
}

impl Notifier {
    /// Starts the task. Must be called inside a runtime.
    pub(super) fn start(live: Live) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(messages, live.clone()));
        Self { queue, task, live }
    }

    /// Hands a message over, to be sent by `settings`, where these name a receiver. Does not wait.
    pub(super) fn tell(&self, settings: &Arc<NotifySettings>, message: Message) {
        if settings.webhook.is_none() && settings.webhook_file.is_none() {
            return;
        }
        if self.queue.try_send((Arc::clone(settings), message)).is_err() {
            tracing::error!("a notification is lost: too many wait for their receiver");
            self.live.count(|counts| counts.failed_notifications += 1);
        }
    }

    /// Lets the task send what it has, for a moment.
    pub(super) async fn end(self) {
        drop(self.queue);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(DRAIN, self.task).await.is_err() {
            abort.abort();
            tracing::warn!("notifications that were not sent are given up");
        }
    }
}

async fn run(mut messages: mpsc::Receiver<(Arc<NotifySettings>, Message)>, live: Live) {
    let mut sender = Sender::default();
    while let Some((settings, message)) = messages.recv().await {
        let event = message.event;
        match sender.send(&settings, &message).await {
            Ok(()) => {
                tracing::info!(event = event.as_str(), "notification sent");
                live.count(|counts| counts.notifications += 1);
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(event = event.as_str(), error, "notification not sent");
                live.count(|counts| counts.failed_notifications += 1);
            }
        }
    }
}
