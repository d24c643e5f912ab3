//! Who backs a cluster up: a lease that keeps two agents from doing so at once. Correctness never rests on it: whatever
//! happens to it, a backup is one if and only if its manifest exists, and two at once are waste, not damage.
//!
//! Objects are created once, so a lease is not renewed but taken anew under the next generation. The newest generation
//! counts; it is free when it was released, or when its duration has passed since the store dated its object, both by the
//! store's clock. A holder that paused finds a newer generation and knows.
//!
//! An agent asks `Repository::acquire_lease` before a run. With `Acquisition::Held` it puts a clone of the lease into
//! `BackupOptions::lease`: the run renews it, ends as soon as it is lost, and asks once more right before it writes its
//! manifest. Afterwards, however the run ended, the agent calls `Lease::release`. With `Acquisition::Busy` it skips the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document;
use super::error::{Error, Result};
use super::id::LeaseScope;
use super::layout::{self, Key};
use super::limits::MAX_RECORD_BYTES;
use super::manifest::FORMAT_VERSION;
use super::reader::Repository;
use crate::storage::{ErrorKind, ObjectStore, Put, list_all};

/// How often a holder takes its lease anew within one duration: one renewal may fail without harm.
const RENEWALS: u32 = 3;

/// Whatever a document says: a holder that died must not keep others away for longer.
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// Whose lease it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The name in the settings; each has a lease of its own.
    pub cluster: String,
    /// Names this process among all that ever ask, and to people: the host's name and something random. What the same
    /// holder left behind does not keep it out.
    pub holder: String,
    /// How long a holder that died keeps others out.
    pub duration: Duration,
}

/// What came of asking.
#[derive(Clone, Debug)]
pub enum Acquisition {
    Held(Lease),
    /// Somebody else is at it.
    Busy(Occupant),
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    pub holder: String,
    pub generation: u64,
    /// When it ends unless it is renewed, by the store's clock.
    pub expires: Timestamp,
    /// The store cannot refuse another holder beside this one.
    pub is_degraded: bool,
}

/// A lease that this process has taken. Clones are the same lease. Dropped, it runs out; released, it is free at once.
#[derive(Clone, Debug)]
pub struct Lease(Arc<State>);

#[derive(Debug)]
struct State {
    store: Arc<dyn ObjectStore>,
    scope: LeaseScope,
    options: LeaseOptions,
    is_degraded: bool,
    /// The newest generation that is known to be ours; 0 before there is one.
    generation: AtomicU64,
    /// Until the store has said otherwise.
    may_delete: AtomicBool,
}

/// `leases/<scope>/<generation>.json`, and the same once more where it is released.
#[derive(Debug, Serialize, Deserialize)]
struct LeaseDocument {
    format_version: u32,
    cluster: String,
    generation: u64,
    holder: String,
    tool_version: String,
    duration_seconds: u64,
}

/// The newest generation, as a listing tells it.
struct Newest {
    generation: u64,
    modified: Timestamp,
    is_released: bool,
    /// All that it and older ones have left.
    keys: Vec<String>,
}

impl Repository {
    /// Takes the lease if nobody else has it.
    ///
    /// # Errors
    /// The store's own; `Denied` when the credentials may not write leases. Nothing is held then, except perhaps by an
    /// object whose answer was lost, which does not keep the same holder out.
    pub async fn acquire_lease(&self, options: LeaseOptions) -> Result<Acquisition> {
        let store = Arc::clone(self.store());
        let is_degraded = match store.capabilities(layout::PROBES).await {
            Ok(capabilities) => !capabilities.create_only,
            // Nobody knows, so nothing is promised.
            Err(error) if error.kind == ErrorKind::Denied => true,
            Err(error) => return Err(error.into()),
        };
        if is_degraded {
            tracing::warn!("the store cannot refuse a second holder of a lease: two agents may work at once");
        }
        let lease = Lease(Arc::new(State {
            store,
            scope: LeaseScope::of(&options.cluster),
            options,
            is_degraded,
            generation: AtomicU64::new(0),
            may_delete: AtomicBool::new(true),
        }));
        let newest = lease.newest_after(0).await?;
        if let Some(newest) = &newest
            && let Some(occupant) = lease.occupant(newest).await?
        {
            return Ok(Acquisition::Busy(occupant));
        }
        let (generation, outdated) = newest.map_or((0, Vec::new()), |newest| (newest.generation, newest.keys));
        match lease.claim(generation + 1).await {
            Ok(()) => {}
            Err(Error::LeaseLost { occupant }) => return Ok(Acquisition::Busy(occupant)),
            Err(error) => return Err(error),
        }
        lease.forget(outdated).await;
        Ok(Acquisition::Held(lease))
    }
}

