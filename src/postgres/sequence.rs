//! Sequence values. They are not transactional: read after the snapshot, they are at or ahead of it, never behind.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{QualifiedName, Sequence};

/// Sequences read in one statement.
const BATCH: usize = 200;

/// The state of each of `names`, in that order.
///
/// # Errors
/// `Error::Query`, also when a sequence was dropped meanwhile.
pub async fn read_sequences(client: &Client, names: &[QualifiedName]) -> Result<Vec<Sequence>> {
    let mut sequences = Vec::with_capacity(names.len());
    for batch in names.chunks(BATCH) {
        let selects: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(position, name)| format!("SELECT {position} AS position, last_value, is_called FROM {name}"))
            .collect();
        let query = format!("{} ORDER BY position", selects.join(" UNION ALL "));
        let rows = client
            .query(&query, &[])
            .await
            .map_err(Error::query("read the sequences"))?;
        for (name, row) in batch.iter().zip(&rows) {
            sequences.push(Sequence {
                name: name.clone(),
                last_value: column(row, "last_value")?,
                is_called: column(row, "is_called")?,
            });
        }
    }
    Ok(sequences)
}
