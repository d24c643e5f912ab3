//! Exit codes, in one table. `docs/exit-codes.md` is kept equal to it by a test.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    Failure,
    Usage,
    Failed,
    Unverified,
    Damaged,
    Refused,
    Yielded,
    Unfinished,
    Interrupted,
}

impl Exit {
    const ALL: [Self; 10] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Failed,
        Self::Unverified,
        Self::Damaged,
        Self::Refused,
        Self::Yielded,
        Self::Unfinished,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Unverified => 4,
            Self::Damaged => 5,
            Self::Refused => 6,
            Self::Yielded => 7,
            Self::Unfinished => 8,
            Self::Interrupted => crate::signals::INTERRUPTED,
        }
    }

    const fn name_and_meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::Success => (
                "success",
                "Done. A drill certified, a comparison found no difference, a verification found every object sound, \
                 a check found nothing that cannot work. What the store does not let `expire` or `prune` delete is no failure.",
            ),
            Self::Failure => (
                "failure",
                "Not done: a server or the store could not be reached, a program failed, a check found something that \
                 cannot work. The message says what.",
            ),
            Self::Usage => ("usage", "Arguments or settings that cannot work. Nothing was begun."),
            Self::Failed => (
                "failed",
                "A drill did not certify, or a comparison found differences: the backup or its restoration is wrong.",
            ),
            Self::Unverified => (
                "unverified",
                "A drill could not judge: its target, credentials, extensions or locale were missing, or it was \
                 interrupted. Says nothing about the backup.",
            ),
            Self::Damaged => (
                "damaged",
                "An object of the repository is damaged or missing. A chunk is stored anew by the next backup; a manifest is not. A prune stops there.",
            ),
            Self::Refused => (
                "refused",
                "A guard refused, or what would be overwritten or read was not as it must be. Nothing was touched.",
            ),
            Self::Yielded => (
                "yielded",
                "A backup gave way: definitions kept changing, locks were not to be had in time, others waited for it, \
                 the server is shutting down, it took too long, or it is another agent's turn. Try again later.",
            ),
            Self::Unfinished => (
                "unfinished",
                "`trigger --wait` waited as long as `--timeout` says, and the agent's run goes on. What comes of it is not known yet.",
            ),
            Self::Interrupted => ("interrupted", "Stopped by SIGINT or SIGTERM."),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table of `docs/exit-codes.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("\n| code | name | meaning |\n|---|---|---|\n");
    for exit in Exit::ALL {
        let (name, meaning) = exit.name_and_meaning();
        let _ = writeln!(text, "| {} | {name} | {meaning} |", exit.code());
    }
    text
}
