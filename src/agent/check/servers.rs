//! The servers: reachable, new enough, readable by the role, with client programs and room for locks; the target
//! guarded as a drill will guard it.

use std::path::Path;
use std::time::Duration;

use super::super::open::{drill_target, source};
use super::{Finding, Level};
use crate::config::Settings;
use crate::postgres::program::ClientPrograms;
use crate::postgres::server::{Server, read_server};
use crate::postgres::silence::while_it_answers;
use crate::postgres::{self, ConnectOptions, Environment, Session, connect, databases, snapshot};
use crate::repository::Repository;
use crate::restore::guard;

pub(super) async fn check_source(settings: &Settings, environment: &Environment, findings: &mut Vec<Finding>) {
    const AREA: &str = "source";
    let options = match source(settings, environment) {
        Ok(options) => options,
        Err(error) => return findings.push(Finding::fail(AREA, &error)),
    };
    let checking = Box::pin(check_source_at(&options, settings, findings));
    let silent = or_silent(AREA, &options, checking).await;
    findings.extend(silent);
}

/// Does `looked`, unless the server falls silent meanwhile: nobody else would end the wait for its answers.
async fn or_silent(area: &'static str, server: &ConnectOptions, looked: impl Future<Output = ()>) -> Option<Finding> {
    let looked = async {
        looked.await;
        Ok::<_, postgres::Error>(())
    };
    let silent = while_it_answers(server, looked).await.err()?;
    Some(Finding::fail(area, &silent))
}

async fn check_source_at(options: &ConnectOptions, settings: &Settings, findings: &mut Vec<Finding>) {
    const AREA: &str = "source";
    let bin_directory = settings.source.bin_directory.as_deref();
    let Some((session, server)) = check_server(AREA, options, bin_directory, findings).await else {
        return;
    };
    if server.is_superuser {
        findings.push(Finding::warn(
            AREA,
            "connected as a superuser; a role with pg_read_all_data is enough",
        ));
    }
    let present = match databases::list_databases(&session.client).await {
        Ok(present) => present,
        Err(error) => return findings.push(Finding::fail(AREA, &error)),
    };
    let wanted = &settings.source.databases;
    for missing in wanted.iter().filter(|name| !present.contains(name)) {
        let what = format!("database '{missing}' does not exist or takes no connections");
        findings.push(Finding::new(AREA, Level::Fail, what));
    }
    for database in present.iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        findings.push(check_database(&options.with_database(database), settings.backup.lock_timeout.0).await);
    }
}

/// Whether a backup could read and lock everything in it.
async fn check_database(options: &ConnectOptions, lock_timeout: Duration) -> Finding {
    const AREA: &str = "source";
    let looked = async {
        let session = connect(options, "check").await?;
        snapshot::wait_for_locks_at_most(&session, lock_timeout).await?;
        snapshot::check_readable(&session).await
    };
    match looked.await {
        Ok(relations) => {
            let tables = relations.iter().filter(|relation| relation.is_lockable()).count();
            let name = &options.database;
            Finding::ok(
                AREA,
                format!("database '{name}': {tables} tables, all readable, and room to lock them"),
            )
        }
        Err(error) => Finding::fail(AREA, &error),
    }
}

pub(super) async fn check_target(
    settings: &Settings,
    environment: &Environment,
    repository: Option<&Repository>,
    findings: &mut Vec<Finding>,
) {
    const AREA: &str = "target";
    let maintenance = match drill_target(settings, environment, "") {
        Ok(target) => target.maintenance,
        Err(error) => return findings.push(Finding::fail(AREA, &error)),
    };
    let checking = Box::pin(check_target_at(
        &maintenance,
        settings,
        environment,
        repository,
        findings,
    ));
    let silent = or_silent(AREA, &maintenance, checking).await;
    findings.extend(silent);
}

async fn check_target_at(
    maintenance: &ConnectOptions,
    settings: &Settings,
    environment: &Environment,
    repository: Option<&Repository>,
    findings: &mut Vec<Finding>,
) {
    const AREA: &str = "target";
    let mut sources: Vec<&str> = settings.target.databases.keys().map(String::as_str).collect();
    sources.extend(settings.source.databases.iter().map(String::as_str));
    sources.sort_unstable();
    sources.dedup();
    let bin_directory = settings.target.bin_directory.as_deref();
    if check_server(AREA, maintenance, bin_directory, findings).await.is_none() {
        return;
    }
    let Some(repository) = repository else {
        return findings.push(Finding::warn(AREA, "not guarded yet: the repository does not exist"));
    };
    if sources.is_empty() {
        findings.push(Finding::warn(
            AREA,
            "target.databases is not set: databases are rebuilt under their own names",
        ));
    }
    for name in sources {
        let guarded = match drill_target(settings, environment, name) {
            Ok(target) => guard(repository, &target.database, &target.maintenance)
                .await
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        findings.push(match guarded {
            Ok(guarded) => {
                let database = &guarded.target().database;
                Finding::ok(
                    AREA,
                    format!("database '{database}': may be destroyed, every guard passes"),
                )
            }
            Err(error) => Finding::fail(AREA, &error),
        });
    }
}

/// What both servers need: a connection, a version, its client programs, a clock.
async fn check_server(
    area: &'static str,
    options: &ConnectOptions,
    bin_directory: Option<&Path>,
    findings: &mut Vec<Finding>,
) -> Option<(Session, Server)> {
    let reached = async {
        let session = connect(options, "check").await?;
        let server = read_server(&session.client).await?;
        Ok((session, server))
    };
    let (session, server) = match reached.await {
        Ok(reached) => reached,
        Err(error) => {
            let error: crate::postgres::Error = error;
            findings.push(Finding::fail(area, &error));
            return None;
        }
    };
    findings.push(Finding::ok(area, format!("PostgreSQL {} at {options}", server.version)));
    match ClientPrograms::find(server.major(), bin_directory).await {
        Ok(programs) => findings.push(Finding::ok(area, programs.version)),
        Err(error) => findings.push(Finding::fail(area, &error)),
    }
    match crate::postgres::server::read_clock(&session.client).await {
        Ok(clock) => {
            let skew = clock.duration_since(jiff::Timestamp::now()).as_secs();
            findings.push(match skew.abs() {
                0..=5 => Finding::ok(area, "its clock agrees with ours"),
                _ => Finding::warn(
                    area,
                    format!("its clock differs from ours by {skew} s; backups are named by it"),
                ),
            });
        }
        Err(error) => findings.push(Finding::fail(area, &error)),
    }
    Some((session, server))
}
