//! What a proxy has been told, has seen and has done.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use hyper::http::response::Parts;

use super::seeded::Seeded;
use super::{Call, Fault, Rule};

/// A call that went wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Struck {
    pub(crate) call: Call,
    pub(crate) fault: Fault,
}

impl fmt::Display for Struck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.call, self.fault)
    }
}

/// What the proxy's handle and its thread share.
pub(super) struct Shared {
    /// `host:port`
    pub(super) upstream: String,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// With how many matching calls there were since it was set.
    rules: Vec<(Rule, usize)>,
    seeded: Option<Seeded>,
    /// Calls of an operation and a kind of key since the seed was set.
    drawn: HashMap<(&'static str, String), usize>,
    calls: Vec<Call>,
    struck: Vec<Struck>,
    /// The last fresh answer to each listing, by its path and query.
    listings: HashMap<String, (Parts, Bytes)>,
}

impl Shared {
    pub(super) fn new(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            state: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    pub(super) fn script(&mut self, rule: Rule) {
        self.rules.push((rule, 0));
    }

    pub(super) fn seed(&mut self, seed: u64, rate: f64) {
        self.drawn.clear();
        self.seeded = Some(Seeded { seed, rate });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.seeded = None;
    }

    pub(super) fn struck(&self) -> Vec<Struck> {
        self.struck.clone()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.clone()
    }

    /// Notes the call and decides what becomes of it; `query` tells listings apart.
    pub(super) fn meet(&mut self, call: &Call, query: &str) -> Option<Fault> {
        self.calls.push(call.clone());
        let mut fault = None;
        for (rule, seen) in &mut self.rules {
            if rule.is_for(call) {
                if fault.is_none() && rule.strikes(*seen) {
                    fault = Some(rule.fault);
                }
                *seen += 1;
            }
        }
        let fault = fault.or_else(|| self.draw(call))?;
        if fault == Fault::Stale && !self.listings.contains_key(query) {
            return None;
        }
        self.struck.push(Struck {
            call: call.clone(),
            fault,
        });
        Some(fault)
    }

    fn draw(&mut self, call: &Call) -> Option<Fault> {
        let seeded = self.seeded?;
        let number = self.drawn.entry((call.operation, call.class().to_owned())).or_default();
        *number += 1;
        seeded.draw(call, *number)
    }

    pub(super) fn remember(&mut self, query: String, answer: (Parts, Bytes)) {
        self.listings.insert(query, answer);
    }

    pub(super) fn remembered(&self, query: &str) -> Option<(Parts, Bytes)> {
        self.listings.get(query).cloned()
    }
}
