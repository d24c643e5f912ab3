//! `prune`: objects that nothing refers to.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::{Context, output};
use crate::agent;
use crate::repository::{Counted, PruneOutcome, PruneReport};
use crate::telemetry::{figures, plain};

/// Delete what no backup refers to
///
/// Chunks that no manifest refers to, unless they are younger than 'prune.grace' or a backup that was expired within it
/// referred to them; and what backups leave behind that are long gone. May run while backups and drills do.
#[derive(Debug, Args)]
pub(super) struct PruneArguments {
    /// Count what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Take every hidden manifest for expired, where prune stops because no expiry has hidden it
    ///
    /// Gives each the mark of an expiry, and prunes: their chunks go. Look first at which ones the error names.
    #[arg(long, conflicts_with = "dry_run")]
    accept_hidden: bool,
}

pub(super) async fn run(arguments: &PruneArguments, context: &Context) -> anyhow::Result<Exit> {
    if arguments.accept_hidden {
        agent::accept_hidden(&context.settings).await?;
    }
    let report = agent::prune(&context.settings, arguments.dry_run, &context.cancel).await?;
    output::print(context.output, &report, || text(&report))?;
    Ok(match report.outcome {
        PruneOutcome::Done => Exit::Success,
        PruneOutcome::Frozen => Exit::Refused,
        PruneOutcome::Interrupted => Exit::Interrupted,
    })
}

fn text(report: &PruneReport) -> String {
    let mut beginning = String::new();
    if let Some(why) = &report.frozen {
        let how_far = match report.deleted.objects {
            0 => "nothing was deleted",
            _ => "nothing more was deleted",
        };
        beginning = format!(
            "FROZEN, {how_far}: {why}\n'kubebackup show' says what is missing, 'kubebackup accept-drift' thaws it\n"
        );
        if report.deleted.objects == 0 {
            return beginning;
        }
    }
    if let Some(cluster) = &report.unproven {
        beginning.push_str(&format!(
            "no backup of cluster '{}' is certified: what was expired keeps its chunks\n",
            plain::line(cluster)
        ));
    }
    let mut table = Table::new(&["chunks", ">objects", ">bytes"]);
    let mut row = |name: &str, counted: Counted| {
        let (objects, bytes) = (figures::count(counted.objects), figures::bytes(counted.bytes));
        table.row([name.to_owned(), objects, bytes]);
    };
    let deleted = if report.dry_run { "would be deleted" } else { "deleted" };
    row("referred to", report.referenced);
    row("too young", report.young);
    row(deleted, report.deleted);
    row("retained", report.retained);
    let mut text = format!(
        "{beginning}{} backups, {} more expired within the grace period\n\n{}",
        report.manifests,
        report.tombstones,
        table.render()
    );
    let leftovers = &report.leftovers;
    let others = [
        (leftovers.tombstones, "tombstones"),
        (leftovers.holds, "holds"),
        (leftovers.acceptances, "accepted drifts"),
        (leftovers.announcements, "announcements of copies"),
        (leftovers.certificates, "certificates"),
        (leftovers.words_from_elsewhere, "certificates from elsewhere"),
        (leftovers.damage_records, "damage records"),
        (leftovers.leases, "leases"),
        (leftovers.probes, "probes"),
        (leftovers.unfinished, "unfinished uploads"),
    ];
    let others: Vec<String> = others
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, name)| format!("{number} {name}"))
        .collect();
    if !others.is_empty() {
        text.push_str(&format!("\nleftovers deleted: {}\n", others.join(", ")));
    }
    if leftovers.lasting_marks > 0 {
        let why = if report.hidden_seen {
            "the store still has their manifests behind deletions"
        } else {
            "it cannot be seen whether the store still has their manifests"
        };
        let marks = figures::count(leftovers.lasting_marks);
        text.push_str(&format!("\nmarks of expired backups that stay: {marks} ({why})\n"));
    }
    if report.retained.objects > 0 || leftovers.retained > 0 {
        text.push_str("\nRETAINED: the store does not let these credentials delete what is retained\n");
    }
    if report.outcome == PruneOutcome::Interrupted {
        text.push_str("\ninterrupted before the end\n");
    }
    text
}
