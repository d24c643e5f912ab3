//! The life of the process: arguments, settings, logging, runtime, run, drain, exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kubebackup::cli::exit::Exit;
use kubebackup::{cli, shutdown};

/// How long tasks that are already told to stop may take to do so.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = cli::Arguments::of_process();
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => cli::report(&error).into(),
    }
}

/// What can fail without a runtime fails before there is one.
fn run(arguments: cli::Arguments) -> anyhow::Result<Exit> {
    let settings = arguments.settings()?;
    let terminal = cli::start_logging(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(async {
        let cancel = shutdown::cancel_on_signals().context("install signal handlers")?;
        cli::run(arguments, settings, terminal, cancel).await
    });
    runtime.shutdown_timeout(DRAIN);
    outcome
}
