//! All copies that the agent fills, beside its backups: at its start, after each of them, and until nothing is missing.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::lane::{Filled, Lane};
use super::workplace::Workplace;
use crate::agent::live::Live;
use crate::config::Settings;
use crate::http::status::RepositoryStatus;

/// One lane a place. Dropped, nothing goes on.
pub(super) struct Copies(Vec<Lane>);

impl Copies {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Self {
        let places = settings.copies.iter().filter(|copy| copy.after_backup);
        Self(places.map(|place| Lane::new(place, settings, now)).collect())
    }

    pub(super) fn want(&mut self, now: Timestamp) {
        for lane in &mut self.0 {
            lane.want(now);
        }
    }

    pub(super) fn saw(&mut self, repository: &RepositoryStatus, now: Timestamp) {
        for lane in &mut self.0 {
            lane.saw(repository, now);
        }
    }

    pub(super) fn begin(
        &mut self,
        workplace: &Arc<Workplace>,
        live: &Live,
        cancel: &CancellationToken,
        now: Timestamp,
    ) {
        for lane in &mut self.0 {
            lane.begin(workplace, live, cancel, now);
        }
    }

    pub(super) fn tell(&self, live: &Live) {
        let repository = live.repository();
        let copies = self.0.iter().map(|lane| lane.status(repository.as_deref())).collect();
        live.set_copies(copies);
    }

    /// The first run that ends, and of which place; never, where none goes on.
    pub(super) async fn goes_on(&mut self) -> (usize, Filled) {
        poll_fn(|context| {
            for (number, lane) in self.0.iter_mut().enumerate() {
                if let Some(run) = lane.running()
                    && let Poll::Ready(filled) = run.poll_unpin(context)
                {
                    return Poll::Ready((number, filled));
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn filled(&mut self, number: usize, filled: Filled, live: &Live, now: Timestamp) {
        if let Some(lane) = self.0.get_mut(number) {
            lane.filled(filled, live, now);
        }
    }
}
