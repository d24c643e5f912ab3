//! Connection strings in libpq's two forms, `key=value` and `postgres://`, read into parameters.
//!
//! tokio-postgres's own parser knows neither `sslmode=verify-full` nor `passfile`, so this one does the reading. What
//! libpq knows and this program does not support is refused by name rather than ignored: an ignored parameter could lead
//! to another server than the one that was meant.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{Error, Result};

/// Parameters that have a meaning here.
const SUPPORTED: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "passfile",
    "dbname",
    "connect_timeout",
    "sslmode",
    "sslrootcert",
];

/// Harmless ones: this program sets its own name and settings.
const IGNORED: &[&str] = &["application_name", "fallback_application_name", "client_encoding"];

/// A parsed connection string. It may hold a password, so `Debug` shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dsn {
    parameters: BTreeMap<String, String>,
}

impl Dsn {
    /// Reads either form; an empty text has no parameters.
    ///
    /// # Errors
    /// `Error::Settings` naming what cannot be read, never its value.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let uri = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"));
        let pairs = match uri {
            Some(rest) => parse_uri(rest)?,
            None => parse_pairs(text)?,
        };
        let mut parameters = BTreeMap::new();
        for (key, value) in pairs {
            if SUPPORTED.contains(&key.as_str()) {
                // libpq takes an empty value for one that is not given.
                if !value.is_empty() {
                    parameters.insert(key, value);
                }
            } else if !IGNORED.contains(&key.as_str()) {
                return Err(unsupported(&key));
            }
        }
        Ok(Self { parameters })
    }

    /// A parameter's value by libpq's name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parameters.get(key).map(String::as_str)
    }

    #[must_use]
    pub fn has_password(&self) -> bool {
        self.parameters.contains_key("password")
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.parameters.keys()).finish()
    }
}

fn unsupported(key: &str) -> Error {
    Error::Settings(format!(
        "the connection string's parameter '{key}' is not supported; supported are {}",
        SUPPORTED.join(", ")
    ))
}

/// `key = value`, blanks around, values quoted by `'` with backslash escapes.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| {
            Error::Settings("the connection string needs the form key=value or postgres://...".to_owned())
        })?;
        let (value, after) = parse_value(after.trim_start(), key.trim())?;
        pairs.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn parse_value<'a>(text: &'a str, key: &str) -> Result<(String, &'a str)> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[position + 1..])),
            _ if !quoted && character.is_whitespace() => return Ok((value, &body[position..])),
            _ => value.push(character),
        }
    }
    if quoted {
        return Err(Error::Settings(format!(
            "the connection string's value of '{key}' lacks its closing quote"
        )));
    }
    Ok((value, ""))
}

/// `[user[:password]@][host[:port]][/dbname][?key=value&...]` after the scheme, percent-encoded.
fn parse_uri(rest: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let address = match authority.rsplit_once('@') {
        Some((who, address)) => {
            let (user, password) = who.split_once(':').unwrap_or((who, ""));
            pairs.push(("user".to_owned(), decode(user)?));
            pairs.push(("password".to_owned(), decode(password)?));
            address
        }
        None => authority,
    };
    let (host, port) = split_address(address);
    pairs.push(("host".to_owned(), decode(host)?));
    pairs.push(("port".to_owned(), port.to_owned()));
    pairs.push(("dbname".to_owned(), decode(database)?));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(key)?, decode(value)?));
    }
    Ok(pairs)
}

/// Host and port; an IPv6 address stands in brackets.
fn split_address(address: &str) -> (&str, &str) {
    if let Some((host, after)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, after.strip_prefix(':').unwrap_or(after));
    }
    address.split_once(':').unwrap_or((address, ""))
}

fn decode(text: &str) -> Result<String> {
    let broken = || Error::Settings("the connection string holds a broken percent escape".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = after.get(..2).ok_or_else(broken)?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).map_err(|_| broken())?;
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let dsn = Dsn::parse(text).unwrap();
        let pairs = dsn.parameters.iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn pairs_are_read_by_libpqs_quoting_rules() {
        assert_eq!(shown("host=db port = 5433"), "host=db port=5433");
        assert_eq!(shown(r"user='it\'s me' dbname=a\ b"), "dbname=a b user=it's me");
        assert_eq!(shown("user='' host=db"), "host=db");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_uri_is_percent_decoded() {
        assert_eq!(
            shown("postgresql://me%40home:p%2Fw@[::1]:5433/sh%20op?sslmode=verify-full"),
            "dbname=sh op host=::1 password=p/w port=5433 sslmode=verify-full user=me@home"
        );
        assert_eq!(shown("postgres://db"), "host=db");
        assert_eq!(
            shown("postgres://%2Frun%2Fpg/shop?user=x"),
            "dbname=shop host=/run/pg user=x"
        );
        assert_eq!(shown("postgres:///shop?host=/run/pg"), "dbname=shop host=/run/pg");
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_its_value() {
        for wrong in ["shop", "host='db", "postgres://a%2", "postgres://%ff@x"] {
            assert!(Dsn::parse(wrong).is_err(), "{wrong}");
        }
        let refused = Dsn::parse("host=db sslkey=secret-path").unwrap_err().to_string();
        assert!(
            refused.contains("'sslkey'") && !refused.contains("secret-path"),
            "{refused}"
        );
    }

    #[test]
    fn debug_shows_names_alone() {
        let dsn = Dsn::parse("user=me password=hunter2").unwrap();
        assert_eq!(format!("{dsn:?}"), r#"{"password", "user"}"#);
        assert!(dsn.has_password());
    }
}
