//! `accept-drift`: a person's word that what is missing was meant to go.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use super::exit::Exit;
use super::{Context, output};
use crate::agent::{self, AcceptedDrift};
use crate::repository::id::BackupId;
use crate::telemetry::plain;

/// Accept what backups no longer hold, so that old backups may be deleted again
///
/// 'list' says which backups keep deletion frozen, 'show' what each of them lacks, 'diff' compares any two. What was
/// accepted is what later backups are compared with. It stands in the bucket with name and reason, and cannot be taken
/// back.
#[derive(Debug, Args)]
pub(super) struct AcceptDriftArguments {
    /// A backup's id: its drift and that of every backup before it [default: of every backup there is]
    #[arg(value_name = "BACKUP")]
    backup: Option<BackupId>,

    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,

    /// Who accepts it [default: the user and the machine]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    by: Option<String>,
}

/// What `--output json` prints an array of.
#[derive(Debug, Serialize)]
struct AcceptedLine<'a> {
    backup_id: &'a BackupId,
    findings: u64,
    by: &'a str,
    reason: &'a str,
    accepted: jiff::Timestamp,
}

pub(super) async fn run(arguments: &AcceptDriftArguments, context: &Context) -> anyhow::Result<Exit> {
    let repository = agent::open_repository(&context.settings).await?;
    let cluster = context.settings.require_cluster().map_err(agent::Error::from)?;
    let by = arguments.by.clone().unwrap_or_else(whoever);
    let backup = arguments.backup.as_ref();
    let accepted = agent::accept_drift(&repository, cluster, backup, &by, &arguments.reason).await?;
    let lines: Vec<AcceptedLine<'_>> = accepted.iter().map(line).collect();
    output::print(context.output, &lines, || text(&accepted))?;
    Ok(Exit::Success)
}

/// `name@machine`, as far as it can be known.
fn whoever() -> String {
    let name = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{name}@{}", machine.trim())
}

fn line(accepted: &AcceptedDrift) -> AcceptedLine<'_> {
    let drift = accepted.stored.manifest.drift.as_ref();
    AcceptedLine {
        backup_id: &accepted.acceptance.backup_id,
        findings: drift.map_or(0, |drift| drift.total),
        by: &accepted.acceptance.by,
        reason: &accepted.acceptance.reason,
        accepted: accepted.acceptance.accepted,
    }
}

fn text(accepted: &[AcceptedDrift]) -> String {
    let mut text = String::new();
    for one in accepted {
        text.push_str(&format!("accepted  {}", one.acceptance.backup_id));
        let Some(drift) = &one.stored.manifest.drift else {
            text.push('\n');
            continue;
        };
        text.push_str(&format!(": {}\n", plain::line(&drift.to_string())));
        for finding in &drift.findings {
            text.push_str(&format!("          {}\n", plain::line(&finding.to_string())));
        }
    }
    text
}
