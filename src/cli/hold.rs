//! `hold` and `unhold`: a person's word over retention.

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::{Context, output};
use crate::agent;
use crate::repository::HoldChange;
use crate::repository::id::BackupId;

/// Keep a backup from expiring, whatever retention says
#[derive(Debug, Args)]
pub(super) struct HoldArguments {
    /// The backup's id
    #[arg(value_name = "BACKUP")]
    backup: BackupId,

    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Let a held backup expire again
#[derive(Debug, Args)]
pub(super) struct UnholdArguments {
    /// The backup's id
    #[arg(value_name = "BACKUP")]
    backup: BackupId,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    backup_id: &'a BackupId,
    is_held: bool,
    change: HoldChange,
}

pub(super) async fn hold(arguments: &HoldArguments, context: &Context) -> anyhow::Result<Exit> {
    let change = agent::hold(&context.settings, &arguments.backup, &arguments.reason).await?;
    let words = match change {
        HoldChange::Changed => "is held",
        HoldChange::Unchanged => "was held already, for the reason given then",
    };
    print(&arguments.backup, true, change, words, context)
}

pub(super) async fn unhold(arguments: &UnholdArguments, context: &Context) -> anyhow::Result<Exit> {
    let change = agent::unhold(&context.settings, &arguments.backup).await?;
    let words = match change {
        HoldChange::Changed => "is held no more",
        HoldChange::Unchanged => "was not held",
    };
    print(&arguments.backup, false, change, words, context)
}

fn print(
    backup_id: &BackupId,
    is_held: bool,
    change: HoldChange,
    words: &str,
    context: &Context,
) -> anyhow::Result<Exit> {
    let held = Answer {
        backup_id,
        is_held,
        change,
    };
    output::print(context.output, &held, || format!("{backup_id} {words}\n"))?;
    Ok(Exit::Success)
}
