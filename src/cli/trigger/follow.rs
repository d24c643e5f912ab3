//! Watching one run to its end, by the agent's status.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout_at};

use super::process::is_agent;
use crate::http::fetch_runs;
use crate::http::status::{FinishedRun, Status, Trigger};

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

    /// Waits until the run has ended that a signal sent after `before` asked for.
    pub(super) async fn follow(&self, before: &Status, limit: Duration) -> anyhow::Result<Followed> {
        let deadline = Instant::now().checked_add(limit);
        match deadline {
            Some(deadline) => match timeout_at(deadline, self.until_ended(before)).await {
                Ok(run) => run.map(Followed::Ended),
                Err(_) => Ok(Followed::TooLate),
            },
            None => self.until_ended(before).await.map(Followed::Ended),
        }
    }

    async fn until_ended(&self, before: &Status) -> anyhow::Result<FinishedRun> {
        loop {
            match Self::read(self.address).await {
                // A container that was restarted shows another agent at the same port, whose process has the same number.
                Ok(status) if status.started != before.started => bail!("the agent (process {}) has ended", self.pid),
                Ok(status) => {
                    if let Some(run) = asked_for(status, before.last_begun()) {
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

/// The first run after `number` that a signal began: one that was about to begin by itself answers no signal.
fn asked_for(status: Status, number: u64) -> Option<FinishedRun> {
    let is_it = |run: &FinishedRun| run.number > number && run.trigger == Trigger::Signal;
    status.runs.into_iter().rfind(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn a_run_that_began_by_itself_meanwhile_is_not_the_one_asked_for() {
        let mut status = sample::backup_agent();
        let run = |number, trigger| FinishedRun {
            number,
            trigger,
            ..status.runs[0].clone()
        };
        let (skipped, asked) = (run(10, Trigger::Schedule), run(11, Trigger::Signal));
        status.runs = vec![
            run(12, Trigger::Signal),
            asked.clone(),
            skipped,
            run(9, Trigger::Signal),
        ];
        assert_eq!(asked_for(status.clone(), 9), Some(asked));
        assert_eq!(asked_for(status, 12), None);
    }
}
