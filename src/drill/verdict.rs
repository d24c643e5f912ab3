//! From what happened to a verdict. The list of causes for `unverified` is closed; everything else is failed.

use tokio_postgres::error::SqlState;

use super::certificate::{Cause, DatabaseCertificate, Verdict};
use super::check::{Check, Outcome};
use super::error::Error;
use crate::postgres::{self, Circumstance};
use crate::repository;
use crate::repository::manifest::Backup;
use crate::restore::preflight::Problem;
use crate::restore::{self, Refusal};
use crate::telemetry::figures;

/// Names listed in the first line before the rest is only counted.
const NAMED: usize = 5;

/// The known circumstance behind an error; none means that the drill failed.
#[must_use]
pub fn cause_of(error: &Error) -> Option<Cause> {
    match error {
        Error::Interrupted | Error::TooLong { .. } => Some(Cause::Interrupted),
        Error::NotCompared { cause, .. } => Some(*cause),
        Error::Postgres(error) => cause_of_postgres(error),
        Error::Repository(error) => cause_of_repository(error),
        Error::Restore(error) => cause_of_restore(error),
        _ => None,
    }
}

fn cause_of_restore(error: &restore::Error) -> Option<Cause> {
    match error {
        restore::Error::Preflight(problems) => {
            let causes: Option<Vec<Cause>> = problems.iter().map(cause_of_problem).collect();
            causes?.into_iter().next()
        }
        // Whoever held the target lost it to a broken connection: nothing is known about the backup.
        restore::Error::Guard(Refusal::LockLost { .. }) | restore::Error::Interrupted => Some(Cause::Interrupted),
        // A target that must not be touched is none, and neither is one in which somebody makes objects meanwhile.
        restore::Error::Guard(_) | restore::Error::Residue(_) => Some(Cause::TargetAbsent),
        restore::Error::MissingLocale { .. } => Some(Cause::MissingLocale),
        restore::Error::Postgres(error) => cause_of_postgres(error),
        restore::Error::Repository(error) => cause_of_repository(error),
        _ => None,
    }
}

fn cause_of_problem(problem: &Problem) -> Option<Cause> {
    match problem {
        Problem::TargetOlder { .. } => Some(Cause::SourceMajorAboveTarget),
        Problem::MissingExtensions(_) => Some(Cause::MissingExtension),
        Problem::NoScratchDatabase { is_denied: true, .. } | Problem::JobsUnknown { .. } => Some(Cause::Credentials),
        // No server that would do, or nothing beside it to restore with.
        Problem::DatabaseAbsent { .. }
        | Problem::NotEmpty { .. }
        | Problem::NoScratchDatabase { .. }
        | Problem::RunsJobs { .. }
        | Problem::Programs(_)
        | Problem::LockSpace { .. }
        | Problem::Standby => Some(Cause::TargetAbsent),
        _ => None,
    }
}

pub(super) fn cause_of_postgres(error: &postgres::Error) -> Option<Cause> {
    let source = match error {
        // As before the wipe: CREATEDB mends the one, and the other is the server's.
        postgres::Error::NoScratch { source } if source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Some(Cause::Credentials);
        }
        // A certificate authority that is not mounted, a password file that is empty, a server that is too old: ours to mend.
        postgres::Error::ConnectTimeout { .. }
        | postgres::Error::Silent { .. }
        | postgres::Error::NoScratch { .. }
        | postgres::Error::Settings(_) => {
            return Some(Cause::TargetAbsent);
        }
        postgres::Error::Connect { source, .. } => source,
        // Its moment, or the way to it, and not what was being done there.
        error => {
            return match Circumstance::of(error) {
                Some(Circumstance::LibraryMissing) => Some(Cause::MissingExtension),
                circumstance => circumstance.map(|_| Cause::Interrupted),
            };
        }
    };
    match source.code().map(SqlState::code) {
        // Nobody answers, or says that there is no such database.
        None | Some("3D000") => Some(Cause::TargetAbsent),
        Some(code) if code.starts_with("28") => Some(Cause::Credentials),
        // Or that nobody may come in now.
        Some(_) => Circumstance::of(error).map(|_| Cause::TargetAbsent),
    }
}

