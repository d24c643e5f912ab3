//! `expire`: backups that no rule keeps.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::{Context, output};
use crate::agent;
use crate::repository::{ClusterPlan, Decision, ExpireReport};
use crate::telemetry::{figures, plain};

/// Expire the backups that retention lets go
///
/// The settings below 'retention' say what is kept. Certified backups come first: what is failed or unproven never takes
/// their place, the newest of them stay whatever the rules say, and nothing goes while none is certified. The chunks of
/// what was expired are deleted by 'prune'.
#[derive(Debug, Args)]
pub(super) struct ExpireArguments {
    /// Show what would be kept and expired, each with its reasons, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: &ExpireArguments, context: &Context) -> anyhow::Result<Exit> {
    let report = agent::expire(&context.settings, arguments.dry_run, &context.cancel).await?;
    output::print(context.output, &report, || text(&report))?;
    Ok(if report.interrupted {
        Exit::Interrupted
    } else {
        Exit::Success
    })
}

fn text(report: &ExpireReport) -> String {
    let mut text = String::new();
    for cluster in &report.clusters {
        text.push_str(&plan(cluster));
        text.push('\n');
    }
    let drops = report.lines().filter(|line| line.decision == Decision::Drop).count();
    let keeps = report.lines().count() - drops;
    if report.dry_run {
        text.push_str(&format!(
            "{keeps} kept, {drops} would be expired; nothing was changed\n"
        ));
        return text;
    }
    text.push_str(&format!("{keeps} kept, {} expired\n", report.expired.len()));
    for retained in &report.retained {
        text.push_str(&format!(
            "RETAINED {}: {}\n",
            retained.backup_id,
            plain::line(&retained.reason)
        ));
    }
    if report.interrupted {
        text.push_str("interrupted before the end\n");
    }
    text
}

fn plan(cluster: &ClusterPlan) -> String {
    let mut table = Table::new(&["backup", "cluster", "as of", "proof", "decision", "reasons"]);
    for line in &cluster.plan.lines {
        let reasons: Vec<String> = line.reasons.iter().map(ToString::to_string).collect();
        table.row([
            line.backup_id.to_string(),
            cluster.cluster.clone().unwrap_or_default(),
            figures::time(line.snapshot_time),
            if line.is_proof_from_elsewhere {
                format!("{} elsewhere", line.proof)
            } else {
                line.proof.to_string()
            },
            match line.decision {
                Decision::Keep => "keep".to_owned(),
                Decision::Drop => "EXPIRE".to_owned(),
            },
            reasons.join("; "),
        ]);
    }
    table.render()
}
