//! `trigger`: makes a running agent work now, and waits for what comes of it. For images without `kill`.

mod follow;
mod process;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use serde::Serialize;

use super::exit::Exit;
use super::meaning::exit_of_outcome;
use super::{Context, output};
use crate::config::{Settings, Span};
use crate::http::status::{AgentKind, FinishedRun};
use crate::telemetry::plain;
use follow::{Followed, Port};

/// Make a running agent back up or drill now
///
/// Finds the agent in this container (process 1, or the only one that runs) and sends it SIGUSR1. With --wait, follows the
/// run that this leads to on the agent's port and ends with its outcome. For kubectl exec, hooks and pipelines.
#[derive(Debug, Args)]
pub(super) struct TriggerArguments {
    /// Follow the run and end with its outcome
    #[arg(long)]
    wait: bool,

    /// Longest wait; the run goes on all the same, and the exit code is 8
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "wait")]
    timeout: Span,

    /// The agent's process [default: process 1, or the only agent that runs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,

    /// Where the agent shows its status [default: the port of agent.listen, on loopback]
    #[arg(long, value_name = "ADDRESS", requires = "wait")]
    address: Option<SocketAddr>,
}

/// Not a failed run: nobody knows yet what comes of it.
#[derive(Debug, thiserror::Error)]
#[error("the run has not ended within {seconds}s; the agent goes on with it")]
pub(super) struct StillRunning {
    seconds: u64,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Triggered<'a> {
    pid: i32,
    /// None without `--wait`.
    agent: Option<AgentKind>,
    run: Option<&'a FinishedRun>,
}

pub(super) async fn run(arguments: &TriggerArguments, context: &Context) -> anyhow::Result<Exit> {
    let pid = process::find(arguments.pid)?;
    let signal = || kill(pid, Signal::SIGUSR1).with_context(|| format!("signal process {pid}"));
    if !arguments.wait {
        signal()?;
        let triggered = Triggered {
            pid: pid.as_raw(),
            agent: None,
            run: None,
        };
        output::print(context.output, &triggered, || format!("agent  process {pid}\n"))?;
        return Ok(Exit::Success);
    }
    let address = arguments.address.unwrap_or_else(|| loopback(&context.settings));
    let before = Port::read(address).await?;
    signal()?;
    let port = Port { address, pid };
    let followed = context
        .cancel
        .run_until_cancelled(port.follow(&before, arguments.timeout.0))
        .await;
    let run = match followed {
        None => return Ok(Exit::Interrupted),
        Some(followed) => match followed? {
            Followed::Ended(run) => run,
            Followed::TooLate => {
                let seconds = arguments.timeout.0.as_secs();
                return Err(StillRunning { seconds }.into());
            }
        },
    };
    let triggered = Triggered {
        pid: pid.as_raw(),
        agent: Some(before.agent),
        run: Some(&run),
    };
    output::print(context.output, &triggered, || summary(&run))?;
    Ok(exit_of_outcome(run.outcome, before.agent == AgentKind::RestoreAgent))
}

fn loopback(settings: &Settings) -> SocketAddr {
    let listen = settings.agent.listen;
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

fn summary(run: &FinishedRun) -> String {
    let backup_id = run.backup_id.as_deref().unwrap_or("-");
    let message = match &run.message {
        Some(message) => format!("message  {}\n", plain::line(message)),
        None => String::new(),
    };
    format!(
        "run      {}\noutcome  {}\nbackup   {backup_id}\n{message}",
        run.number,
        run.outcome.as_str()
    )
}
