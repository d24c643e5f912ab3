//! Reading result columns without a panic: what a server sends is never trusted to have the expected type.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::{Error, Result};

/// Column `name` of `row`.
///
/// # Errors
/// `Error::Query` when the column is absent, NULL for a type that cannot be, or of another type.
pub(crate) fn column<'row, T: FromSql<'row>>(row: &'row Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(Error::query(format!("read column {name}")))
}
