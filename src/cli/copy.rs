//! `copy`: the backups of the repository brought to its copies.

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::report::complain;
use super::table::Table;
use super::{Context, output};
use crate::agent::{self, Copied};
use crate::repository::CopyReport;
use crate::telemetry::causes;
use crate::telemetry::{figures, plain};

/// Bring the backups that the copies of the repository lack
///
/// Chunks, manifests, holds and the verdicts of drills, only what is missing, every digest checked on the way, the newest
/// backup first. What the retention of a copy has let go, or would at once, is not brought. Interrupted at any moment, the
/// next copy goes on. The settings `copies` say where.
#[derive(Debug, Args)]
pub(super) struct CopyArguments {
    /// To this copy alone; may be repeated
    #[arg(long, value_name = "NAME")]
    to: Vec<String>,
}

/// One place as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    /// `complete`, `incomplete` or `failed`
    outcome: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    report: Option<&'a CopyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(arguments: &CopyArguments, context: &Context) -> anyhow::Result<Exit> {
    let progress = context.progress();
    let copying = Box::pin(agent::copy(&context.settings, &arguments.to, progress.as_ref()));
    let Some(copied) = context.cancel.run_until_cancelled(copying).await else {
        return Ok(Exit::Interrupted);
    };
    let copied = copied?;
    let is_complete = copied.iter().all(Copied::is_complete);
    let lines: Vec<Line<'_>> = copied.iter().map(line).collect();
    output::print(context.output, &lines, || text(&lines))?;
    for place in &copied {
        if let Err(error) = &place.result {
            complain(
                &format!("copy '{}': {}", place.name, causes::chain(error)),
                error.meaning().hint,
            );
        }
    }
    Ok(if is_complete { Exit::Success } else { Exit::Failure })
}

fn line(copied: &Copied) -> Line<'_> {
    let (outcome, error) = match &copied.result {
        Ok(report) if report.left.is_empty() => ("complete", None),
        Ok(_) => ("incomplete", None),
        Err(error) => ("failed", Some(causes::chain(error))),
    };
    Line {
        name: &copied.name,
        outcome,
        report: copied.result.as_ref().ok(),
        error,
    }
}

fn text(lines: &[Line<'_>]) -> String {
    let mut table = Table::new(&[
        "copy",
        ">there before",
        ">copied",
        ">left",
        ">let go there",
        ">chunks",
        ">bytes",
        "outcome",
    ]);
    let mut troubles = String::new();
    for line in lines {
        let mut cells = vec![line.name.to_owned()];
        if let Some(report) = line.report {
            let counts = [
                report.present,
                report.copied.len(),
                report.left.len(),
                report.let_go.len(),
            ];
            cells.extend(counts.map(|number| figures::count(number as u64)));
            cells.push(figures::count(report.copied_chunks));
            cells.push(figures::bytes(report.copied_bytes));
            if report.mended_chunks > 0 {
                let mended = figures::count(report.mended_chunks);
                troubles.push_str(&format!(
                    "{}: {mended} chunks that were removed as damaged came anew\n",
                    line.name
                ));
            }
            for left in &report.left {
                troubles.push_str(&format!(
                    "{}: {} is not there or not whole: {}\n",
                    line.name,
                    left.backup_id,
                    plain::line(&left.reason)
                ));
            }
        } else {
            cells.extend(std::iter::repeat_n(String::new(), 6));
        }
        cells.push(line.outcome.to_owned());
        table.row(cells);
    }
    format!("{}\n{troubles}", table.render())
}
