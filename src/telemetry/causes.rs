//! An error with its causes in one line, as people, logs and the status get it.

use std::error::Error;

/// The causes in order, joined by colons. A cause that its parent's text already ends with is left out; of a cause only
/// the first line is told, since the lines after it may quote rows (`DETAIL: Key (email)=(...)`).
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let cause = error.to_string();
        let line = cause.lines().next().unwrap_or_default();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(line) {
            text = format!("{text}: {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_said_twice() {
        let error = anyhow::anyhow!("no route\nDETAIL: a row's value")
            .context("connect to db: no route")
            .context("back up");
        assert_eq!(chain(error.as_ref()), "back up: connect to db: no route");
    }
}
