//! COPY statements for a table, and the stream of rows that one gives.
//!
//! Both sides of a comparison build their statement here, so that the text they hash is the same by construction.
//! COPY runs in the source database's own encoding on both sides: then the server converts nothing on the way out, and
//! `SQL_ASCII` contents pass unharmed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio_postgres::CopyOutStream;
use tokio_postgres::error::SqlState;

use super::connect::Session;
use super::copies::{Completed, Copies};
use super::error::{Error, Result};
use crate::content::{QualifiedName, RowTally, TableDescription, TableSource, quote_identifier, quote_literal};

/// Which rows of a table to copy out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRange {
    All,
    /// Heap blocks from `first` up to but not including `end`; without `end`, all that follow.
    Blocks {
        first: u32,
        end: Option<u32>,
    },
}

impl CopyRange {
    /// The `WHERE` that chooses these rows, after a blank; nothing where it is all of them.
    fn condition(self) -> String {
        let Self::Blocks { first, end } = self else {
            return String::new();
        };
        let upper = end.map_or_else(String::new, |end| format!(" AND ctid < '({end},0)'"));
        format!(" WHERE ctid >= '({first},0)'{upper}")
    }
}

/// `COPY ... TO STDOUT` of the stored columns.
#[must_use]
pub fn copy_out_statement(table: &TableDescription, range: CopyRange, encoding: &str) -> String {
    let what = match (&table.source, range) {
        (TableSource::Table, CopyRange::All) => format!("{}{}", table.name, column_list(&table.columns)),
        (TableSource::Table, CopyRange::Blocks { .. }) => {
            format!(
                "(SELECT {} FROM ONLY {}{})",
                select_list(&table.columns),
                table.name,
                range.condition()
            )
        }
        (TableSource::ExtensionConfiguration { condition, .. }, _) => {
            format!(
                "(SELECT {} FROM ONLY {} {condition})",
                select_list(&table.columns),
                table.name
            )
        }
    };
    format!(
        "COPY {what} TO STDOUT (FORMAT text, ENCODING {})",
        quote_literal(encoding)
    )
}

/// `COPY ... TO STDOUT` of a whole partition tree through its root, in the column order of its leaves' entries.
#[must_use]
pub fn copy_out_tree_statement(root: &QualifiedName, columns: &[String], encoding: &str) -> String {
    format!(
        "COPY (SELECT {} FROM {root}) TO STDOUT (FORMAT text, ENCODING {})",
        select_list(columns),
        quote_literal(encoding)
    )
}

/// `COPY ... TO STDOUT` of the generated columns alone, for their aggregate; none when the table has none.
#[must_use]
pub fn copy_generated_statement(table: &TableDescription, range: CopyRange, encoding: &str) -> Option<String> {
    (!table.generated_columns.is_empty()).then(|| {
        format!(
            "COPY (SELECT {} FROM ONLY {}{}) TO STDOUT (FORMAT text, ENCODING {})",
            select_list(&table.generated_columns),
            table.name,
            range.condition(),
            quote_literal(encoding)
        )
    })
}

/// Count and fingerprint of the answer to a user's query.
///
/// The query is read by the server as a statement of its own first. What stands there by itself cannot end the
/// parenthesis of a `COPY` and go on behind it, with `TO PROGRAM` for example.
///
/// # Errors
/// As [`tally_of`]; the server's when it is not one statement.
pub async fn tally_of_query(session: &Session, query: &str, doing: &str) -> Result<RowTally> {
    let query = query.trim().trim_end_matches(';');
    let prepared = session.client.prepare(query).await;
    prepared.map_err(Error::query(doing.to_owned()))?;
    tally_of(session, &copy_query_statement(query), doing).await
}

fn copy_query_statement(query: &str) -> String {
    // The line break keeps a comment at the query's end from swallowing what follows.
    format!("COPY ({query}\n) TO STDOUT (FORMAT text)")
}

/// `COPY ... FROM STDIN` into the table itself, or into the root of its tree where it must go through that.
#[must_use]
pub fn copy_in_statement(table: &TableDescription, encoding: &str) -> String {
    let into = table.load_through.as_ref().unwrap_or(&table.name);
    format!(
        "COPY {into}{} FROM STDIN (FORMAT text, ENCODING {})",
        column_list(&table.columns),
        quote_literal(encoding)
    )
}

/// A running `COPY ... TO STDOUT`. Dropped before its end, it leaves its session unfit for further use.
pub struct CopyMessages {
    stream: Pin<Box<CopyOutStream>>,
    doing: String,
    copies: Arc<Copies>,
    /// Of the session, when this one began.
    before: Completed,
}

/// The server's count follows its last row at once.
const COUNT_COMES_WITHIN: Duration = Duration::from_secs(30);

/// Starts a `COPY ... TO STDOUT`; `doing` says in errors what for.
///
/// # Errors
/// `Error::Query` with what `doing` says.
pub async fn copy_out(session: &Session, statement: &str, doing: impl Into<String>) -> Result<CopyMessages> {
    let doing = doing.into();
    let (copies, before) = (Arc::clone(&session.copies), session.copies.completed());
    let stream = session.client.copy_out(statement).await;
    let stream = stream.map_err(Error::query(doing.clone()))?;
    Ok(CopyMessages {
        stream: Box::pin(stream),
        doing,
        copies,
        before,
    })
}

