//! What an error means for whoever ran the verb: the exit code of its class, and a hint where there is one.

use std::fmt::Write as _;

use super::exit::Exit;
use super::trigger::StillRunning;
use crate::agent::{self, Class, Next, Severity};
use crate::http::status::Outcome;

/// Exit code and what to do about the first known error of the chain.
pub(super) fn meaning(error: &anyhow::Error) -> (Exit, Option<&'static str>) {
    match error.downcast_ref::<agent::Error>() {
        Some(error) => {
            let meaning = error.meaning();
            (exit_of_class(meaning.class), meaning.hint)
        }
        None if error.is::<StillRunning>() => (Exit::Unfinished, None),
        None => (Exit::Failure, None),
    }
}

const fn exit_of_class(class: Class) -> Exit {
    match class {
        Class::Unavailable | Class::Unknown | Class::Operator => Exit::Failure,
        Class::Settings => Exit::Usage,
        Class::Refused => Exit::Refused,
        Class::Damaged | Class::LostChunk => Exit::Damaged,
        Class::GaveWay | Class::TooLong => Exit::Yielded,
        Class::Interrupted => Exit::Interrupted,
    }
}

/// What the outcome of an agent's run means for whoever waited for it; `is_drill` tells whose run it was.
pub(super) const fn exit_of_outcome(outcome: Outcome, is_drill: bool) -> Exit {
    match outcome {
        Outcome::Succeeded | Outcome::Certified => Exit::Success,
        Outcome::Failed if is_drill => Exit::Failed,
        Outcome::Failed => Exit::Failure,
        Outcome::Unverified => Exit::Unverified,
        Outcome::Yielded | Outcome::Skipped => Exit::Yielded,
        Outcome::Interrupted => Exit::Interrupted,
    }
}

/// The table of `docs/operations.md`: what the backup agent does about an error.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "\n| what happened | outcome | log level | the agent tries again | exit code of `backup` |\n|---|---|---|---|---|\n",
    );
    for class in Class::ALL {
        let next = match class.next() {
            Next::Retry => "after `backup_agent.retry_first`, then ever later up to `backup_agent.retry_max`",
            Next::Late => "after `backup_agent.retry_max`",
            Next::Schedule => "at the next scheduled time",
            Next::Never => "when it starts again",
        };
        let severity = match class.severity() {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        };
        let _ = writeln!(
            text,
            "| {} | `{}` | {severity} | {next} | {} |",
            class.text(),
            class.outcome().as_str(),
            exit_of_class(class).code()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup;

    #[test]
    fn the_exit_code_follows_from_the_class_of_the_first_known_error() {
        let error: agent::Error = backup::Error::Cancelled.into();
        assert_eq!(meaning(&error.into()).0, Exit::Interrupted);
        assert_eq!(meaning(&anyhow::anyhow!("?")), (Exit::Failure, None));
    }
}
