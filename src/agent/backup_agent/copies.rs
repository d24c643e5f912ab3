//! All copies that the agent fills, beside its backups: at its start, after each of them, and until nothing is missing.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::lane::{Ended, Lane};
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

    /// The same under settings that were read anew.
    pub(super) fn change(&mut self, settings: &Settings, live: &Live, now: Timestamp) {
        let mut earlier = std::mem::take(&mut self.0);
        let repository = live.repository();
        let changed = Self::new(settings, now).0.into_iter().map(|new| {
            match earlier.iter().position(|lane| lane.name() == new.name()) {
                Some(number) => earlier.swap_remove(number).under(new, repository.as_deref(), now),
                None => new,
            }
        });
        self.0 = changed.collect();
    }

    /// Whether anything goes on in any of the places.
    pub(super) fn are_at_work(&self) -> bool {
        self.0.iter().any(Lane::is_at_work)
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

    /// The first work that ends, and of which place; never, where none goes on.
    pub(super) async fn goes_on(&mut self) -> (usize, Ended) {
        poll_fn(|context| {
            for (number, lane) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(ended) = lane.poll(context) {
                    return Poll::Ready((number, ended));
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn ended(&mut self, number: usize, ended: Ended, live: &Live, now: Timestamp) {
        if let Some(lane) = self.0.get_mut(number) {
            lane.ended(ended, live, now);
        }
    }
}
