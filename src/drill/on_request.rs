//! Checks that are made only when somebody asks for them: a login as the application's role, and amcheck.

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::compare::CompareOptions;
use super::error::Result;
use crate::postgres::ConnectOptions;
use crate::postgres::login::{LoginOutcome, try_login};
use crate::postgres::validity::amcheck_indexes;

/// Logs in as the application's role with a temporary password, if that role is the drill's own.
pub(super) async fn check_login(
    client: &Client,
    target: &ConnectOptions,
    options: &CompareOptions,
) -> Result<Vec<Check>> {
    let Some(role) = &options.login_role else {
        return Ok(vec![Check::skipped(CheckName::Login, "not asked for")]);
    };
    let object = Some(format!("role {role}"));
    let check = match try_login(client, target, role, &options.role_comment).await? {
        LoginOutcome::LoggedIn {
            readable_tables,
            tables,
        } => Check::passed(
            CheckName::Login,
            format!("logged in; may read {readable_tables} of {tables} tables"),
        ),
        LoginOutcome::Refused(message) => Check::failed(CheckName::Login, message),
        LoginOutcome::Absent => Check::failed(CheckName::Login, "there is no such role"),
        LoginOutcome::NotOurs => Check::not_run(
            CheckName::Login,
            "the role was there before the drill, and existing roles are never altered",
        ),
    };
    Ok(vec![Check { object, ..check }])
}

/// Every B-tree index against its table, where the extension is installed in the rebuilt database.
pub(super) async fn check_amcheck(client: &Client, options: &CompareOptions) -> Result<Vec<Check>> {
    if !options.amcheck {
        return Ok(vec![Check::skipped(CheckName::Amcheck, "not asked for")]);
    }
    let Some((indexes, broken)) = amcheck_indexes(client).await? else {
        return Ok(vec![Check::not_run(
            CheckName::Amcheck,
            "asked for, but the extension amcheck is not part of the database",
        )]);
    };
    let mut findings = Findings::new(CheckName::Amcheck);
    for (name, message) in broken {
        findings.differs(format!("index {name}"), "", "", message);
    }
    Ok(findings.finish(format!("{indexes} B-tree indexes against their tables")))
}
