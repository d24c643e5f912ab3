//! An error as the user sees it: once, its causes joined by colons, and a hint below it.

use std::io::{self, Write as _};

use super::exit::Exit;
use super::meaning::meaning;
use crate::telemetry::{causes, plain};

/// Prints the error to stderr and says the exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        // Whoever read our output has gone; there is nobody to tell.
        return Exit::Failure;
    }
    let (exit, hint) = meaning(error);
    complain(&causes::chain(error.as_ref()), hint);
    exit
}

/// Prints one error to stderr, as every verb does.
pub(super) fn complain(text: &str, hint: Option<&str>) {
    let hint = hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
    let _ = write!(io::stderr(), "error: {}\n{hint}", plain::lines(text));
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