impl CopyMessages {
    /// The next message: one or more whole rows, each ended by a newline. None after the last; then [`finish`](Self::finish)
    /// asks whether that was all.
    ///
    /// # Errors
    /// `Error::Query` when the server ends the stream with an error; `Error::Protocol` when a message does not end at a
    /// row.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        // What was given before has been dealt with.
        self.copies.take();
        let message = self
            .stream
            .try_next()
            .await
            .map_err(|error| match refused_row(&error) {
                Some(reason) => Error::Unsupported {
                    object: format!("what was being read ({})", self.doing),
                    reason: reason.to_owned(),
                },
                None => Error::query(self.doing.clone())(error),
            })?;
        match message {
            Some(message) if message.last() != Some(&b'\n') => Err(Error::Protocol(format!(
                "{}: a COPY message does not end at a row",
                self.doing
            ))),
            message => Ok(message),
        }
    }

    /// Whether `rows`, counted by whoever read them, are as many as the server says that it has sent: it counts for itself,
    /// and nothing between there and here can lose a row without this being noticed.
    ///
    /// # Errors
    /// `Error::Protocol` when they are not, `Error::NoCount` when the server does not say.
    pub async fn finish(self, rows: u64) -> Result<()> {
        let said = tokio::time::timeout(COUNT_COMES_WITHIN, self.copies.rows_after(self.before)).await;
        match said.ok().flatten() {
            Some(said) if said == rows => Ok(()),
            Some(said) => Err(Error::Protocol(format!(
                "{}: {rows} rows arrived of {said} that the server has sent",
                self.doing
            ))),
            None => Err(Error::NoCount {
                doing: self.doing.clone(),
            }),
        }
    }
}

impl Drop for CopyMessages {
    fn drop(&mut self) {
        self.copies.take();
    }
}

/// Fact 6: the server cannot make a row's text longer than 1 GB; a value whose own text is longer it refuses with an
/// internal error.
fn refused_row(error: &tokio_postgres::Error) -> Option<&'static str> {
    let refusal = error.as_db_error()?;
    let is_too_long = *refusal.code() == SqlState::PROGRAM_LIMIT_EXCEEDED
        || refusal.message().starts_with("invalid memory alloc request size");
    is_too_long.then_some(
        "a row is longer than 1 GB as COPY text, which PostgreSQL cannot send; shorten it, or leave the table out by \
         source.exclude_tables",
    )
}

/// Count and fingerprint of a COPY's rows, none of which is kept.
///
/// # Errors
/// As [`copy_out`] and [`CopyMessages::next`].
pub async fn tally_of(session: &Session, statement: &str, doing: impl Into<String>) -> Result<RowTally> {
    let mut tally = RowTally::default();
    let mut messages = copy_out(session, statement, doing).await?;
    while let Some(message) = messages.next().await? {
        for row in rows(&message) {
            tally.add_row(row);
        }
    }
    messages.finish(tally.rows).await?;
    Ok(tally)
}

/// The rows of one COPY message, each with its newline. In text format a newline inside a value is escaped.
pub fn rows(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (row, after) = rest.split_at(end);
        rest = after;
        Some(row)
    })
}

fn column_list(columns: &[String]) -> String {
    if columns.is_empty() {
        String::new()
    } else {
        format!(" ({})", select_list(columns))
    }
}

fn select_list(columns: &[String]) -> String {
    columns
        .iter()
        .map(|column| quote_identifier(column))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> TableDescription {
        TableDescription {
            name: QualifiedName::new("public", "t"),
            source: TableSource::Table,
            columns: columns.iter().map(ToString::to_string).collect(),
            generated_columns: Vec::new(),
            load_through: None,
        }
    }

    #[test]
    fn a_table_without_columns_takes_no_list() {
        assert_eq!(
            copy_out_statement(&table(&[]), CopyRange::All, "UTF8"),
            "COPY \"public\".\"t\" TO STDOUT (FORMAT text, ENCODING 'UTF8')"
        );
    }

    #[test]
    fn the_last_part_has_no_upper_bound() {
        let range = CopyRange::Blocks { first: 32, end: None };
        assert_eq!(
            copy_out_statement(&table(&["a", "b\"c"]), range, "LATIN1"),
            "COPY (SELECT \"a\", \"b\"\"c\" FROM ONLY \"public\".\"t\" WHERE ctid >= '(32,0)') \
             TO STDOUT (FORMAT text, ENCODING 'LATIN1')"
        );
    }

    #[test]
    fn generated_columns_come_from_the_same_blocks() {
        let mut table = table(&["a"]);
        assert_eq!(copy_generated_statement(&table, CopyRange::All, "UTF8"), None);
        table.generated_columns = vec!["g".to_owned()];
        let range = CopyRange::Blocks {
            first: 32,
            end: Some(64),
        };
        for (range, condition) in [
            (range, " WHERE ctid >= '(32,0)' AND ctid < '(64,0)'"),
            (CopyRange::All, ""),
        ] {
            assert_eq!(
                copy_generated_statement(&table, range, "UTF8").unwrap(),
                format!(
                    "COPY (SELECT \"g\" FROM ONLY \"public\".\"t\"{condition}) TO STDOUT (FORMAT text, ENCODING 'UTF8')"
                )
            );
        }
    }

    #[test]
    fn a_message_splits_into_its_rows() {
        let split: Vec<&[u8]> = rows(b"1\ta\n2\tb\\nc\n").collect();
        assert_eq!(split, [b"1\ta\n".as_slice(), b"2\tb\\nc\n"]);
        assert_eq!(rows(b"\n").count(), 1);
        assert_eq!(rows(b"").count(), 0);
    }
}
