//! What an error means for a run: one table of classes, from which exit code, outcome, log level and the next attempt
//! follow, and one mapping from errors to classes, with a hint where a person can do something.

mod class;

use tokio_postgres::error::SqlState;

pub use class::{Class, Next, Severity};

use super::error::Error;
use crate::postgres::Circumstance;
use crate::storage::ErrorKind;
use crate::{backup, drill, postgres, repository, restore, storage};

/// Its class, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub class: Class,
    pub hint: Option<&'static str>,
}

const fn plain(class: Class) -> Meaning {
    Meaning { class, hint: None }
}

const fn hinted(class: Class, hint: &'static str) -> Meaning {
    Meaning {
        class,
        hint: Some(hint),
    }
}

impl Error {
    /// What it means for whoever runs the verb.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Settings(_) => hinted(Class::Settings, "every setting is described in docs/configuration.md"),
            Self::Postgres(error) => of_postgres(error),
            Self::Storage(error) => of_storage(error),
            Self::Repository(error) => of_repository(error),
            Self::Backup(error) => of_backup(error),
            Self::Restore(error) => of_restore(error),
            Self::Incomplete { source, .. } => source.meaning(),
            Self::Drill(error) => of_drill(error),
            Self::SeveralClusters(_) | Self::NoSuchDatabase { .. } | Self::SeveralDatabases { .. } => {
                plain(Class::Settings)
            }
            Self::NoDrift(_) => hinted(
                Class::Operator,
                "'kubebackup list' says which backups keep deletion frozen",
            ),
            Self::NoneCertified | Self::NoneTrusted | Self::NoBackup { .. } | Self::NoBackupAt { .. } => {
                hinted(Class::Operator, "'kubebackup list' shows what there is")
            }
        }
    }
}

const EXISTS_OR_NOT: &str = "'kubebackup list' shows whether it does; a backup that is shown there is whole";

fn of_backup(error: &backup::Error) -> Meaning {
    match error {
        backup::Error::Postgres { source, .. } if source.sqlstate() == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE) => {
            hinted(
                Class::Refused,
                "a name or a comment in this SQL_ASCII database is no UTF-8, and a manifest is text: rename it",
            )
        }
        backup::Error::Repository(error) => of_repository(error),
        backup::Error::NoSuchDatabase { .. } => plain(Class::Settings),
        backup::Error::TooLong { .. } => hinted(
            Class::TooLong,
            "raise backup.max_duration or backup.jobs, or run it when the server is less busy",
        ),
        backup::Error::LeaseLost { .. } => plain(Class::GaveWay),
        backup::Error::Cancelled => plain(Class::Interrupted),
        backup::Error::CancelledPublishing { .. } => hinted(Class::Interrupted, EXISTS_OR_NOT),
        backup::Error::SnapshotLost { source: None, .. } => plain(Class::Unavailable),
        backup::Error::Postgres { source, .. }
        | backup::Error::Assertion { source, .. }
        | backup::Error::SnapshotLost {
            source: Some(source), ..
        }
        | backup::Error::Silent { source, .. } => of_postgres(source),
        backup::Error::DatabaseDropped { .. } => hinted(
            Class::Unavailable,
            "the next run lists the databases anew; take it out of source.databases if it stands there",
        ),
        backup::Error::Unaccounted(_) | backup::Error::NothingToBackUp => plain(Class::Operator),
        backup::Error::Worker(_) => plain(Class::Unknown),
    }
}

fn of_restore(error: &restore::Error) -> Meaning {
    match error {
        restore::Error::Preflight(_) => hinted(Class::Refused, "nothing was touched"),
        restore::Error::Guard(restore::Refusal::LockLost { .. }) => hinted(Class::Unavailable, AWAY),
        restore::Error::Guard(_) => hinted(
            Class::Refused,
            "nothing was touched; docs/restore.md describes the guards",
        ),
        restore::Error::Selection(_) => plain(Class::Settings),
        restore::Error::Contradiction(_) | restore::Error::Rows { .. } => plain(Class::Damaged),
        restore::Error::Interrupted => plain(Class::Interrupted),
        restore::Error::Postgres(error) => of_target(error),
        restore::Error::Repository(error) => of_repository(error),
        _ => plain(Class::Unknown),
    }
}

