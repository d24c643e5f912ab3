//! `verify`: every object read again.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::target::WHICH;
use super::{Context, output};
use crate::agent::{self, BackupChoice};
use crate::repository::{DamageRecord, Defect, TouchedContent, VerifyOutcome, VerifyReport};
use crate::telemetry::figures;

/// Read every object of a backup again and check sizes and digests
///
/// Finds what the store has lost or damaged, and records it, so that the next backup stores it anew. It does not show that
/// the backup can be restored; a drill does.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[arg(long, value_name = "BACKUP", default_value = "latest", help = WHICH)]
    backup: BackupChoice,

    /// Every backup of the repository, each object once
    #[arg(long, conflicts_with = "backup")]
    all: bool,
}

pub(super) async fn run(arguments: &VerifyArguments, context: &Context) -> anyhow::Result<Exit> {
    let choice = (!arguments.all).then_some(&arguments.backup);
    let progress = context.progress();
    let report = agent::verify(&context.settings, choice, progress.as_ref(), &context.cancel).await?;
    output::print(context.output, &report, || text(&report))?;
    Ok(match report.outcome {
        VerifyOutcome::Sound => Exit::Success,
        VerifyOutcome::Damaged => Exit::Damaged,
        VerifyOutcome::Interrupted => Exit::Interrupted,
    })
}

fn text(report: &VerifyReport) -> String {
    let mut text = format!(
        "{} objects, {} of {} backups read again\n",
        figures::count(report.objects),
        figures::bytes(report.bytes),
        report.backups.len(),
    );
    if !report.defects.is_empty() {
        let mut table = Table::new(&["damaged object", "problem", "touches"]);
        for defect in &report.defects {
            table.row([defect.key.clone(), defect.problem.clone(), touched(defect)]);
        }
        text = format!("{text}\n{}\n", table.render());
    }
    text.push_str(match report.outcome {
        VerifyOutcome::Sound => "sound: every object is as it was written\n",
        VerifyOutcome::Damaged => "DAMAGED\n",
        VerifyOutcome::Interrupted => "interrupted before the end\n",
    });
    match &report.damage_record {
        DamageRecord::NotNeeded => text,
        DamageRecord::AlreadyKnown => {
            format!("{text}already on record: the next backup stores anew what it needs\n")
        }
        DamageRecord::Written { key } => {
            format!("{text}recorded as {key}: the next backup stores anew what it needs\n")
        }
        DamageRecord::NotWritten { key, reason } => {
            format!("{text}NOT recorded ({key}: {reason}): later backups will go on referring to it\n")
        }
    }
}

fn touched(defect: &Defect) -> String {
    if defect.touched_total == 0 {
        return "the whole backup".to_owned();
    }
    let mut names: Vec<String> = defect
        .touched
        .iter()
        .map(|touched| match &touched.what {
            TouchedContent::Table(name) => format!("{} {name}", touched.database),
            TouchedContent::SchemaArchive => format!("{} definitions", touched.database),
            TouchedContent::LargeObjects => format!("{} large objects", touched.database),
        })
        .collect();
    let rest = defect.touched_total - defect.touched.len();
    if rest > 0 {
        names.push(format!("{rest} more"));
    }
    names.join(", ")
}
