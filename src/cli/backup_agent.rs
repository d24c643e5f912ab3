//! `backup-agent`: backs up by schedule and signal, until it is told to stop.

use clap::Args;
use jiff::Timestamp;

use super::AgentContext;
use super::agent_port::{listen, show_while};
use super::exit::Exit;
use crate::agent::{self, Live};
use crate::http::status::AgentKind;

/// Back up by schedule and on SIGUSR1, until SIGTERM
///
/// The sidecar beside PostgreSQL. SIGUSR1: back up now. SIGHUP: read the settings anew. SIGTERM: leave the server at once
/// and end with 0; what was not complete is not there. What it does is shown at the setting agent.listen.
#[derive(Debug, Args)]
pub(super) struct BackupAgentArguments {}

pub(super) async fn run(context: AgentContext) -> anyhow::Result<Exit> {
    let AgentContext { settings, surroundings } = context;
    let listener = listen(&settings).await?;
    let live = Live::new(AgentKind::BackupAgent, &settings, Timestamp::now());
    let cancel = surroundings.signals.cancel.clone();
    let work = agent::backup_agent(settings, live.clone(), surroundings);
    Box::pin(show_while(listener, live, &cancel, work)).await?;
    Ok(Exit::Success)
}
