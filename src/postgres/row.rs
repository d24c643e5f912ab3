//! Reading result columns without a panic: what a server sends is never trusted to have the expected type.

use std::error::Error as _;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::{Error, Result};

/// Column `name` of `row`.
///
/// # Errors
/// `Error::Query` when the column is absent, NULL for a type that cannot be, or of another type; `Error::Unsupported` for
/// text that is no UTF-8, which names in an `SQL_ASCII` database may be.
pub(crate) fn column<'row, T: FromSql<'row>>(row: &'row Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(|error| {
        if error
            .source()
            .is_some_and(<dyn std::error::Error>::is::<std::str::Utf8Error>)
        {
            Error::Unsupported {
                object: format!("an object whose {name} is no UTF-8"),
                reason: "the database's encoding is SQL_ASCII and a manifest is text; rename it".to_owned(),
            }
        } else {
            Error::query(format!("read column {name}"))(error)
        }
    })
}
