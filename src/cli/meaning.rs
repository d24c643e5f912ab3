//! What an error means for whoever ran the verb: exit code and, where there is one, a hint. One table.

use tokio_postgres::error::SqlState;

use super::exit::Exit;
use crate::agent;
use crate::storage::ErrorKind;
use crate::{backup, drill, postgres, repository, restore, storage};

/// Exit code and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) exit: Exit,
    pub(super) hint: Option<&'static str>,
}

const fn plain(exit: Exit) -> Meaning {
    Meaning { exit, hint: None }
}

const fn hinted(exit: Exit, hint: &'static str) -> Meaning {
    Meaning { exit, hint: Some(hint) }
}

/// What the first known error of the chain means.
pub(super) fn meaning(error: &anyhow::Error) -> Meaning {
    error.downcast_ref().map_or(plain(Exit::Failure), of_agent)
}

pub(super) fn of_agent(error: &agent::Error) -> Meaning {
    match error {
        agent::Error::Settings(_) => hinted(Exit::Usage, "every setting is described in docs/configuration.md"),
        agent::Error::Postgres(error) => of_postgres(error),
        agent::Error::Storage(error) => of_storage(error),
        agent::Error::Repository(error) => of_repository(error),
        agent::Error::Backup(error) => of_backup(error),
        agent::Error::Restore(error) => of_restore(error),
        agent::Error::Drill(error) => of_drill(error),
        agent::Error::SeveralClusters(_)
        | agent::Error::NoSuchDatabase { .. }
        | agent::Error::SeveralDatabases { .. } => plain(Exit::Usage),
        agent::Error::NoBackup { .. } | agent::Error::NoBackupAt { .. } => {
            hinted(Exit::Failure, "'kubebackup list' shows what there is")
        }
    }
}

fn of_backup(error: &backup::Error) -> Meaning {
    match error {
        backup::Error::Postgres { source, .. } if source.sqlstate() == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE) => {
            hinted(
                Exit::Refused,
                "a name or a comment in this SQL_ASCII database is no UTF-8, and a manifest is text: rename it",
            )
        }
        backup::Error::Postgres { source, .. } | backup::Error::Assertion { source, .. } => of_postgres(source),
        backup::Error::Repository(error) => of_repository(error),
        backup::Error::NoSuchDatabase { .. } => plain(Exit::Usage),
        backup::Error::TooLong { .. } => hinted(
            Exit::Yielded,
            "raise backup.max_duration or backup.jobs, or run it when the server is less busy",
        ),
        backup::Error::LeaseLost { .. } => plain(Exit::Yielded),
        backup::Error::Cancelled => plain(Exit::Interrupted),
        backup::Error::Unaccounted(_)
        | backup::Error::NothingToBackUp
        | backup::Error::SnapshotLost { .. }
        | backup::Error::Worker(_) => plain(Exit::Failure),
    }
}

fn of_restore(error: &restore::Error) -> Meaning {
    match error {
        restore::Error::Preflight(_) => hinted(Exit::Refused, "nothing was touched"),
        restore::Error::Guard(restore::Refusal::LockLost { .. }) => plain(Exit::Failure),
        restore::Error::Guard(_) => hinted(
            Exit::Refused,
            "nothing was touched; docs/restore.md describes the guards",
        ),
        restore::Error::Selection(_) => plain(Exit::Usage),
        restore::Error::Contradiction(_) | restore::Error::Rows { .. } => plain(Exit::Damaged),
        restore::Error::Interrupted => plain(Exit::Interrupted),
        restore::Error::Postgres(error) => of_postgres(error),
        restore::Error::Repository(error) => of_repository(error),
        _ => plain(Exit::Failure),
    }
}

fn of_drill(error: &drill::Error) -> Meaning {
    match error {
        drill::Error::Interrupted => plain(Exit::Interrupted),
        drill::Error::Postgres(error) => of_postgres(error),
        drill::Error::Repository(error) => of_repository(error),
        drill::Error::Restore(error) => of_restore(error),
        _ => plain(Exit::Failure),
    }
}