fn of_drill(error: &drill::Error) -> Meaning {
    match error {
        drill::Error::Interrupted => plain(Class::Interrupted),
        drill::Error::Postgres(error) => of_target(error),
        drill::Error::Repository(error) => of_repository(error),
        drill::Error::Restore(error) => of_restore(error),
        _ => plain(Class::Unknown),
    }
}

fn of_repository(error: &repository::Error) -> Meaning {
    match error {
        repository::Error::Missing => hinted(
            Class::Operator,
            "look at repository.bucket and repository.prefix; the first backup creates the repository",
        ),
        repository::Error::Damaged { .. } => hinted(
            Class::Damaged,
            "'kubebackup verify --all' finds and records what is damaged; the next backup stores chunks anew, never a manifest",
        ),
        repository::Error::Unmarked { source, .. } => Meaning {
            hint: Some(
                "nothing was lost; the manifest or its index has to become readable, or to be removed as docs/retention.md says",
            ),
            ..of_repository(source)
        },
        repository::Error::PublishedOrNot { source, .. } => match of_storage(source) {
            // What mends the way there comes first.
            meaning @ Meaning {
                class: Class::Operator, ..
            } => meaning,
            meaning => Meaning {
                hint: Some(EXISTS_OR_NOT),
                ..meaning
            },
        },
        repository::Error::Held(_) => hinted(
            Class::Operator,
            "where it is to go all the same, 'kubebackup unhold' comes first",
        ),
        repository::Error::HeldAway { source, .. } => match of_repository(source) {
            meaning if source.is_refused_object() => Meaning {
                hint: Some(
                    "its chunks stay while it is held; 'kubebackup expire' with the backup agent's credentials, which may write manifests, puts it back",
                ),
                ..meaning
            },
            meaning if meaning.class == Class::Damaged => Meaning {
                hint: Some(
                    "its chunks stay while it is held; where it cannot be mended, 'kubebackup unhold' lets it go for good",
                ),
                ..meaning
            },
            meaning => meaning,
        },
        repository::Error::LostChunk { .. } => hinted(
            Class::LostChunk,
            "where it is gone, see that whoever prunes has this agent's prune.grace, which is longer than any run may take",
        ),
        repository::Error::TooLate { .. } => plain(Class::TooLong),
        repository::Error::UnknownFormat { .. } => hinted(Class::Operator, "update this program"),
        repository::Error::NoSuchBackup(_) => hinted(Class::Operator, "'kubebackup list' shows what there is"),
        repository::Error::OtherRepository { .. } | repository::Error::RootTooLarge { .. } => plain(Class::Operator),
        repository::Error::Storage(error) => of_storage(error),
        _ => plain(Class::Unknown),
    }
}

fn of_storage(error: &storage::Error) -> Meaning {
    match error.kind {
        ErrorKind::Credentials => hinted(
            Class::Operator,
            "look at the AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, web identity) and at this machine's clock",
        ),
        ErrorKind::Denied => hinted(
            Class::Operator,
            "the credentials are good but may not do this; look at the bucket's policy",
        ),
        ErrorKind::Settings => hinted(Class::Settings, "look at the settings below 'repository'"),
        ErrorKind::Unavailable => hinted(
            Class::Unavailable,
            "look at repository.endpoint and the way there; 'kubebackup check' tries it",
        ),
        ErrorKind::Checksum => hinted(
            Class::Unavailable,
            "bytes change on their way to the store: look at what lies between here and repository.endpoint",
        ),
        ErrorKind::NoBucket => hinted(
            Class::Operator,
            "create the bucket, or look at repository.bucket, repository.endpoint and repository.region",
        ),
        ErrorKind::Full => hinted(
            Class::Operator,
            "give the bucket room or a larger quota, or expire and prune more (docs/retention.md)",
        ),
        ErrorKind::Other | ErrorKind::Unsupported => hinted(
            Class::Unknown,
            "the store's own log may say more; 'kubebackup check' says whether a store answers at repository.endpoint at all",
        ),
        _ => plain(Class::Unknown),
    }
}

