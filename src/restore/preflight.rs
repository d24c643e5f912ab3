//! What is looked at before anything is touched: every reason not to begin, all of them at once.
//!
//! A restore never overwrites: the database must be empty (or absent, when it is to be created), and chosen objects must
//! not exist. Problems are a closed list, so that a drill can tell a target that cannot prove anything from a backup
//! that is wrong.

use std::collections::BTreeMap;

use crate::content::quote_identifier;
use crate::postgres::extension::{Available, available_extensions};
use crate::postgres::jobs::{holds_jobs, job_runners};
use crate::postgres::load::watch_for_lost_client;
use crate::postgres::program::ClientPrograms;
use crate::postgres::server::{Server, read_server};
use crate::postgres::target::{read_database, user_objects};
use crate::postgres::{ConnectOptions, Session, connect};
use crate::repository::manifest::{Backup, Database};

use super::error::{Error, Result};
use super::options::RestoreOptions;

/// One reason not to begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the target is PostgreSQL {target} and the source was {origin}: restore into {origin} or later")]
    TargetOlder { origin: u32, target: u32 },
    #[error("{0}")]
    Programs(String),
    #[error(
        "the target server lacks extensions that the database uses: {}; install their packages on its machine",
        .0.join(", ")
    )]
    MissingExtensions(Vec<String>),
    #[error("database {database} exists already; choose another name, drop it, or restore without creating it")]
    DatabaseExists { database: String },
    #[error("database {database} does not exist; create it from template0 or let the restore create it")]
    DatabaseAbsent { database: String },
    #[error(
        "database {database} is not empty (it holds {}); a restore never overwrites: use an empty database, and drop \
         this one where it is what a restore that stopped has left",
        .objects.join(", ")
    )]
    NotEmpty { database: String, objects: Vec<String> },
    #[error("{} would be overwritten; drop or rename what is there first", .0.join(", "))]
    ChosenExist(Vec<String>),
    #[error(
        "the target's lock table has room for {available} locks and a partition tree needs about {needed}: raise \
         max_locks_per_transaction"
    )]
    LockSpace { needed: u64, available: u64 },
    /// A drill contacts nothing outside, and neither may the jobs that it restores.
    #[error(
        "the target server would run jobs that are restored into database {database}: {}; let it name another database, or \
         do not preload it", .runners.join(", ")
    )]
    RunsJobs { database: String, runners: Vec<String> },
    /// Nobody knows whether it would run them.
    #[error(
        "{user} may not see whether the target server would run jobs of {}, which the backup holds: run GRANT \
         pg_read_all_settings TO {}", .extensions.join(", "), quote_identifier(.user)
    )]
    JobsUnknown { user: String, extensions: Vec<String> },
    #[error("the target is a standby in recovery; nothing can be restored into it")]
    Standby,
    /// A wipe compares with a scratch database, and so does a comparison.
    #[error("the target server makes no scratch database for {user}: {reason}")]
    NoScratchDatabase {
        user: String,
        reason: String,
        /// The role is not allowed to, which CREATEDB mends; else the server cannot.
        is_denied: bool,
    },
    #[error("roles that the database refers to are missing: {}; create them or let the restore create them", .0.join(", "))]
    MissingRoles(Vec<String>),
}

/// What the checks found out that the restore goes on with.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) server: Server,
    pub(super) programs: ClientPrograms,
    pub(super) extensions: BTreeMap<String, Available>,
    pub(super) watches_clients: bool,
    pub(super) warnings: Vec<String>,
    pub(super) jobs: Jobs,
}

/// What is known of the server's running jobs that are restored into the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// None of those that are known of; or nobody has looked, since nothing is wiped.
    NotRun,
    /// The role may not see it. The backup holds no extension that has jobs.
    Unknown,
}

/// What becomes of the target before anything is restored into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: it must be empty already, or absent.
    AsItIs,
    /// It is wiped, once everything else has been looked at.
    ToBeWiped,
}

/// Looks at everything; `Err(Error::Preflight)` holds all problems found.
pub(super) async fn preflight(
    backup: &Backup,
    database: &Database,
    target: &ConnectOptions,
    options: &RestoreOptions,
    place: Place,
) -> Result<Ready> {
    let maintenance = connect(&target.with_database(&options.maintenance_database), "preflight").await?;
    let server = read_server(&maintenance.client).await?;
    let watches_clients = watch_for_lost_client(&maintenance.client).await;
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut jobs = Jobs::NotRun;
    let origin = backup.manifest.source.server_version_num / 10_000;
    if server.major() < origin {
        let target = server.major();
        problems.push(Problem::TargetOlder { origin, target });
    }
    if server.in_recovery {
        problems.push(Problem::Standby);
    }
    if !server.is_superuser {
        warnings.push(format!(
            "{} is no superuser: ownership, event triggers and untrusted extensions can be refused",
            target.user
        ));
    }
    problems.extend(lock_space(database, &server, options.jobs));
    let programs = find_programs(origin, server.major(), options).await;
    let programs = programs.map(|programs| programs.in_english(server.is_superuser));
    let available = available_extensions(&maintenance.client).await?;
    problems.extend(missing_extensions(&available, database, &mut warnings));
    match place {
        Place::AsItIs => {
            problems.extend(look_at_target(&maintenance, database, target, options, &mut warnings).await?);
        }
        Place::ToBeWiped => {
            let runners = job_runners(&maintenance.client, &target.database).await?;
            let extensions = database.head.extensions.iter().map(|extension| extension.name.as_str());
            match judge_jobs(runners, extensions, target) {
                Ok(found) => jobs = found,
                Err(problem) => problems.push(problem),
            }
        }
    }
    match programs {
        Ok(programs) if problems.is_empty() => Ok(Ready {
            server,
            programs,
            extensions: available,
            watches_clients,
            warnings,
            jobs,
        }),
        Ok(_) => Err(Error::Preflight(problems)),
        Err(problem) => {
            // On an older target no programs would do.
            if server.major() >= origin {
                problems.push(problem);
            }
            Err(Error::Preflight(problems))
        }
    }
}

