//! The bucket as an agent keeps an eye on it: when to look, what was seen last, whether that may be decided by.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use super::bucket::{Bucket, Look, Seen};
use crate::agent::error::Error;
use crate::agent::live::Live;
use crate::config::Settings;
use crate::http::status::RepositoryStatus;
use crate::repository;
use crate::telemetry::causes::chain;

/// One look after the other, each at its time.
pub(super) struct Lookout {
    live: Live,
    /// None while a look is under way.
    bucket: Option<Bucket>,
    looking: Option<LocalBoxFuture<'static, Look>>,
    look_at: Instant,
    seen: Option<Seen>,
    /// Looks that began before this moment cannot be decided by.
    stale_before: Instant,
    /// Nothing is decided before the next look.
    is_current: bool,
    waiting_for: Option<String>,
}

impl Lookout {
    pub(super) fn new(settings: &Arc<Settings>, live: Live) -> Self {
        let now = Instant::now();
        Self {
            live,
            bucket: Some(Bucket::new(Arc::clone(settings))),
            looking: None,
            look_at: now,
            seen: None,
            stale_before: now,
            is_current: false,
            waiting_for: None,
        }
    }

    /// Begins a look, if it is time.
    pub(super) fn look_if_due(&mut self, settings: &Arc<Settings>) {
        if Instant::now() < self.look_at {
            return;
        }
        let Some(bucket) = self.bucket.take() else { return };
        let bucket = bucket.under(settings);
        self.look_at = Instant::now() + settings.agent.poll_interval.0;
        self.looking = Some(Box::pin(bucket.look(self.live.clone())));
    }

    /// Waits for the look that is under way, if one is.
    pub(super) async fn look(&mut self) -> Look {
        let Some(looking) = &mut self.looking else {
            return std::future::pending().await;
        };
        let look = looking.await;
        self.looking = None;
        look
    }

    /// Takes over what was seen. What a drill waits for it tells itself.
    pub(super) fn looked(&mut self, look: Look, settings: &Arc<Settings>, is_drilling: bool) {
        let is_of_now = look.bucket.is_of(settings) && look.began >= self.stale_before;
        self.bucket = Some(look.bucket);
        let waiting_for = match look.seen {
            Ok(seen) => {
                self.live.set_repository(Arc::clone(&seen.status));
                let trouble = trouble_with(&seen.status, settings).filter(|_| !is_drilling);
                self.seen = Some(seen);
                self.is_current = is_of_now;
                trouble
            }
            Err(error) => {
                self.is_current = false;
                self.live.count(|counts| counts.failed_polls += 1);
                Some(match &error {
                    Error::Repository(repository::Error::Missing) => {
                        "the first backup, which makes the repository".to_owned()
                    }
                    error => format!("the store: {}", chain(error)),
                })
            }
        };
        if !is_drilling || self.waiting_for != waiting_for {
            self.wait_for(waiting_for);
        }
    }

    /// Told once, until it changes.
    fn wait_for(&mut self, what: Option<String>) {
        if let Some(what) = &what
            && self.waiting_for.as_ref() != Some(what)
        {
            tracing::warn!(what, "waiting");
        }
        self.live.set_waiting_for(what.clone());
        self.waiting_for = what;
    }

    /// At once, and nothing is decided before.
    pub(super) fn look_again(&mut self) {
        self.stale_before = Instant::now();
        self.is_current = false;
        self.look_at = self.stale_before;
    }

    /// What was seen last, however long ago.
    pub(super) fn last_seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// The same, if it may be decided by.
    pub(super) fn current(&self, settings: &Settings) -> Option<&Seen> {
        let seen = self.seen.as_ref().filter(|_| self.is_current)?;
        trouble_with(&seen.status, settings).is_none().then_some(seen)
    }

    /// How long until the next look begins; none while one is under way.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.bucket
            .is_some()
            .then(|| self.look_at.saturating_duration_since(now))
    }

    /// No look goes on.
    pub(super) fn end(&mut self) {
        self.looking = None;
    }
}

/// What keeps an agent from choosing although the repository can be read.
fn trouble_with(status: &RepositoryStatus, settings: &Settings) -> Option<String> {
    if status.backups.is_empty() {
        return Some(match &settings.cluster {
            Some(cluster) => format!("the first backup of cluster '{cluster}'"),
            None => "the first backup".to_owned(),
        });
    }
    let contents = status.backups.iter().filter_map(|backup| backup.contents.as_ref());
    let clusters: BTreeSet<&str> = contents.map(|contents| contents.cluster.as_str()).collect();
    (clusters.len() > 1).then(|| {
        let clusters = Vec::from_iter(clusters).join(", ");
        format!("the setting 'cluster': the repository holds backups of {clusters}")
    })
}
