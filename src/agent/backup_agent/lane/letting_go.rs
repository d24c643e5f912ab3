//! What follows the filling of a place by its own rules: expiry and prune, once for each backup that has come, beside further
//! fillings. A prune marks what a copy has announced, and spares what is younger than the grace period, so neither has to
//! wait for the other.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::job::{Job, Place};
use crate::agent::backup_agent::retention::LetGo;
use crate::agent::live::Live;
use crate::http::status::RetentionStatus;

#[derive(Default)]
pub(super) struct LettingGo {
    /// A backup has come since the place let go last.
    is_owed: bool,
    run: Option<BoxFuture<'static, LetGo>>,
    /// One more, after the present one.
    next: Option<Arc<Job>>,
    /// How it ended before.
    before: RetentionStatus,
}

impl LettingGo {
    /// A backup of this agent has come.
    pub(super) fn owe(&mut self) {
        self.is_owed = true;
    }

    #[cfg(test)]
    pub(super) fn is_owed(&self) -> bool {
        self.is_owed
    }

    pub(super) fn goes_on(&self) -> bool {
        self.run.is_some()
    }

    /// It as it begins anew: what was going on is done again.
    pub(super) fn anew(self) -> Self {
        Self {
            is_owed: self.is_owed || self.goes_on(),
            before: self.before,
            ..Self::default()
        }
    }

    /// `job` has filled the place. `is_owed_again`: a backup came meanwhile, is brought by the next filling, and asks for
    /// another one.
    pub(super) fn after_filling(&mut self, job: Arc<Job>, is_owed_again: bool) {
        let is_owed = std::mem::replace(&mut self.is_owed, is_owed_again);
        if !is_owed || !job.lets_go() {
            return;
        }
        if self.run.is_some() {
            self.next = Some(job);
        } else {
            self.run = Some(job.let_go().boxed());
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<LetGo> {
        self.run.as_mut().map_or(Poll::Pending, |run| run.poll_unpin(context))
    }

    /// It has come to its end in the place `name`.
    pub(super) fn ended(&mut self, let_go: &LetGo, name: &str, live: &Live) {
        let_go.tell(name);
        let_go.note(&mut self.before);
        live.count_copy(name, |counts| counts.retention.add(&let_go.run()));
        self.run = self.next.take().map(|job| job.let_go().boxed());
    }

    pub(super) fn status(&self, place: &Place) -> RetentionStatus {
        RetentionStatus {
            current: place.letting_go(),
            ..self.before.clone()
        }
    }
}
