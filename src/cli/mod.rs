//! The command line: one file a verb, and the only place that prints.
//!
//! Results go to stdout, as a table for people or as JSON; log lines, progress and errors go to stderr.

mod accept_drift;
mod agent_port;
mod backup;
mod backup_agent;
mod check;
mod compare;
mod copy;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod drill;
mod evidence;
pub mod exit;
mod expire;
mod hold;
mod list;
pub mod meaning;
mod output;
mod prune;
mod report;
mod restore;
mod restore_agent;
#[cfg(feature = "demo")]
mod s3_server;
mod show;
mod table;
mod target;
mod trigger;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Fixed, Surroundings};
use crate::config::{self, LogFormat, Settings};
use crate::postgres::Environment;
use crate::signals::Handlers;
use crate::telemetry::logging::{self, LogLevel, Shape};
use crate::telemetry::progress::Progress;
use crate::telemetry::progress_bar::Terminal;
use crate::telemetry::progress_log::LogProgress;

use exit::Exit;
pub use output::OutputFormat;
pub use report::report;

/// PostgreSQL backups whose restoration is proven equal to the source.
#[derive(Debug, Parser)]
#[command(name = "kubebackup", version, max_term_width = 100, subcommand_required = true)]
pub struct Arguments {
    /// Settings file, YAML
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KUBEBACKUP_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,

    /// Work on this copy of the repository, an entry of the setting `copies`, instead of the repository itself
    #[arg(long, global = true, value_name = "NAME")]
    repository: Option<String>,

    /// How results are printed
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        env = "KUBEBACKUP_OUTPUT",
        hide_env_values = true
    )]
    output: OutputFormat,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Once(OneShot),
    #[command(flatten)]
    Agent(Agent),
}

/// Verbs that end by themselves.
#[derive(Debug, Subcommand)]
enum OneShot {
    Backup(backup::BackupArguments),
    Restore(Box<restore::RestoreArguments>),
    Drill(drill::DrillArguments),
    Compare(compare::CompareArguments),
    Diff(diff::DiffArguments),
    Copy(copy::CopyArguments),
    Verify(verify::VerifyArguments),
    List(list::ListArguments),
    Show(show::ShowArguments),
    AcceptDrift(accept_drift::AcceptDriftArguments),
    Check(check::CheckArguments),
    Trigger(trigger::TriggerArguments),
    Expire(expire::ExpireArguments),
    Prune(prune::PruneArguments),
    Hold(hold::HoldArguments),
    Unhold(hold::UnholdArguments),
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    #[cfg(feature = "demo")]
    S3Server(s3_server::S3ServerArguments),
}

/// Verbs that work until they are told to stop.
#[derive(Debug, Subcommand)]
enum Agent {
    RestoreAgent(restore_agent::RestoreAgentArguments),
    BackupAgent(backup_agent::BackupAgentArguments),
}

impl Arguments {
    /// Reads the process's arguments; prints help or what is wrong with them and ends the process, where that is due.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse()
    }

    /// The settings that these arguments lead to.
    ///
    /// # Errors
    /// What is wrong with the settings. The backup agent begins all the same.
    pub fn settings(&self) -> anyhow::Result<FirstSettings> {
        let copy = self.repository.as_deref();
        let wrong = match read_settings(self.config.as_deref(), copy) {
            Ok(settings) => return Ok(FirstSettings { settings, wrong: None }),
            Err(error) => agent::Error::from(error),
        };
        if !matches!(self.verb, Verb::Agent(Agent::BackupAgent(_))) {
            return Err(wrong.into());
        }
        // What the variables say without the file, or nothing at all.
        let stand_in = read_settings(None, None).or_else(|_| config::load(None, []));
        Ok(FirstSettings {
            settings: stand_in.map_err(agent::Error::from)?,
            wrong: Some(wrong),
        })
    }
}

/// What a process begins with.
#[derive(Debug)]
pub struct FirstSettings {
    pub settings: Settings,
    /// What is wrong with those that were meant; the ones here only stand in for them.
    wrong: Option<agent::Error>,
}

fn read_settings(file: Option<&Path>, copy: Option<&str>) -> config::Result<Settings> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = config::load(file, variables)?;
    match copy {
        Some(name) => settings.on_copy(name),
        None => Ok(settings),
    }
}

/// What every verb gets.
struct Context {
    settings: Settings,
    environment: Environment,
    output: OutputFormat,
    terminal: Terminal,
    cancel: CancellationToken,
}