fn of_repository(error: &repository::Error) -> Meaning {
    match error {
        repository::Error::Missing => hinted(
            Exit::Failure,
            "look at repository.bucket and repository.prefix; the first backup creates the repository",
        ),
        repository::Error::Damaged { .. } => hinted(
            Exit::Damaged,
            "'kubebackup verify --all' finds and records what is damaged; the next backup stores chunks anew, never a manifest",
        ),
        repository::Error::LostChunk { .. } => plain(Exit::Damaged),
        repository::Error::UnknownFormat { .. } => hinted(Exit::Failure, "update this program"),
        repository::Error::NoSuchBackup(_) => hinted(Exit::Failure, "'kubebackup list' shows what there is"),
        repository::Error::Storage(error) => of_storage(error),
        _ => plain(Exit::Failure),
    }
}

fn of_storage(error: &storage::Error) -> Meaning {
    match error.kind {
        ErrorKind::Credentials => hinted(
            Exit::Failure,
            "look at the AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, web identity) and at this machine's clock",
        ),
        ErrorKind::Denied => hinted(
            Exit::Failure,
            "the credentials are good but may not do this; look at the bucket's policy",
        ),
        ErrorKind::Settings => hinted(Exit::Usage, "look at the settings below 'repository'"),
        ErrorKind::Unavailable => hinted(
            Exit::Failure,
            "look at repository.endpoint and the way there; 'kubebackup check' tries it",
        ),
        _ => plain(Exit::Failure),
    }
}

fn of_postgres(error: &postgres::Error) -> Meaning {
    use postgres::Error;
    match error {
        Error::Settings(_) => plain(Exit::Usage),
        Error::Connect { .. } => match error.sqlstate().map(SqlState::code) {
            Some("28P01" | "28000") => hinted(
                Exit::Failure,
                "look at user and password (password_file, PGPASSWORD, ~/.pgpass) and at the server's pg_hba.conf",
            ),
            Some("3D000") => hinted(Exit::Failure, "name an existing database by dbname or PGDATABASE"),
            Some("57P03") => plain(Exit::Yielded),
            Some(_) => plain(Exit::Failure),
            None => hinted(
                Exit::Failure,
                "look at host, port and sslmode; 'kubebackup check' tries them",
            ),
        },
        Error::ConnectTimeout { .. } => hinted(
            Exit::Failure,
            "something takes the connection and does not speak PostgreSQL in time; look at host, port and what lies between",
        ),
        Error::Unsupported { .. } => plain(Exit::Refused),
        Error::Unreadable { .. } => hinted(
            Exit::Refused,
            "a role that may is created by backup-role.sql, among the manifests",
        ),
        Error::LockTimeout { .. } | Error::Unstable { .. } | Error::Yielded { .. } | Error::ShuttingDown => {
            hinted(Exit::Yielded, "no backup was made; try again later")
        }
        _ => plain(Exit::Failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_lower_room_keeps_its_meaning_on_the_way_up() {
        let denied = storage::Error::new(ErrorKind::Denied, "put", "k");
        let error: agent::Error = backup::Error::Repository(repository::Error::Storage(denied)).into();
        assert!(meaning(&error.into()).hint.unwrap().contains("policy"));

        let error: agent::Error = backup::Error::Cancelled.into();
        assert_eq!(meaning(&error.into()).exit, Exit::Interrupted);

        let damaged = repository::Error::Damaged {
            key: "k".to_owned(),
            reason: "gone".to_owned(),
        };
        let error: agent::Error = restore::Error::Repository(damaged).into();
        assert_eq!(meaning(&error.into()).exit, Exit::Damaged);
        assert_eq!(meaning(&anyhow::anyhow!("?")).exit, Exit::Failure);
    }
}
