//! Watching one run to its end, by the agent's status.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout_at};

use super::process::is_agent;
use crate::http::fetch_runs;
use crate::http::status::{FinishedRun, Status};

/// How often the status is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// Where a running agent shows itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) pid: Pid,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Followed {
    Ended(FinishedRun),
    TooLate,
}

impl Port {
    pub(super) async fn read(address: SocketAddr) -> anyhow::Result<Status> {
        let status = fetch_runs(address).await;
        status.with_context(|| format!("read the agent's status at {address}"))
    }

    /// Waits until the run `number` has ended.
    pub(super) async fn follow(&self, number: u64, limit: Duration) -> anyhow::Result<Followed> {
        let deadline = Instant::now().checked_add(limit);
        match deadline {
            Some(deadline) => match timeout_at(deadline, self.until_ended(number)).await {
                Ok(run) => run.map(Followed::Ended),
                Err(_) => Ok(Followed::TooLate),
            },
            None => self.until_ended(number).await.map(Followed::Ended),
        }
    }

    async fn until_ended(&self, number: u64) -> anyhow::Result<FinishedRun> {
        loop {
            match Self::read(self.address).await {
                Ok(status) => {
                    if let Some(run) = status.runs.into_iter().find(|run| run.number == number) {
                        return Ok(run);
                    }
                }
                // A busy machine answers late; an agent that has ended never will.
                Err(error) => {
                    tracing::debug!(%error, "the status cannot be read now");
                    if !is_agent(self.pid.as_raw()) {
                        bail!("the agent (process {}) has ended", self.pid);
                    }
                }
            }
            sleep(PERIOD).await;
        }
    }
}
