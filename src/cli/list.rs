//! `list`: the backups of the repository and what drills said of them.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::{Context, output};
use crate::agent::{self, BackupLine};
use crate::telemetry::figures;

/// List the backups and their verdicts, oldest first
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Backups of this cluster alone
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// The newest N alone
    #[arg(long, value_name = "N")]
    newest: Option<usize>,
}

pub(super) async fn run(arguments: &ListArguments, context: &Context) -> anyhow::Result<Exit> {
    let repository = agent::open_repository(&context.settings).await?;
    let mut lines = agent::overview(&repository, arguments.cluster.as_deref()).await?;
    if let Some(newest) = arguments.newest {
        lines.drain(..lines.len().saturating_sub(newest));
    }
    output::print(context.output, &lines, || table(&lines))?;
    let is_damaged = lines.iter().any(|line| line.damage.is_some());
    Ok(if is_damaged { Exit::Damaged } else { Exit::Success })
}

fn table(lines: &[BackupLine]) -> String {
    if lines.is_empty() {
        return "no backups\n".to_owned();
    }
    let mut table = Table::new(&[
        "backup",
        "cluster",
        "as of",
        "databases",
        ">tables",
        ">rows",
        ">raw",
        ">stored",
        ">new",
        ">reused",
        "verdict",
        "hold",
    ]);
    for line in lines {
        let backup_id = line.backup_id.to_string();
        let hold = line.hold.as_ref().map_or_else(String::new, |hold| hold.reason.clone());
        let Some(summary) = &line.summary else {
            let damage = line.damage.clone().unwrap_or_default();
            let blanks = std::iter::repeat_n(String::new(), 9);
            table.row([backup_id].into_iter().chain(blanks).chain([damage, hold]));
            continue;
        };
        table.row([
            backup_id,
            summary.cluster.clone(),
            figures::time(summary.snapshot_time),
            summary.databases.join(","),
            figures::count(summary.tables),
            figures::count(summary.rows),
            figures::bytes(summary.raw_bytes),
            figures::bytes(summary.stored_bytes),
            figures::bytes(summary.new_bytes),
            figures::share(summary.reused_chunks, summary.chunks),
            verdict(line),
            hold,
        ]);
    }
    let mut text = table.render();
    if lines.iter().any(|line| line.freezes) {
        text.push_str(
            "\ndeletion is frozen: 'kubebackup show' says what is missing, 'kubebackup accept-drift' thaws it\n",
        );
    }
    text
}

fn verdict(line: &BackupLine) -> String {
    let verdict = line.verdict.map(|verdict| verdict.to_string());
    let verdict = verdict.unwrap_or_else(|| "not drilled".to_owned());
    if line.freezes {
        format!("{verdict}, freezes deletion")
    } else {
        verdict
    }
}
