//! A server's error without the values of rows.
//!
//! DETAIL and CONTEXT quote rows and keys, the message of a data exception quotes the value it is about, and what a function
//! raises may be anything. Logs, certificates and terminals get the message with the SQLSTATE and the hint; where it may be
//! about a value, both as far as `told` knows their shape.

use std::error::Error as StdError;
use std::{fmt, io};

use tokio_postgres::error::{DbError, SqlState};

use super::told::{self, KEPT_BACK};

/// What `tokio_postgres` returned, or why there is no connection; only harmless parts are ever shown.
pub struct ServerError(Cause);

enum Cause {
    Driver(Box<tokio_postgres::Error>),
    /// The name means nothing, or nobody takes the connection.
    Socket(io::Error),
}

impl ServerError {
    /// The SQLSTATE, where the server answered.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        self.driver()?.code()
    }

    /// The connection ended, or what came over it was no answer.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.driver()
            .is_none_or(|error| error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<io::Error>))
    }

    /// The server's message as far as it quotes no value.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.refusal().map(|error| Words::of(error).message())
    }

    fn driver(&self) -> Option<&tokio_postgres::Error> {
        match &self.0 {
            Cause::Driver(error) => Some(error),
            Cause::Socket(_) => None,
        }
    }

    fn refusal(&self) -> Option<&DbError> {
        self.driver()?.as_db_error()
    }
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(Cause::Driver(Box::new(error)))
    }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self(Cause::Socket(error))
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match &self.0 {
            Cause::Driver(error) => error,
            Cause::Socket(_) => return formatter.write_str("error connecting to server"),
        };
        let Some(error) = error.as_db_error() else {
            return error.fmt(formatter);
        };
        let words = Words::of(error);
        write!(
            formatter,
            "{}: {} ({})",
            error.severity(),
            words.message(),
            error.code().code()
        )?;
        match words.hint() {
            Some(hint) => write!(formatter, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServerError({self})")
    }
}

impl StdError for ServerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // A refusal of the server has been said above; what lies under a broken connection has not.
        match &self.0 {
            Cause::Driver(error) if error.as_db_error().is_some() => None,
            Cause::Driver(error) => error.source(),
            Cause::Socket(error) => Some(error),
        }
    }
}

/// What the server said, with what tells whose words they are.
#[derive(Clone, Copy)]
struct Words<'error> {
    sqlstate: &'error str,
    message: &'error str,
    hint: Option<&'error str>,
    context: Option<&'error str>,
}

/// Whose words a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// The server's, about an object or itself.
    Server,
    /// The server's, about a value or a row: classes 22 (data exception) and 23 (integrity constraint violation).
    ServerOfValues,
    /// A function's that somebody wrote: its own classes, and whatever PL/pgSQL raises under any other.
    Function,
}

impl<'error> Words<'error> {
    fn of(error: &'error DbError) -> Self {
        Self {
            sqlstate: error.code().code(),
            message: error.message(),
            hint: error.hint(),
            context: error.where_(),
        }
    }

    fn speaker(self) -> Speaker {
        let first = self.context.and_then(|context| context.lines().next());
        if first.is_some_and(|line| line.ends_with(" RAISE")) {
            return Speaker::Function;
        }
        match self.sqlstate.get(..2).unwrap_or_default() {
            "P0" | "2F" | "38" | "39" => Speaker::Function,
            "22" | "23" => Speaker::ServerOfValues,
            _ => Speaker::Server,
        }
    }

    fn message(self) -> String {
        match self.speaker() {
            Speaker::Server => self.message.to_owned(),
            Speaker::ServerOfValues => {
                told::message(self.message).unwrap_or_else(|| told::without_quotations(self.message))
            }
            Speaker::Function => KEPT_BACK.to_owned(),
        }
    }

    fn hint(self) -> Option<String> {
        match self.speaker() {
            Speaker::Server => self.hint.map(str::to_owned),
            Speaker::ServerOfValues => self.hint.and_then(told::hint),
            Speaker::Function => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'error>(sqlstate: &'error str, message: &'error str) -> Words<'error> {
        Words {
            sqlstate,
            message,
            hint: None,
            context: None,
        }
    }

    #[test]
    fn a_data_exception_does_not_quote_its_value() {
        for (message, told) in [
            (
                "invalid input syntax for type integer: \"a secret\"",
                "invalid input syntax for type integer: ...",
            ),
            (
                "value \"a secret\" is out of range for type integer",
                "value \"...\" is out of range for type integer",
            ),
            ("of no known shape: a secret", "of no known shape"),
            ("division by zero", "division by zero"),
        ] {
            assert_eq!(words("22P02", message).message(), told);
        }
        let other = "relation \"t\" does not exist";
        assert_eq!(words("42P01", other).message(), other);
    }

    #[test]
    fn what_a_function_raises_is_not_told_under_whatever_state() {
        for sqlstate in ["P0001", "38000", "42P01", "23505"] {
            let raised = Words {
                hint: Some("a secret"),
                context: Some("PL/pgSQL function f(text) line 1 at RAISE\nSQL statement \"SELECT 1\""),
                ..words(sqlstate, "relation \"a secret\" does not exist")
            };
            assert_eq!((raised.message(), raised.hint()), (KEPT_BACK.to_owned(), None));
        }
        assert_eq!(words("P0001", "a secret").message(), KEPT_BACK);
    }

    #[test]
    fn a_hint_comes_with_a_message_about_an_object_and_else_where_it_is_known() {
        let hinted = |sqlstate, hint| Words {
            hint: Some(hint),
            ..words(sqlstate, "m")
        };
        assert_eq!(hinted("42883", "any").hint().as_deref(), Some("any"));
        assert_eq!(hinted("22P02", "any").hint(), None);
        let known = "Perhaps you need a different \"datestyle\" setting.";
        assert_eq!(hinted("22008", known).hint().as_deref(), Some(known));
    }
}
