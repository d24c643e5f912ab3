//! `demo`: the story, told with throw-away servers and this very program.

use anyhow::Context as _;
use clap::Args;

use super::exit::Exit;
use crate::demo::story::{StoryOptions, tell};
use tokio_util::sync::CancellationToken;

/// Show the whole path on throw-away servers: backup, reuse, drill, damage refused and healed, a table brought back
///
/// Starts two PostgreSQL servers of this machine's own programs and an S3 server inside this process, all on loopback, and
/// removes them afterwards. Needs no settings.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Leave everything running at the end, until Ctrl-C, and say how to go on by hand
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(arguments: &DemoArguments, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let options = StoryOptions {
        program: std::env::current_exe().context("find this program's own file")?,
        keep: arguments.keep,
        failed_code: Exit::Failed.code().into(),
    };
    tell(&options, &mut std::io::stdout(), cancel).await?;
    Ok(if cancel.is_cancelled() && !arguments.keep {
        Exit::Interrupted
    } else {
        Exit::Success
    })
}