impl Lease {
    /// The newest generation that this process took.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Relaxed)
    }

    /// The store cannot refuse a second holder, so that two agents may work at once.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.is_degraded
    }

    /// Takes it anew, for another duration.
    ///
    /// # Errors
    /// `LeaseLost` when somebody else has it, or the store's own.
    pub async fn renew(&self) -> Result<()> {
        let generation = self.generation();
        self.claim(generation + 1).await?;
        self.forget(vec![self.key(generation)]).await;
        Ok(())
    }

    /// Asks the store whether nobody else has taken it. One that has run out and that nobody took is still held.
    ///
    /// # Errors
    /// `LeaseLost` when somebody else has it, or the store's own.
    pub async fn confirm(&self) -> Result<()> {
        let known = self.generation();
        let Some(newest) = self.newest_after(known).await? else {
            return if self.is_degraded() {
                self.check_holder(known).await
            } else {
                Ok(())
            };
        };
        // Newer, and perhaps our own: a renewal under way, or one whose answer was lost.
        self.check_holder(newest.generation).await?;
        self.0.generation.fetch_max(newest.generation, Ordering::Relaxed);
        Ok(())
    }

    /// Renews it again and again. Returns only when it is lost; ends when it is dropped, with the run it belongs to.
    pub async fn keep(&self) -> Error {
        loop {
            tokio::time::sleep(self.0.options.duration / RENEWALS).await;
            match self.renew().await {
                Ok(()) => tracing::debug!(generation = self.generation(), "lease renewed"),
                Err(error @ Error::LeaseLost { .. }) => return error,
                // A store that is away keeps everybody from it; the run finds out by itself.
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "lease not renewed"),
            }
        }
    }

    /// Lets others have it at once instead of when it runs out.
    ///
    /// # Errors
    /// The store's own; it then runs out by itself.
    pub async fn release(self) -> Result<()> {
        let generation = self.generation();
        let key = Key::LeaseRelease {
            scope: self.0.scope.clone(),
            generation,
        };
        let body = document::encode(&self.document(generation))?;
        self.0.store.put_new(&key.to_string(), body).await?;
        Ok(())
    }

    fn key(&self, generation: u64) -> String {
        let scope = self.0.scope.clone();
        Key::Lease { scope, generation }.to_string()
    }

    fn document(&self, generation: u64) -> LeaseDocument {
        let options = &self.0.options;
        LeaseDocument {
            format_version: FORMAT_VERSION,
            cluster: options.cluster.clone(),
            generation,
            holder: options.holder.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            duration_seconds: options.duration.as_secs() + u64::from(options.duration.subsec_nanos() > 0),
        }
    }

    /// Makes `generation` ours. An object that was created need not be the newest: while this process paused, others may
    /// have taken the generation, gone beyond it and cleaned up.
    async fn claim(&self, generation: u64) -> Result<()> {
        let body = document::encode(&self.document(generation))?;
        let put = self.0.store.put_new(&self.key(generation), body).await?;
        if put == Put::Exists {
            // Ours as well where the answer to our own attempt was lost.
            self.check_holder(generation).await?;
        }
        self.0.generation.fetch_max(generation, Ordering::Relaxed);
        self.confirm().await
    }

    async fn check_holder(&self, generation: u64) -> Result<()> {
        let held = self.read(generation).await?;
        if held.as_ref().is_some_and(|held| held.holder == self.0.options.holder) {
            return Ok(());
        }
        let occupant = self.describe(generation, self.0.store.now(), held);
        Err(Error::LeaseLost { occupant })
    }

    /// Who keeps us out, if anyone does.
    async fn occupant(&self, newest: &Newest) -> Result<Option<Occupant>> {
        if newest.is_released {
            return Ok(None);
        }
        let held = self.read(newest.generation).await?;
        if held.as_ref().is_some_and(|held| held.holder == self.0.options.holder) {
            return Ok(None);
        }
        let occupant = self.describe(newest.generation, newest.modified, held);
        Ok((self.0.store.now() < occupant.expires).then_some(occupant))
    }

    /// What cannot be read is taken to last as long as our own.
    fn describe(&self, generation: u64, since: Timestamp, held: Option<LeaseDocument>) -> Occupant {
        let (holder, duration) = match held {
            Some(held) => (
                held.holder,
                Duration::from_secs(held.duration_seconds).min(LONGEST_LEASE),
            ),
            None => ("unknown".to_owned(), self.0.options.duration),
        };
        Occupant {
            holder,
            generation,
            expires: since.checked_add(duration).unwrap_or(Timestamp::MAX),
            is_degraded: self.is_degraded(),
        }
    }

    /// None when the object is gone or no lease that we understand.
    async fn read(&self, generation: u64) -> Result<Option<LeaseDocument>> {
        let key = self.key(generation);
        match self.0.store.get_at_most(&key, MAX_RECORD_BYTES).await {
            Ok(object) => Ok(document::decode(&key, &object).ok()),
            Err(error) if error.is_not_found() || error.kind == ErrorKind::TooLarge => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn newest_after(&self, generation: u64) -> Result<Option<Newest>> {
        let directory = layout::leases_of(&self.0.scope);
        let after = (generation > 0).then(|| self.key(generation));
        let mut newest: Option<Newest> = None;
        let mut keys = Vec::new();
        for object in list_all(self.0.store.as_ref(), &directory, after.as_deref()).await? {
            match object.key.parse() {
                Ok(Key::Lease { generation, .. }) => {
                    newest = Some(Newest {
                        generation,
                        modified: object.modified,
                        is_released: false,
                        keys: Vec::new(),
                    });
                }
                Ok(Key::LeaseRelease { generation, .. }) => {
                    if let Some(newest) = newest.as_mut().filter(|newest| newest.generation == generation) {
                        newest.is_released = true;
                    }
                }
                _ => continue,
            }
            keys.push(object.key);
        }
        Ok(newest.map(|newest| Newest { keys, ..newest }))
    }

    /// Removes what counts no more, as far as the credentials may.
    async fn forget(&self, keys: Vec<String>) {
        for key in keys {
            if !self.0.may_delete.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = self.0.store.delete(&key).await {
                tracing::debug!(key, error = &error as &dyn std::error::Error, "an outdated lease stays");
                self.0.may_delete.store(false, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