fn of_postgres(error: &postgres::Error) -> Meaning {
    use postgres::Error;
    const LATER: &str = "no backup was made; try again later";
    let circumstance = Circumstance::of(error);
    match error {
        Error::Settings(_) => plain(Class::Settings),
        _ if postgres::watch::is_shutdown(error) => hinted(Class::GaveWay, LATER),
        Error::Connect { .. } => match error.sqlstate().map(SqlState::code) {
            Some("28P01" | "28000") => hinted(
                Class::Operator,
                "look at user and password (password_file, PGPASSWORD, ~/.pgpass) and at the server's pg_hba.conf",
            ),
            Some("3D000") => hinted(Class::Operator, "name an existing database by dbname or PGDATABASE"),
            Some(_) => match circumstance {
                Some(circumstance) => of_circumstance(circumstance),
                None => plain(Class::Operator),
            },
            None => hinted(
                Class::Unavailable,
                "look at host, port and sslmode; 'kubebackup check' tries them",
            ),
        },
        Error::ConnectTimeout { .. } => hinted(
            Class::Unavailable,
            "something takes the connection and does not speak PostgreSQL in time; look at host, port and what lies between",
        ),
        Error::AnotherServer { .. } => hinted(
            Class::Unavailable,
            "after a switch-over run it again; source.dsn must lead to one server through a whole run",
        ),
        Error::Silent { .. } => hinted(
            Class::Unavailable,
            "look at the server's machine and disk; nobody else can end what waits for it",
        ),
        Error::Query { .. } if error.sqlstate().is_none() => plain(Class::Unavailable),
        Error::Unsupported { .. } => plain(Class::Refused),
        Error::Unreadable { .. } => hinted(
            Class::Refused,
            "a role that may is created by backup-role.sql, among the manifests",
        ),
        Error::LockTimeout { .. } | Error::Unstable { .. } | Error::Yielded { .. } | Error::ShuttingDown => {
            hinted(Class::GaveWay, LATER)
        }
        _ => circumstance.map_or(plain(Class::Unknown), of_circumstance),
    }
}

const AWAY: &str = "the server or the way to it went away: look at its log, and begin again once it takes connections";

/// A backup gives way to production; what rebuilds or compares a database on a target just does not come to its end.
fn of_target(error: &postgres::Error) -> Meaning {
    use Circumstance::{Broken, Crashed, Ended, NotReady};
    let circumstance = Circumstance::of(error);
    let is_away = matches!(circumstance, Some(Broken | Ended | Crashed | NotReady));
    let away = is_away.then_some(AWAY);
    match of_postgres(error) {
        Meaning {
            class: Class::GaveWay, ..
        } => Meaning {
            class: Class::Unavailable,
            hint: circumstance.and_then(Circumstance::hint).or(away),
        },
        meaning => Meaning {
            hint: meaning.hint.or(away),
            ..meaning
        },
    }
}

/// Of the server's moment: it passes, or a person helps.
const fn of_circumstance(circumstance: Circumstance) -> Meaning {
    let class = match circumstance {
        // Somebody, or the standby's own work, went first.
        Circumstance::Cancelled
        | Circumstance::Recovery
        | Circumstance::Ended
        | Circumstance::Deadlock
        | Circumstance::Locked => Class::GaveWay,
        // At a source it is production that has lost it.
        Circumstance::FileLost => Class::Unknown,
        _ => Class::Unavailable,
    };
    Meaning {
        class,
        hint: circumstance.hint(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_lower_room_keeps_its_meaning_on_the_way_up() {
        let denied = storage::Error::new(ErrorKind::Denied, "put", "k");
        let error: Error = backup::Error::Repository(repository::Error::Storage(denied)).into();
        assert!(error.meaning().hint.unwrap().contains("policy"));

        let error: Error = backup::Error::Cancelled.into();
        assert_eq!(error.meaning().class, Class::Interrupted);

        let error: Error = restore::Error::Interrupted.into();
        let incomplete = Error::Incomplete {
            database: "d".to_owned(),
            next: "",
            source: Box::new(error),
        };
        assert_eq!(incomplete.meaning().class, Class::Interrupted);

        let gone = || postgres::Error::ShuttingDown;
        let backup = Error::Postgres(gone()).meaning();
        assert_eq!(
            (backup.class, backup.hint),
            (Class::GaveWay, Some("no backup was made; try again later"))
        );
        for target in [
            restore::Error::Postgres(gone()).into(),
            drill::Error::Postgres(gone()).into(),
        ] {
            let meaning = Error::meaning(&target);
            assert_eq!(meaning.class, Class::Unavailable);
            assert!(meaning.hint.unwrap().contains("begin again"), "{target}");
        }

        let damaged = repository::Error::Damaged {
            key: "k".to_owned(),
            reason: "gone".to_owned(),
        };
        let error: Error = restore::Error::Repository(damaged).into();
        assert_eq!(error.meaning().class, Class::Damaged);
    }
}
