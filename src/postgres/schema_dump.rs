//! The definitions of a database as a `pg_dump` archive. DDL extraction is `pg_dump`'s job, not ours.

use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Client;

use super::connect::ConnectOptions;
use super::error::{Error, Result};
use super::program::ClientPrograms;
use super::row::column;
use super::said::Said;

/// A `pg_dump -Fc --schema-only` archive and what `pg_dump` remarked.
#[derive(Clone, Debug)]
pub struct SchemaArchive {
    pub archive: Bytes,
    /// Remarks known to be harmless, verbatim.
    pub warnings: Vec<String>,
}

/// The role as which definitions are read whenever it may be taken: it sees every definition, but neither passwords in
/// user mappings nor subscriptions' connection strings, which must not reach the bucket (fact 8).
const READER: &str = "pg_read_all_data";

/// Remarks that do not touch what is dumped. Any other line on standard error fails the backup.
const HARMLESS: &[&str] = &[
    "there are circular foreign-key constraints",
    "could not resolve dependency loop among these items",
    "You might not be able to restore the dump without using --disable-triggers",
    "Consider using a full dump instead of a --data-only dump",
];

/// Dumps the definitions as the snapshot's session sees its tables.
///
/// # Errors
/// `Error::Program` with `pg_dump`'s words, also for a warning that is not known to be harmless; `Error::Yielded` when a
/// session waits for a table with a stronger lock.
pub async fn dump_schema(
    options: &ConnectOptions,
    programs: &ClientPrograms,
    snapshot_id: &str,
    as_reader: bool,
    lock_timeout: Duration,
) -> Result<SchemaArchive> {
    let mut arguments: Vec<OsString> = [
        "--format=custom",
        "--schema-only",
        "--compress=0",
        "--no-password",
        "--no-subscriptions",
        &format!("--snapshot={snapshot_id}"),
        &format!("--lock-wait-timeout={}", lock_timeout.as_millis()),
    ]
    .map(OsString::from)
    .into();
    if as_reader {
        arguments.push(format!("--role={READER}").into());
    }
    let printed = programs
        .run(&programs.pg_dump(), &arguments, Some(options))
        .await
        .map_err(|error| match &error {
            // `--lock-wait-timeout` is a statement timeout around `pg_dump`'s LOCK TABLE.
            Error::Program { message, .. }
                if message.words().contains("due to statement timeout") && message.words().contains("LOCK TABLE") =>
            {
                Error::Yielded {
                    reason: "a session waits to change a table that pg_dump reads".to_owned(),
                }
            }
            _ => error,
        })?;
    let (harmless, unknown): (Vec<String>, Vec<String>) =
        printed.stderr.into_iter().partition(|line| is_harmless(line));
    if !unknown.is_empty() {
        return Err(Error::Program {
            program: "pg_dump".to_owned(),
            message: Said::of("remarks that are not known to be harmless", &unknown),
        });
    }
    Ok(SchemaArchive {
        archive: printed.stdout,
        warnings: harmless,
    })
}

/// By how the remark begins: what follows may quote a name, and anything can be a name.
fn is_harmless(line: &str) -> bool {
    if line.trim().is_empty() {
        return true;
    }
    let Some(said) = line.strip_prefix("pg_dump: ") else {
        return false;
    };
    // These go with a warning before them, which is looked at itself.
    let is_continuation = said.starts_with("detail:") || said.starts_with("hint:");
    let said = said.strip_prefix("warning: ").unwrap_or(said);
    is_continuation || HARMLESS.iter().any(|known| said.starts_with(known))
}

/// What the archive leaves out on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Subscriptions: restored, one would contact the real publisher.
    pub subscriptions: Vec<String>,
    /// User mappings as `server/user`, whose options are blank in the archive.
    pub mappings: Vec<String>,
}

/// Names what the archive leaves out. Needs no right to read the secrets in them.
///
/// # Errors
/// `Error::Query`; `Error::Settings` when options of a mapping would reach the archive because the role sees them and
/// cannot step down to the reading role.
pub async fn read_left_out(client: &Client, as_reader: bool) -> Result<LeftOut> {
    let subscriptions = client
        .query(
            "SELECT s.subname::text AS name FROM pg_catalog.pg_subscription s
             WHERE s.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
             ORDER BY s.subname COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("list the subscriptions"))?;
    let mappings = client
        .query(
            "SELECT m.srvname || '/' || m.usename AS name, m.umoptions IS NOT NULL AS visible
             FROM pg_catalog.pg_user_mappings m ORDER BY 1",
            &[],
        )
        .await
        .map_err(Error::query("list the user mappings"))?;
    let mut left_out = LeftOut::default();
    for row in &subscriptions {
        left_out.subscriptions.push(column(row, "name")?);
    }
    for row in &mappings {
        let name: String = column(row, "name")?;
        if column::<bool>(row, "visible")? && !as_reader {
            return Err(Error::Settings(format!(
                "the options of user mapping {name} are visible to the role and would be stored in clear; grant it \
                 pg_read_all_data, as which they are left out"
            )));
        }
        left_out.mappings.push(name);
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_remarks_pass() {
        assert!(is_harmless(
            "pg_dump: warning: could not resolve dependency loop among these items:"
        ));
        assert!(is_harmless("pg_dump: detail:   FUNCTION f  (ID 1 OID 2)"));
        assert!(is_harmless(
            "pg_dump: hint: Consider using a full dump instead of a --data-only dump to avoid this problem."
        ));
        for unknown in [
            "owner of function \"f\" appears to be invalid",
            // What somebody has called an object passes for none of them.
            "owner of function \"detail: f\" appears to be invalid",
            "owner of function \"x hint: y\" appears to be invalid",
            "owner of function \"could not resolve dependency loop among these items\" appears to be invalid",
        ] {
            assert!(!is_harmless(&format!("pg_dump: warning: {unknown}")), "{unknown}");
        }
        assert!(!is_harmless("detail: the second line of a name"));
        assert!(!is_harmless(
            "pg_dump: warning: subscriptions not dumped because current user is not a superuser"
        ));
    }
}
