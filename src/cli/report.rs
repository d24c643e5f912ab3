//! An error as the user sees it: once, its causes joined by colons, and a hint below it.

use std::io::{self, Write as _};

use super::exit::Exit;
use super::meaning::meaning;

/// Prints the error to stderr and says the exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        // Whoever read our output has gone; there is nobody to tell.
        return Exit::Failure;
    }
    let meaning = meaning(error);
    let hint = meaning.hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
    let _ = write!(io::stderr(), "error: {}\n{hint}", chain(error));
    meaning.exit
}

/// The causes in order. A cause that its parent's text already ends with is left out; of a cause only the first line is
/// told, since the lines after it may quote rows (`DETAIL: Key (email)=(...)`).
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let line = cause.lines().next().unwrap_or_default();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(line) {
            text = format!("{text}: {line}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_said_twice() {
        let error = anyhow::anyhow!("no route\nDETAIL: a row's value")
            .context("connect to db: no route")
            .context("back up");
        assert_eq!(chain(&error), "back up: connect to db: no route");
    }
}
