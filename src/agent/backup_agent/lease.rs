//! Whose turn it is among several agents of one cluster: the lease in the bucket, taken before a run and given back after
//! it, and told to the status.

use std::time::Duration;

use tokio::time::timeout;

use crate::agent::error::Result;
use crate::agent::live::Live;
use crate::http::status::LeaseStatus;
use crate::repository::{Acquisition, Lease, LeaseOptions, Repository};

/// How long giving back may take; a lease that is not given back runs out by itself.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// What came of asking.
pub(super) enum Taken {
    Held(Lease),
    /// By that holder.
    Busy(String),
    /// These credentials may not write leases: nothing keeps a second agent away, and the status says so.
    Denied,
}

pub(super) async fn take(repository: &Repository, options: LeaseOptions, live: &Live) -> Result<Taken> {
    let status = |is_held, generation, is_degraded| LeaseStatus {
        is_held,
        generation,
        is_degraded,
    };
    let (status, taken) = match repository.acquire_lease(options).await {
        Ok(Acquisition::Held(lease)) => (
            status(true, Some(lease.generation()), lease.is_degraded()),
            Taken::Held(lease),
        ),
        Ok(Acquisition::Busy(occupant)) => (
            status(false, Some(occupant.generation), occupant.is_degraded),
            Taken::Busy(occupant.holder),
        ),
        Err(error) if is_denied(&error) => {
            tracing::warn!(%error, "no lease: two agents may back this cluster up at once");
            (status(false, None, true), Taken::Denied)
        }
        Err(error) => return Err(error.into()),
    };
    live.set_lease(Some(status));
    Ok(taken)
}

pub(super) async fn give_back(lease: Option<Lease>, live: &Live) {
    let Some(lease) = lease else { return };
    live.set_lease(Some(LeaseStatus {
        is_held: false,
        generation: Some(lease.generation()),
        is_degraded: lease.is_degraded(),
    }));
    match timeout(GIVE_BACK, lease.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lease runs out by itself"),
        Err(_) => tracing::warn!("the lease could not be given back in time and runs out by itself"),
    }
}

fn is_denied(error: &crate::repository::Error) -> bool {
    matches!(error, crate::repository::Error::Storage(error) if error.is_refused())
}
