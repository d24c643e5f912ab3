//! Letting go: which backups are kept is a pure function of what is proven ([`plan`]); `expire` obeys it, and `prune`
//! deletes the chunks that nothing refers to any more.
//!
//! Neither rests on a lock. A backup is expired by a tombstone, the deletion of its manifest and a mark that says since
//! when that is gone; a chunk goes only when no manifest refers to it that exists now or existed within the grace period,
//! and when it is older than that itself. All times are the store's.

mod by_name;
mod calendar;
mod declined;
mod expire;
mod hidden;
mod leftovers;
mod mark;
mod plan;
mod policy;
mod prune;
mod reason;
mod survey;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thousand;
mod tombstone;

pub(super) use declined::Declining;
pub use expire::{ClusterPlan, ExpireOptions, ExpireReport, Retained, expire};
pub use hidden::accept_hidden;
pub use leftovers::Leftovers;
pub use plan::{Candidate, Decision, Plan, PlanLine, Proof, plan};
pub use policy::Policy;
pub use prune::{Counted, PruneOptions, PruneOutcome, PruneReport, prune};
pub use reason::Reason;