/// An archive is read by a `pg_restore` of its own major or later, and written for servers no older than that: the
/// archive's own major fits every target that is not older, then those up to the target's.
async fn find_programs(
    origin: u32,
    target: u32,
    options: &RestoreOptions,
) -> std::result::Result<ClientPrograms, Problem> {
    let mut first_error = None;
    for major in origin..=target.max(origin) {
        match ClientPrograms::find(major, options.bin_directory.as_deref()).await {
            Ok(programs) => return Ok(programs),
            Err(error) => first_error = first_error.or(Some(error.to_string())),
        }
    }
    Err(Problem::Programs(first_error.unwrap_or_default()))
}

fn missing_extensions(
    available: &BTreeMap<String, Available>,
    database: &Database,
    warnings: &mut Vec<String>,
) -> Option<Problem> {
    let mut missing = Vec::new();
    for wanted in &database.head.extensions {
        match available.get(&wanted.name) {
            None => missing.push(format!("{} {}", wanted.name, wanted.version)),
            Some(available) if !available.versions.contains(&wanted.version) => warnings.push(format!(
                "extension {} {} is not available; the target's own version {} is installed instead",
                wanted.name, wanted.version, available.default_version
            )),
            Some(_) => {}
        }
    }
    (!missing.is_empty()).then_some(Problem::MissingExtensions(missing))
}

/// Is the target there, and empty?
async fn look_at_target(
    maintenance: &Session,
    database: &Database,
    target: &ConnectOptions,
    options: &RestoreOptions,
    warnings: &mut Vec<String>,
) -> Result<Option<Problem>> {
    let name = quote_identifier(&target.database);
    let facts = read_database(&maintenance.client, &target.database).await?;
    let facts = match (facts, options.create_database) {
        (Some(_), true) => return Ok(Some(Problem::DatabaseExists { database: name })),
        (None, true) => return Ok(None),
        (None, false) => return Ok(Some(Problem::DatabaseAbsent { database: name })),
        (Some(facts), false) => facts,
    };
    if !facts.has_locale_of(&database.head.properties) {
        warnings.push(format!(
            "database {name} has encoding {} and locale {}, the source had {} and {}: sort orders differ",
            facts.encoding, facts.collate, database.head.properties.encoding, database.head.properties.collate
        ));
    }
    if !options.selection.is_everything() {
        return Ok(None);
    }
    let session = connect(target, "preflight").await?;
    let objects = user_objects(&session.client, 5).await?;
    Ok((!objects.is_empty()).then_some(Problem::NotEmpty {
        database: name,
        objects,
    }))
}

/// Who wipes does so for a drill, or as if for one: nothing that is restored may run.
fn judge_jobs<'a>(
    runners: Option<Vec<String>>,
    extensions: impl Iterator<Item = &'a str>,
    target: &ConnectOptions,
) -> std::result::Result<Jobs, Problem> {
    let Some(runners) = runners else {
        let user = target.user.clone();
        let extensions: Vec<String> = extensions.filter(|name| holds_jobs(name)).map(str::to_owned).collect();
        if extensions.is_empty() {
            tracing::warn!(
                user,
                database = target.database,
                "nobody knows whether the target server would run restored jobs: grant pg_read_all_settings to see"
            );
            return Ok(Jobs::Unknown);
        }
        return Err(Problem::JobsUnknown { user, extensions });
    };
    if runners.is_empty() {
        return Ok(Jobs::NotRun);
    }
    Err(Problem::RunsJobs {
        database: quote_identifier(&target.database),
        runners,
    })
}

/// A COPY through the root of a partition tree locks every leaf.
fn lock_space(database: &Database, server: &Server, jobs: usize) -> Option<Problem> {
    let mut leaves = std::collections::HashMap::new();
    for root in database
        .tables
        .iter()
        .filter_map(|table| table.description.load_through.as_ref())
    {
        *leaves.entry(root).or_insert(0_u64) += 1;
    }
    let largest = leaves.values().copied().max().unwrap_or(0);
    let needed = largest * 2 * jobs as u64;
    (needed > server.lock_slots).then_some(Problem::LockSpace {
        needed,
        available: server.lock_slots,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::postgres::{Password, TlsMode};

    #[test]
    fn what_would_run_jobs_is_refused_and_so_is_what_nobody_knows_where_there_are_jobs() {
        let target = ConnectOptions {
            host: "h".to_owned(),
            port: 1,
            user: "drill".to_owned(),
            database: "restored".to_owned(),
            password: Password::None,
            tls: TlsMode::Disable,
            connect_timeout: Duration::ZERO,
        };
        let judge =
            |runners: Option<Vec<String>>, extension| judge_jobs(runners, [extension, "plpgsql"].into_iter(), &target);
        assert_eq!(judge(Some(Vec::new()), "pg_cron"), Ok(Jobs::NotRun));
        assert_eq!(judge(None, "hstore"), Ok(Jobs::Unknown));
        let runs = judge(Some(vec!["pg_cron (cron.database_name)".to_owned()]), "hstore");
        assert!(matches!(runs, Err(Problem::RunsJobs { .. })), "{runs:?}");
        let unknown = judge(None, "pg_cron").unwrap_err().to_string();
        assert!(
            unknown.ends_with("run GRANT pg_read_all_settings TO \"drill\""),
            "{unknown}"
        );
    }
}
