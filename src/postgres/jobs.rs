//! Background workers that would run jobs stored in a database, as soon as they are restored into it.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;

/// A library that runs what it finds in the databases that a setting names, and what it takes for that setting.
struct Runner {
    library: &'static str,
    /// Without it a database has nothing that the library would run.
    extension: &'static str,
    setting: &'static str,
    default: &'static str,
}

const RUNNERS: &[Runner] = &[
    Runner {
        library: "pg_cron",
        extension: "pg_cron",
        setting: "cron.database_name",
        default: "postgres",
    },
    Runner {
        library: "pg_partman_bgw",
        extension: "pg_partman",
        setting: "pg_partman_bgw.dbname",
        default: "",
    },
];

/// Whether what this extension holds in a database is run by such a library.
#[must_use]
pub fn holds_jobs(extension: &str) -> bool {
    RUNNERS.iter().any(|runner| runner.extension == extension)
}

/// What on the connected server would run jobs of `database`, as `library (setting)`; none when the role may not see the
/// server's settings.
///
/// # Errors
/// `Error::Query`.
pub async fn job_runners(client: &Client, database: &str) -> Result<Option<Vec<String>>> {
    let mut names = vec!["shared_preload_libraries"];
    names.extend(RUNNERS.iter().map(|runner| runner.setting));
    // Asked by name: `pg_settings` leaves out what it does not know, and a server takes such settings too.
    let rows = client
        .query(
            "SELECT name, pg_catalog.current_setting(name, true) AS setting FROM pg_catalog.unnest($1::text[]) AS name
             WHERE pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')",
            &[&names],
        )
        .await
        .map_err(Error::query("look for what would run jobs on the target server"))?;
    let mut settings = BTreeMap::new();
    for row in &rows {
        if let Some(setting) = column(row, "setting")? {
            settings.insert(column(row, "name")?, setting);
        }
    }
    Ok((!rows.is_empty()).then(|| runners_of(&settings, database)))
}

fn runners_of(settings: &BTreeMap<String, String>, database: &str) -> Vec<String> {
    let value = |name: &str| settings.get(name).map(String::as_str);
    let names = |list: &str| -> Vec<String> {
        list.split(',')
            .map(|name| name.trim().trim_matches('"').to_owned())
            .collect()
    };
    let libraries = names(value("shared_preload_libraries").unwrap_or_default());
    let is_loaded = |library: &str| {
        libraries
            .iter()
            .any(|loaded| loaded.rsplit('/').next().unwrap_or_default().trim_end_matches(".so") == library)
    };
    RUNNERS
        .iter()
        .filter(|runner| is_loaded(runner.library))
        .filter(|runner| names(value(runner.setting).unwrap_or(runner.default)).contains(&database.to_owned()))
        .map(|runner| format!("{} ({})", runner.library, runner.setting))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runners(settings: &[(&str, &str)], database: &str) -> Vec<String> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        runners_of(&settings, database)
    }

    #[test]
    fn a_library_runs_the_jobs_of_the_databases_that_its_setting_names() {
        let loaded = ("shared_preload_libraries", "pg_stat_statements, $libdir/pg_cron");
        let cron = ("cron.database_name", "restored");
        assert_eq!(runners(&[loaded, cron], "restored"), ["pg_cron (cron.database_name)"]);
        assert_eq!(runners(&[loaded, cron], "shop"), [""; 0]);
        assert_eq!(runners(&[loaded], "postgres"), ["pg_cron (cron.database_name)"]);
        assert_eq!(runners(&[cron], "restored"), [""; 0], "what is not loaded runs nothing");
        let partman = [
            ("shared_preload_libraries", "pg_partman_bgw"),
            ("pg_partman_bgw.dbname", "shop, restored"),
        ];
        assert_eq!(
            runners(&partman, "restored"),
            ["pg_partman_bgw (pg_partman_bgw.dbname)"]
        );
    }
}
