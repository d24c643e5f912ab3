//! The life of the process: signals, arguments, settings, logging, runtime, run, drain, exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kubebackup::cli;
use kubebackup::cli::exit::Exit;
use kubebackup::signals::Handlers;

/// How long tasks that are already told to stop may take to do so. An agent has five seconds for everything.
const DRAIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Before all else: the kernel hands a process with id 1 no signal that it does not handle.
    let handlers = Handlers::install().context("install signal handlers");
    let arguments = cli::Arguments::of_process();
    match handlers.and_then(|handlers| run(arguments, handlers)) {
        Ok(exit) => exit.into(),
        Err(error) => cli::report(&error).into(),
    }
}

/// What can fail without a runtime fails before there is one.
fn run(arguments: cli::Arguments, handlers: Handlers) -> anyhow::Result<Exit> {
    let first = arguments.settings()?;
    let console = cli::start_logging(&first.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(cli::run(arguments, first, console, handlers));
    runtime.shutdown_timeout(DRAIN);
    outcome
}
