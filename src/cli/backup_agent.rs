//! `backup-agent`: backs up by schedule and signal, until it is told to stop.

use clap::Args;

use super::AgentContext;
use super::agent_port::{listen, show_while};
use super::exit::Exit;
use crate::agent::{self, Live};
use crate::config::Settings;
use crate::http::status::AgentKind;

/// Back up by schedule and on SIGUSR1, until SIGTERM
///
/// The sidecar beside PostgreSQL. SIGUSR1: back up now. SIGHUP: read the settings anew. SIGTERM: leave the server at once
/// and end with 0; what was not complete is not there. What it does is shown at the setting agent.listen. Settings that are
/// missing or wrong are waited for.
#[derive(Debug, Args)]
pub(super) struct BackupAgentArguments {}

pub(super) async fn run(mut context: AgentContext) -> anyhow::Result<Exit> {
    let cancel = context.surroundings.signals.cancel.clone();
    let live = Live::new(
        AgentKind::BackupAgent,
        &context.settings,
        crate::telemetry::clock::now(),
    );
    let Some(settings) = settings(&mut context, &live).await? else {
        return Ok(Exit::Success);
    };
    let listener = listen(&settings).await?;
    let work = agent::backup_agent(settings, live.clone(), context.surroundings);
    Box::pin(show_while(listener, live, &cancel, work)).await;
    Ok(Exit::Success)
}

/// Those of the start, or the first that can be used. Meanwhile the port is open, where those of the start say.
async fn settings(context: &mut AgentContext, live: &Live) -> anyhow::Result<Option<Settings>> {
    let AgentContext {
        settings,
        wrong,
        surroundings,
    } = context;
    let checked = || agent::check_backup_agent(settings, &surroundings.environment);
    let Some(wrong) = wrong.take().or_else(|| checked().err()) else {
        return Ok(Some(settings.clone()));
    };
    let listener = listen(settings).await?;
    let cancel = surroundings.signals.cancel.clone();
    let waiting = agent::first_settings(surroundings, live, wrong);
    Ok(show_while(listener, live.clone(), &cancel, waiting).await)
}
