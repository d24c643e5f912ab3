//! Errors of a server that say nothing about what its databases hold: its moment, or the way to it.
//!
//! By SQLSTATE where the server answered us, by words where a client program wrote down what it was told. Whoever meets one
//! tries again later; a drill that does knows nothing about the backup.

use super::error::Error;
use super::server_error::ServerError;

/// How a server says that a shared library is not there or does not fit.
const LIBRARY: [&str; 2] = ["could not access file \"", "could not load library \""];

/// What the moment is like, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circumstance {
    /// The connection ended without a word of the server.
    Broken,
    /// The server's disk is full.
    DiskFull,
    /// Every connection that there may be is taken.
    TooManyConnections,
    /// Memory or another of the server's means is used up.
    Exhausted,
    /// An administrator ended the session, or the server goes down.
    Ended,
    /// The server ended all sessions because one of them crashed.
    Crashed,
    /// The server takes no connections yet, or no longer.
    NotReady,
    /// Somebody cancelled the statement.
    Cancelled,
    /// A time limit ended the session, although ours have none.
    TimedOut,
    /// A standby had to replay what the statement or the session stood in the way of.
    Recovery,
    /// The database is gone.
    Dropped,
    /// Somebody else's session is on the database.
    InUse,
    /// A client program could not be started, or was killed.
    Killed,
    /// Somebody else's session locked the same tables in another order.
    Deadlock,
    /// Somebody else's session kept a lock for longer than it is waited for.
    Locked,
    /// The server has lost a file of its own, or its system fails it.
    FileLost,
    /// A shared library that a function of the backup calls is not on the server.
    LibraryMissing,
}

