//! A server's error without the values of rows.
//!
//! DETAIL and CONTEXT quote rows and keys, and the message of a data exception quotes the value it is about. Logs,
//! certificates and terminals get the message with the SQLSTATE and the hint, and of a data exception only what precedes
//! the quotation.

use std::error::Error as StdError;
use std::{fmt, io};

use tokio_postgres::error::{DbError, SqlState};

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
    pub fn message(&self) -> Option<&str> {
        self.refusal().map(harmless)
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
        write!(
            formatter,
            "{}: {} ({})",
            error.severity(),
            harmless(error),
            error.code().code()
        )?;
        match error.hint() {
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

/// Classes 22 (data exception) and 23 (integrity constraint violation) may quote values after a colon.
fn harmless(error: &DbError) -> &str {
    without_quoted_value(error.code().code(), error.message())
}

fn without_quoted_value<'message>(sqlstate: &str, message: &'message str) -> &'message str {
    if sqlstate.starts_with("22") || sqlstate.starts_with("23") {
        message.split_once(": \"").map_or(message, |(before, _)| before)
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_exception_does_not_quote_its_value() {
        let message = "invalid input syntax for type integer: \"a secret\"";
        assert_eq!(
            without_quoted_value("22P02", message),
            "invalid input syntax for type integer"
        );
        let other = "relation \"t\" does not exist";
        assert_eq!(without_quoted_value("42P01", other), other);
    }
}