pub(super) fn cause_of_repository(error: &repository::Error) -> Option<Cause> {
    match error {
        repository::Error::Storage(error) if error.is_refused() => Some(Cause::Credentials),
        // The drill could not go on, and the backup has no part in it.
        error => error.is_circumstance().then_some(Cause::Interrupted),
    }
}

/// What became of one database of the backup.
#[derive(Debug)]
pub(super) enum DatabaseOutcome {
    Compared(DatabaseCertificate),
    /// It came to no comparison.
    Stopped(DatabaseCertificate, Error),
    /// Nobody gave a target for it.
    NoTarget(String),
}

impl DatabaseOutcome {
    /// What is to be said about the database, where it was begun.
    pub(super) fn certificate(&self) -> Option<DatabaseCertificate> {
        match self {
            Self::Compared(database) | Self::Stopped(database, _) => Some(database.clone()),
            Self::NoTarget(_) => None,
        }
    }

    /// The object of the repository that stopped it, where one is damaged.
    pub(super) fn damaged_key(&self) -> Option<String> {
        match self {
            Self::Stopped(_, error) => error.damaged_key().map(str::to_owned),
            Self::Compared(_) | Self::NoTarget(_) => None,
        }
    }
}

/// The verdict over all databases: one that failed outweighs one that could not be judged.
pub(super) fn judge(outcomes: &[DatabaseOutcome]) -> Verdict {
    let mut verdict = Verdict::Certified;
    for outcome in outcomes {
        let one = match outcome {
            DatabaseOutcome::Compared(database) if database.equal => continue,
            DatabaseOutcome::Compared(_) => Verdict::Failed,
            DatabaseOutcome::Stopped(_, error) => cause_of(error).map_or(Verdict::Failed, Verdict::Unverified),
            DatabaseOutcome::NoTarget(_) => Verdict::Unverified(Cause::TargetAbsent),
        };
        match one {
            Verdict::Failed => return Verdict::Failed,
            _ if verdict == Verdict::Certified => verdict = one,
            _ => {}
        }
    }
    // A backup without databases proves nothing.
    if outcomes.is_empty() { Verdict::Failed } else { verdict }
}

/// Why it is not certified, in words.
pub(super) fn reasons(outcomes: &[DatabaseOutcome]) -> Vec<String> {
    let mut reasons = Vec::new();
    for outcome in outcomes {
        match outcome {
            DatabaseOutcome::Compared(database) => {
                let blocking: Vec<&Check> = database.checks.iter().filter(|check| check.blocks()).collect();
                reasons.extend(blocking.iter().take(NAMED).map(|check| {
                    let object = check
                        .object
                        .as_ref()
                        .map_or_else(String::new, |object| format!(" {object}"));
                    let verb = if check.outcome == Outcome::NotRun {
                        "was not run"
                    } else {
                        "failed"
                    };
                    format!(
                        "database {}: {} {verb}:{object} {}",
                        database.database,
                        check.name.as_str(),
                        check.detail
                    )
                    .trim_end()
                    .to_owned()
                }));
                if blocking.len() > NAMED {
                    let more = blocking.len() - NAMED;
                    reasons.push(format!("database {}: {more} more checks", database.database));
                }
            }
            DatabaseOutcome::Stopped(database, error) => {
                reasons.push(format!("database {}: {}", database.database, chain(error)));
            }
            DatabaseOutcome::NoTarget(name) => reasons.push(format!("database {name}: no target was given for it")),
        }
    }
    reasons
}