impl Circumstance {
    /// None where the error may be about the contents or the definitions.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::ConnectTimeout { .. } | Error::Silent { .. } | Error::AnotherServer { .. } => Some(Self::NotReady),
            Error::ShuttingDown => Some(Self::Ended),
            Error::Locked { .. } => Some(Self::Locked),
            // All rows came and the connection did not last until their number, or somebody between keeps it.
            Error::NoCount { .. } => Some(Self::Broken),
            Error::Connect { source, .. } | Error::Query { source, .. } | Error::NoScratch { source } => {
                Self::of_server(source)
            }
            Error::Program { message, .. } if is_killed(message.words()) => Some(Self::Killed),
            Error::Program { message, .. } => Self::of_words(message.words()),
            _ => None,
        }
    }

    fn of_server(error: &ServerError) -> Option<Self> {
        match error.code() {
            _ if error
                .message()
                .is_some_and(|words| LIBRARY.iter().any(|begin| words.starts_with(begin))) =>
            {
                Some(Self::LibraryMissing)
            }
            Some(code) => Self::of_sqlstate(code.code()),
            None => error.is_broken().then_some(Self::Broken),
        }
    }

    fn of_sqlstate(code: &str) -> Option<Self> {
        Some(match code {
            "53100" => Self::DiskFull,
            "53300" => Self::TooManyConnections,
            "57014" => Self::Cancelled,
            "55006" => Self::InUse,
            // We lock nothing in an order that could meet itself.
            "40P01" => Self::Deadlock,
            // Nor do our own sessions keep each other waiting for long.
            "55P03" => Self::Locked,
            // An error of its disk.
            "58030" => Self::Broken,
            // A file that a function of the backup reads is none of the backup's either.
            "58000" | "58P01" => Self::FileLost,
            "57P01" => Self::Ended,
            "57P02" => Self::Crashed,
            "57P03" => Self::NotReady,
            "57P04" => Self::Dropped,
            "57P05" | "25P03" | "25P04" => Self::TimedOut,
            // Our transactions write nothing or write alone: recovery is all that can be in their way.
            "40001" => Self::Recovery,
            _ if code.starts_with("53") => Self::Exhausted,
            _ => return None,
        })
    }

    /// `pg_dump` and `pg_restore` write no SQLSTATE. The words are PostgreSQL's own in English; in another language nothing is
    /// recognised.
    fn of_words(text: &str) -> Option<Self> {
        const WORDS: &[(&str, Circumstance)] = &[
            ("No space left on device", Circumstance::DiskFull),
            ("Disk quota exceeded", Circumstance::DiskFull),
            ("temporary file size exceeds temp_file_limit", Circumstance::Exhausted),
            ("ERROR:  out of memory", Circumstance::Exhausted),
            ("ERROR:  out of shared memory", Circumstance::Exhausted),
            ("conflict with recovery", Circumstance::Recovery),
            ("because of crash of another server process", Circumstance::Crashed),
            ("too many clients already", Circumstance::TooManyConnections),
            (
                "remaining connection slots are reserved",
                Circumstance::TooManyConnections,
            ),
            ("too many connections for", Circumstance::TooManyConnections),
            ("due to administrator command", Circumstance::Ended),
            ("the database system is", Circumstance::NotReady),
            ("canceling statement due to user request", Circumstance::Cancelled),
            ("Input/output error", Circumstance::Broken),
            ("Read-only file system", Circumstance::Broken),
            ("server closed the connection unexpectedly", Circumstance::Broken),
            ("could not receive data from server", Circumstance::Broken),
            ("could not send data to server", Circumstance::Broken),
            ("no connection to the server", Circumstance::Broken),
            ("Connection refused", Circumstance::Broken),
            // As `connection to server at ... failed:` goes on, and not as a function of somebody's might complain.
            ("failed: Connection reset by peer", Circumstance::Broken),
            ("failed: Connection timed out", Circumstance::Broken),
            ("failed: No route to host", Circumstance::Broken),
            ("failed: Network is unreachable", Circumstance::Broken),
            ("failed: timeout expired", Circumstance::Broken),
            (" error: could not translate host name", Circumstance::Broken),
            ("SSL connection has been closed unexpectedly", Circumstance::Broken),
            ("SSL SYSCALL error", Circumstance::Broken),
            ("ERROR:  deadlock detected", Circumstance::Deadlock),
            ("ERROR:  canceling statement due to lock timeout", Circumstance::Locked),
            ("ERROR:  could not obtain lock on", Circumstance::Locked),
            // Where a relation lies; what else cannot be opened may be a file that a definition names.
            ("ERROR:  could not open file \"base/", Circumstance::FileLost),
            ("ERROR:  could not open file \"global/", Circumstance::FileLost),
            ("ERROR:  could not open file \"pg_", Circumstance::FileLost),
        ];
        if LIBRARY.iter().any(|words| text.contains(&format!("ERROR:  {words}"))) {
            return Some(Self::LibraryMissing);
        }
        let known = WORDS.iter().find(|(words, _)| text.contains(words));
        let killed = has_only_died(text).then_some(Self::Killed);
        known.map(|(_, circumstance)| *circumstance).or(killed)
    }

    /// What a person can do about it, where that is not plain.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::DiskFull => "the server's disk is full: make room on it",
            Self::TooManyConnections => {
                "raise the server's max_connections (or the role's or database's CONNECTION LIMIT), or lower backup.jobs"
            }
            Self::Exhausted => "the server ran out of memory or of another of its means",
            Self::Cancelled => {
                "somebody cancelled the statement (pg_cancel_backend); this program sets no time limit on it"
            }
            Self::TimedOut => {
                "this program switches the server's time limits off for its sessions: look at what lies between, such as a pooler"
            }
            Self::Recovery => {
                "the standby had to replay changes that the backup stood in the way of: raise max_standby_streaming_delay or set \
                 hot_standby_feedback there, or back up the primary"
            }
            Self::InUse => {
                "another session is on the database: keep whoever visits every database, such as a monitor, off this one"
            }
            Self::Killed => {
                "the program could not be started or was killed: look at the memory and the processes that this one may have"
            }
            Self::LibraryMissing => "install the package that brings the shared library on this server",
            Self::Deadlock => {
                "another session locked the same tables in another order, such as a migration: try again later"
            }
            Self::Locked => {
                "another session holds a lock on what was to be worked on: end it or wait for it, and begin again"
            }
            Self::FileLost => {
                "the server has lost a file of its own, or its system fails it: look at its log and its disk"
            }
            Self::Broken | Self::Ended | Self::Crashed | Self::NotReady | Self::Dropped => return None,
        })
    }
}

/// By what stands before a program's own words: how it ended, or that it did not begin.
fn is_killed(message: &str) -> bool {
    ["cannot be run: ", "signal: 9 "]
        .iter()
        .any(|beginning| message.starts_with(beginning))
}

