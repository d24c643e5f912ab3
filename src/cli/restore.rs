//! `restore`: for a person in an emergency.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::target::{IntoArguments, WHICH};
use super::{Context, output};
use crate::agent::{self, BackupChoice, RestoreRequest, Restored};
use crate::content::QualifiedName;
use crate::restore::{RolesMode, Selection};
use crate::telemetry::{figures, plain};

/// Restore a database, or chosen schemas and tables of it
///
/// Never overwrites: the target database, or with --schema and --table the chosen objects, must not be there. The password
/// comes from PGPASSWORD, the passfile or --password-file, never from the connection string.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub(super) struct RestoreArguments {
    #[arg(long, value_name = "BACKUP", default_value = "latest", help = WHICH)]
    backup: BackupChoice,

    /// The newest backup that is as of this time or older, such as 2026-11-21T05:51:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    at: Option<jiff::Timestamp>,

    /// Connection string of the database to restore into, without a password
    #[arg(long, value_name = "DSN")]
    into: String,

    #[command(flatten)]
    target: IntoArguments,

    /// The backup's database [default: its only one]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    /// Restore this schema alone, with all that is in it; may be repeated
    #[arg(long = "schema", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    schemas: Vec<String>,

    /// Restore this table alone, as schema.table, with all that hangs on it; may be repeated
    #[arg(long = "table", value_name = "NAME", value_parser = parse_table)]
    tables: Vec<QualifiedName>,

    /// Create the target database, which must not exist
    #[arg(long, conflicts_with_all = ["wipe", "schemas", "tables"])]
    create_database: bool,

    /// Empty the target first. Demands every guard of a drill, above all the owner's marker
    #[arg(long, conflicts_with_all = ["schemas", "tables"])]
    wipe: bool,

    /// Roles that the database refers to and that are missing
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    roles: Roles,

    /// Put objects into the tablespaces they were in; those must exist
    #[arg(long)]
    tablespaces: bool,

    /// Leave planner statistics to be gathered later
    #[arg(long)]
    no_analyze: bool,

    /// Connections that load at the same time [default: the setting drill.jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Directory of the client programs [default: looked for]
    #[arg(long, value_name = "DIRECTORY")]
    bin_directory: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Roles {
    /// Create them without login, so that ownership and grants come back
    #[default]
    NoLogin,
    /// Create all of the backup's missing roles with attributes, memberships and settings; passwords are in no backup
    Full,
    /// Create none: a missing role is an error
    None,
}

impl From<Roles> for RolesMode {
    fn from(roles: Roles) -> Self {
        match roles {
            Roles::NoLogin => Self::MissingNoLogin,
            Roles::Full => Self::Full,
            Roles::None => Self::None,
        }
    }
}

pub(super) async fn run(arguments: &RestoreArguments, context: &Context) -> anyhow::Result<Exit> {
    let request = RestoreRequest {
        backup: arguments.at.map_or_else(|| arguments.backup.clone(), BackupChoice::At),
        database: arguments.database.clone(),
        into: arguments.target.target(&arguments.into),
        selection: Selection {
            schemas: arguments.schemas.clone(),
            tables: arguments.tables.clone(),
        },
        roles: arguments.roles.into(),
        create_database: arguments.create_database,
        wipe: arguments.wipe,
        tablespaces: arguments.tablespaces,
        analyze: !arguments.no_analyze,
        jobs: arguments.jobs.map(usize::from),
        bin_directory: arguments.bin_directory.clone(),
    };
    let progress = context.progress();
    let (settings, environment) = (&context.settings, &context.environment);
    let restored = agent::restore(settings, environment, &request, progress.as_ref(), &context.cancel).await?;
    output::print(context.output, &restored, || text(&restored))?;
    Ok(Exit::Success)
}

fn text(restored: &Restored) -> String {
    let report = &restored.report;
    let seconds = report.phases.iter().map(|phase| phase.seconds).sum();
    let large_objects = match report.large_objects {
        0 => String::new(),
        number => format!(", {} large objects", figures::count(number)),
    };
    let mut text = format!(
        "restored       {} of backup {}\ninto           {}\ncontents       {} tables, {} rows, {} of COPY text{large_objects}\n\
         read           {} from the repository\nduration       {}\n",
        plain::line(&restored.database),
        restored.backup_id,
        plain::line(&restored.target),
        figures::count(report.tables),
        figures::count(report.rows),
        figures::bytes(report.raw_bytes),
        figures::bytes(report.stored_bytes),
        figures::seconds(seconds),
    );
    for (title, lines) in [
        ("role created", &report.roles_created),
        ("needs password", &report.roles_without_password),
        ("left out", &report.skipped),
        ("warning", &report.warnings),
    ] {
        for line in lines {
            text = format!("{text}{title:<14} {}\n", plain::line(line));
        }
    }
    text
}

/// `schema.table`; either part in double quotes where it holds a dot. Names are taken as they stand.
fn parse_table(text: &str) -> Result<QualifiedName, String> {
    let expected = || "give schema.table, for example public.orders".to_owned();
    let (schema, rest) = parse_part(text).ok_or_else(expected)?;
    let (table, rest) = rest.strip_prefix('.').and_then(parse_part).ok_or_else(expected)?;
    if rest.is_empty() {
        Ok(QualifiedName::new(schema, table))
    } else {
        Err(expected())
    }
}

fn parse_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' if characters.next_if(|(_, next)| *next == '"').is_some() => name.push('"'),
            '"' => return (!name.is_empty()).then(|| (name, &quoted[position + 1..])),
            _ => name.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_with_its_schema_quoted_where_it_must_be() {
        for (text, schema, table) in [
            ("public.orders", "public", "orders"),
            ("Täble.Größe", "Täble", "Größe"),
            (r#""a.b"."c""d""#, "a.b", "c\"d"),
        ] {
            assert_eq!(parse_table(text), Ok(QualifiedName::new(schema, table)), "{text}");
        }
        for wrong in [
            "orders",
            ".t",
            "s.",
            "a.b.c",
            r#""a.b"#,
            r#""a"b.c"#,
            r#""".t"#,
            r#"s."""#,
        ] {
            assert!(parse_table(wrong).is_err(), "{wrong}");
        }
    }
}
