//! `diff`: what changed between two backups.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::{Context, output};
use crate::agent::{self, BackupChoice, Diffed};
use crate::repository::diff::{DatabaseDiff, ObjectList, Presence, TableDiff};
use crate::repository::drift::Amount;
use crate::telemetry::{figures, plain};

/// Objects of one kind of change that are shown; JSON has more.
const SHOWN_OBJECTS: usize = 20;

/// Show what changed between two backups, table by table
///
/// Reads both indexes and none of the rows. Tables that hold the same rows are counted, not listed; JSON has them all.
/// Definitions are told by name, columns, owner and privileges.
#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// The earlier one: 'latest', 'certified' (the newest certified one), 'trusted' (the newest of those that lacks nothing of
    /// an earlier one) or an id
    #[arg(default_value = "trusted", value_name = "FROM")]
    from: BackupChoice,

    /// The later one, likewise
    #[arg(default_value = "latest", value_name = "TO")]
    to: BackupChoice,
}

pub(super) async fn run(arguments: &DiffArguments, context: &Context) -> anyhow::Result<Exit> {
    let repository = agent::open_repository(&context.settings).await?;
    let cluster = context.settings.cluster.as_deref();
    let diffed = Box::pin(agent::diff(&repository, &arguments.from, &arguments.to, cluster)).await?;
    output::print(context.output, &diffed.diff, || text(&diffed))?;
    Ok(Exit::Success)
}

fn text(diffed: &Diffed) -> String {
    let as_of = |stored: &crate::repository::StoredManifest| {
        let times = stored.manifest.databases.iter().map(|database| database.snapshot_time);
        figures::time(times.max().unwrap_or(stored.manifest.started))
    };
    let mut text = format!(
        "from  {}  as of {}\nto    {}  as of {}\n",
        diffed.diff.from,
        as_of(&diffed.from),
        diffed.diff.to,
        as_of(&diffed.to)
    );
    for database in &diffed.diff.databases {
        text.push_str(&of_database(database));
    }
    text
}

fn of_database(database: &DatabaseDiff) -> String {
    let mut text = format!(
        "\ndatabase {}{}\n",
        plain::line(&database.database),
        remark(database.presence)
    );
    let changed: Vec<&TableDiff> = database.tables.iter().filter(|table| table.has_changed()).collect();
    if !changed.is_empty() {
        let mut table = Table::new(&["table", ">rows", ">then", ">raw", ">then", ">in common", ""]);
        for one in &changed {
            table.row(row(one));
        }
        text.push_str(&table.render());
    }
    let same = database.tables.len() - changed.len();
    text.push_str(&format!("{} tables hold the same rows\n", figures::count(same as u64)));
    let objects = &database.objects;
    for (what, list) in [
        ("added", &objects.added),
        ("vanished", &objects.vanished),
        ("with another owner or other privileges", &objects.changed),
    ] {
        text.push_str(&list_text(what, list));
    }
    text
}

fn row(table: &TableDiff) -> [String; 7] {
    let rows = |amount: Amount| figures::count(amount.rows);
    let bytes = |amount: Amount| figures::bytes(amount.raw_bytes);
    let only = |is_there: bool, text: String| if is_there { text } else { "-".to_owned() };
    let (is_in_from, is_in_to) = (table.presence != Presence::OnlyTo, table.presence != Presence::OnlyFrom);
    let what = match table.presence {
        Presence::OnlyFrom => "gone",
        Presence::OnlyTo => "new",
        Presence::Both if table.columns_changed => "other columns",
        Presence::Both => "",
    };
    [
        format!("{}.{}", table.schema, table.name),
        only(is_in_from, rows(table.from)),
        only(is_in_to, rows(table.to)),
        only(is_in_from, bytes(table.from)),
        only(is_in_to, bytes(table.to)),
        table
            .common_share
            .map(|share| format!("{:.0} %", share * 100.0))
            .unwrap_or_default(),
        what.to_owned(),
    ]
}

fn remark(presence: Presence) -> &'static str {
    match presence {
        Presence::Both => "",
        Presence::OnlyFrom => ": only in the earlier one",
        Presence::OnlyTo => ": only in the later one",
    }
}

fn list_text(what: &str, list: &ObjectList) -> String {
    if list.total == 0 {
        return String::new();
    }
    let mut text = format!("{} objects {what}:\n", figures::count(list.total));
    for name in list.names.iter().take(SHOWN_OBJECTS) {
        text.push_str(&format!("  {}\n", plain::line(name)));
    }
    let rest = list.total - list.names.len().min(SHOWN_OBJECTS) as u64;
    if rest > 0 {
        text.push_str(&format!("  and {} more\n", figures::count(rest)));
    }
    text
}