/// Of `pg_restore -j`, by its first process: a worker has ended that said nothing. One that failed at its statement ends
/// likewise and has said why, in whatever language.
fn has_only_died(text: &str) -> bool {
    const DIED: &str = " error: a worker process died unexpectedly";
    text.contains(DIED) && text.matches(" error: ").count() == text.matches(DIED).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Said;

    fn program(message: &str) -> Error {
        Error::Program {
            program: "pg_restore".to_owned(),
            message: Said::ours(message),
        }
    }

    #[test]
    fn a_programs_words_tell_a_circumstance_from_what_is_wrong_with_an_archive() {
        let full = "exit status: 1: pg_restore: error: could not execute query: ERROR:  could not extend file \
                    \"base/5/16397\": No space left on device";
        assert_eq!(Circumstance::of(&program(full)), Some(Circumstance::DiskFull));
        let sort =
            "pg_restore: error: could not execute query: ERROR:  temporary file size exceeds temp_file_limit (64kB)";
        assert_eq!(Circumstance::of(&program(sort)), Some(Circumstance::Exhausted));
        let locks = "pg_restore: error: could not execute query: ERROR:  out of shared memory";
        assert_eq!(Circumstance::of(&program(locks)), Some(Circumstance::Exhausted));
        let library = "exit status: 1: pg_restore: error: could not execute query: ERROR:  could not access file \"$libdir/x\": \
                       No such file or directory";
        assert_eq!(Circumstance::of(&program(library)), Some(Circumstance::LibraryMissing));
        for away in [
            "connection to server at \"10.0.0.7\", port 5432 failed: No route to host",
            "could not translate host name \"db\" to address: Name or service not known",
        ] {
            let text = format!("exit status: 1: pg_restore: error: {away}");
            assert_eq!(Circumstance::of(&program(&text)), Some(Circumstance::Broken), "{away}");
        }
        let wrong =
            "exit status: 1: pg_restore: error: could not execute query: ERROR:  could not create unique index \"i\"";
        assert_eq!(Circumstance::of(&program(wrong)), None);
        let lost = "exit status: 1: pg_restore: error: could not execute query: ERROR:  could not open file \"base/5/16397\": \
                    No such file or directory";
        assert_eq!(Circumstance::of(&program(lost)), Some(Circumstance::FileLost));
        let named = "exit status: 1: pg_restore: error: could not execute query: ERROR:  could not open file \"/etc/list\" for \
                     reading: No such file or directory";
        assert_eq!(Circumstance::of(&program(named)), None);
        let locked = "exit status: 1: pg_restore: error: could not execute query: ERROR:  canceling statement due to lock timeout";
        assert_eq!(Circumstance::of(&program(locked)), Some(Circumstance::Locked));
        for disk in ["Input/output error", "Read-only file system"] {
            let read = format!("exit status: 1: pg_restore: error: ERROR:  could not read block 3: {disk}");
            assert_eq!(Circumstance::of(&program(&read)), Some(Circumstance::Broken));
        }
    }

    #[test]
    fn a_program_that_was_killed_or_never_ran_says_nothing_and_one_that_crashed_may() {
        for killed in [
            "signal: 9 (SIGKILL): ",
            "cannot be run: Resource temporarily unavailable (os error 11)",
            "exit status: 1: pg_restore: error: a worker process died unexpectedly",
        ] {
            assert_eq!(
                Circumstance::of(&program(killed)),
                Some(Circumstance::Killed),
                "{killed}"
            );
        }
        assert_eq!(Circumstance::of(&program("signal: 11 (SIGSEGV): ")), None);
        let told = "exit status: 1: pg_restore: error: could not execute query: server closed the connection unexpectedly; \
                    pg_restore: error: a worker process died unexpectedly";
        assert_eq!(Circumstance::of(&program(told)), Some(Circumstance::Broken));
    }

    #[test]
    fn a_worker_that_failed_at_its_statement_was_not_killed() {
        for said in [
            "ERROR:  could not create unique index \"i\"",
            "FEHLER:  kann Unique Index nicht erstellen",
        ] {
            let text = format!(
                "exit status: 1: pg_restore: error: could not execute query: {said}; pg_restore: error: a worker process \
                 died unexpectedly"
            );
            assert_eq!(Circumstance::of(&program(&text)), None, "{said}");
        }
    }

    #[test]
    fn a_states_class_alone_is_enough_only_where_the_whole_class_is_one() {
        assert_eq!(Circumstance::of_sqlstate("53200"), Some(Circumstance::Exhausted));
        assert_eq!(Circumstance::of_sqlstate("57P02"), Some(Circumstance::Crashed));
        assert_eq!(Circumstance::of_sqlstate("58030"), Some(Circumstance::Broken));
        assert_eq!(Circumstance::of_sqlstate("55006"), Some(Circumstance::InUse));
        assert_eq!(Circumstance::of_sqlstate("40P01"), Some(Circumstance::Deadlock));
        assert_eq!(Circumstance::of_sqlstate("55P03"), Some(Circumstance::Locked));
        for lost in ["58000", "58P01"] {
            assert_eq!(Circumstance::of_sqlstate(lost), Some(Circumstance::FileLost));
        }
        for about_contents in ["23505", "22021", "42P01", "55000", "57000", "XX000", "XX001"] {
            assert_eq!(Circumstance::of_sqlstate(about_contents), None, "{about_contents}");
        }
    }
}
