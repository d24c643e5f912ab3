//! `restore-agent`: drills every new backup, until it is told to stop.

use clap::Args;

use super::AgentContext;
use super::agent_port::{listen, show_while};
use super::exit::Exit;
use crate::agent::{self, Live};
use crate::http::status::AgentKind;

/// Drill every new backup, until SIGTERM
///
/// Looks for backups, proves the newest that has no verdict, and stores a certificate. The databases named by the settings below
/// 'target' are destroyed each time, as by 'drill'. SIGUSR1: drill the newest backup now. SIGHUP: read the settings anew.
/// SIGTERM: stop without a certificate and end with 0; the next start wipes and repeats. What it does is shown at the setting
/// agent.listen.
#[derive(Debug, Args)]
pub(super) struct RestoreAgentArguments {}

pub(super) async fn run(context: AgentContext) -> anyhow::Result<Exit> {
    let AgentContext {
        settings, surroundings, ..
    } = context;
    agent::check_restore_agent(&settings, &surroundings.environment)?;
    let listener = listen(&settings).await?;
    let live = Live::new(AgentKind::RestoreAgent, &settings, crate::telemetry::clock::now());
    let cancel = surroundings.signals.cancel.clone();
    let work = Box::pin(agent::restore_agent(settings, surroundings, live.clone()));
    show_while(listener, live, &cancel, work).await?;
    Ok(Exit::Success)
}