/// Everything that the verdict does not cover.
pub(super) fn not_tested(backup: &Backup, outcomes: &[DatabaseOutcome]) -> Vec<String> {
    let mut not_tested: Vec<String> = backup
        .manifest
        .databases_not_included
        .iter()
        .map(|name| format!("database {name} (not in the backup)"))
        .collect();
    for outcome in outcomes {
        match outcome {
            DatabaseOutcome::NoTarget(name) => not_tested.push(format!("database {name} (no target)")),
            DatabaseOutcome::Stopped(database, _) => {
                not_tested.push(format!("database {} (stopped)", database.database));
            }
            DatabaseOutcome::Compared(database) => {
                let tablespaces = &database.tablespaces_left_out;
                not_tested.extend(
                    tablespaces
                        .iter()
                        .map(|name| format!("tablespace {name} (objects rebuilt in the default one)")),
                );
            }
        }
    }
    let unknown = outcomes.iter().filter_map(DatabaseOutcome::certificate);
    let unknown = unknown.filter(|database| database.jobs_unknown);
    not_tested.extend(unknown.map(|database| {
        let name = database.target_database;
        format!("whether the target's server would run jobs restored into {name} (needs pg_read_all_settings)")
    }));
    let several = backup.databases.len() > 1;
    for database in &backup.databases {
        let name = &database.head.properties.name;
        let place = if several { format!("{name}: ") } else { String::new() };
        not_tested.extend(
            super::not_covered(database)
                .into_iter()
                .map(|what| format!("{place}{what}")),
        );
        let subscriptions = &database.head.subscriptions_left_out;
        not_tested.extend(
            subscriptions
                .iter()
                .map(|name| format!("{place}subscription {name} (never restored)")),
        );
        let mappings = &database.head.mappings_redacted;
        not_tested.extend(
            mappings
                .iter()
                .map(|name| format!("{place}options of user mapping {name} (not stored)")),
        );
    }
    not_tested
}

/// Checks that were not run and whose absence does not matter to the verdict.
pub(super) fn checks_not_run(outcomes: &[DatabaseOutcome]) -> Vec<String> {
    let mut not_run = Vec::new();
    for outcome in outcomes {
        let DatabaseOutcome::Compared(database) = outcome else {
            continue;
        };
        let checks = database.checks.iter();
        not_run.extend(checks.filter(|check| check.outcome == Outcome::NotRun).map(|check| {
            let object = check
                .object
                .as_ref()
                .map_or_else(String::new, |object| format!(" of {object}"));
            format!(
                "check {}{object} of database {} ({})",
                check.name.as_str(),
                database.database,
                check.detail
            )
        }));
    }
    not_run
}

/// The verdict's first line.
pub(super) fn summary(
    verdict: Verdict,
    outcomes: &[DatabaseOutcome],
    reasons: &[String],
    exceeded: &[String],
    not_tested: &[String],
) -> String {
    let mut line = match verdict {
        Verdict::Certified => {
            let compared: Vec<&DatabaseCertificate> = outcomes
                .iter()
                .filter_map(|outcome| match outcome {
                    DatabaseOutcome::Compared(database) => Some(database),
                    _ => None,
                })
                .collect();
            let rows: u64 = compared.iter().map(|database| database.total().rows).sum();
            let tables: usize = compared.iter().map(|database| database.tables.len()).sum();
            let names: Vec<&str> = compared.iter().map(|database| database.database.as_str()).collect();
            format!(
                "CERTIFIED: {} rebuilt from the bucket alone and equal to the source: {} rows in {tables} tables",
                names.join(", "),
                figures::count(rows)
            )
        }
        Verdict::Failed => format!(
            "FAILED: {}",
            reasons.first().map_or("no database in the backup", String::as_str)
        ),
        Verdict::Unverified(cause) => format!(
            "UNVERIFIED ({}): {}",
            cause.as_str(),
            reasons.first().map_or("", String::as_str)
        ),
    };
    for sentence in exceeded {
        line = format!("{line}; {sentence}");
    }
    if !not_tested.is_empty() {
        let named: Vec<&str> = not_tested.iter().take(NAMED).map(String::as_str).collect();
        line = format!("{line}; not tested: {}", named.join(", "));
        if not_tested.len() > NAMED {
            line = format!("{line} and {} more", not_tested.len() - NAMED);
        }
    }
    line.lines().collect::<Vec<_>>().join(" ")
}

/// An error with its sources, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