/// What a verb gets that runs until it is told to stop.
struct AgentContext {
    settings: Settings,
    wrong: Option<agent::Error>,
    surroundings: Surroundings,
}

impl AgentContext {
    fn new(
        config: Option<PathBuf>,
        repository: Option<String>,
        first: FirstSettings,
        console: Console,
        handlers: Handlers,
    ) -> anyhow::Result<Self> {
        let FirstSettings { settings, wrong } = first;
        let surroundings = Surroundings {
            fixed: Fixed::of(&settings),
            signals: handlers.listen().context("watch for signals")?,
            environment: Environment::of_process(),
            read_settings: Box::new(move || read_settings(config.as_deref(), repository.as_deref())),
            log_level: console.log_level,
        };
        Ok(Self {
            settings,
            wrong,
            surroundings,
        })
    }
}

impl Context {
    /// A bar on a terminal, log lines elsewhere.
    fn progress(&self) -> Arc<dyn Progress> {
        if output::is_terminal() {
            Arc::new(self.terminal.progress())
        } else {
            Arc::new(LogProgress::default())
        }
    }
}

/// Where log lines go.
#[derive(Debug)]
pub struct Console {
    pub terminal: Terminal,
    pub log_level: LogLevel,
}

/// Starts logging by the settings. The terminal keeps log lines and progress bars apart.
///
/// # Errors
/// When it was started before.
pub fn start_logging(settings: &Settings) -> anyhow::Result<Console> {
    let terminal = Terminal::default();
    let shape = match settings.log.format {
        LogFormat::Text => Shape::Text,
        LogFormat::Json => Shape::Json,
    };
    let log_level = logging::start(&settings.log.level, shape, terminal.clone()).context("start logging")?;
    Ok(Console { terminal, log_level })
}

/// Runs the verb to its end.
///
/// # Errors
/// What stopped it; [`report`] prints that and says the exit code.
pub async fn run(
    arguments: Arguments,
    first: FirstSettings,
    console: Console,
    handlers: Handlers,
) -> anyhow::Result<Exit> {
    match arguments.verb {
        Verb::Once(verb) => {
            let context = Context {
                settings: first.settings,
                environment: Environment::of_process(),
                output: arguments.output,
                terminal: console.terminal,
                cancel: handlers.cancel_only().context("watch for signals")?,
            };
            run_once(verb, &context).await
        }
        Verb::Agent(verb) => {
            let context = AgentContext::new(arguments.config, arguments.repository, first, console, handlers)?;
            match verb {
                Agent::RestoreAgent(_) => Box::pin(restore_agent::run(context)).await,
                Agent::BackupAgent(_) => Box::pin(backup_agent::run(context)).await,
            }
        }
    }
}

async fn run_once(verb: OneShot, context: &Context) -> anyhow::Result<Exit> {
    match verb {
        OneShot::Backup(verb) => backup::run(&verb, context).await,
        OneShot::Restore(verb) => restore::run(&verb, context).await,
        OneShot::Drill(verb) => drill::run(&verb, context).await,
        OneShot::Compare(verb) => compare::run(&verb, context).await,
        OneShot::Diff(verb) => diff::run(&verb, context).await,
        OneShot::Copy(verb) => Box::pin(copy::run(&verb, context)).await,
        OneShot::Verify(verb) => verify::run(&verb, context).await,
        OneShot::List(verb) => list::run(&verb, context).await,
        OneShot::Show(verb) => show::run(&verb, context).await,
        OneShot::AcceptDrift(verb) => accept_drift::run(&verb, context).await,
        OneShot::Check(verb) => check::run(&verb, context).await,
        OneShot::Trigger(verb) => Box::pin(trigger::run(&verb, context)).await,
        OneShot::Expire(verb) => expire::run(&verb, context).await,
        OneShot::Prune(verb) => prune::run(&verb, context).await,
        OneShot::Hold(verb) => hold::hold(&verb, context).await,
        OneShot::Unhold(verb) => hold::unhold(&verb, context).await,
        #[cfg(feature = "demo")]
        OneShot::Demo(verb) => demo::run(&verb, &context.cancel).await,
        #[cfg(feature = "demo")]
        OneShot::S3Server(verb) => s3_server::run(&verb, &context.cancel).await,
    }
}

#[cfg(test)]
mod tests;
