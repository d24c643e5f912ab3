//! A store's counters in the shape of the status document. The rooms of both know nothing of each other.

use crate::http::status::StoreCounts;
use crate::storage::RequestStats;

impl From<&RequestStats> for StoreCounts {
    fn from(stats: &RequestStats) -> Self {
        let mut counts = Self {
            retries: stats.retries,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            ..Self::default()
        };
        for (operation, outcome, number) in stats.ended.iter() {
            let of_operation = counts.requests.entry(operation.as_str().to_owned()).or_default();
            of_operation.insert(outcome.as_str().to_owned(), number);
        }
        counts
    }
}

impl StoreCounts {
    /// Those of another store on top: a counter goes on when an agent opens its store anew.
    pub(super) fn add(&mut self, more: &Self) {
        self.retries += more.retries;
        self.bytes_sent += more.bytes_sent;
        self.bytes_received += more.bytes_received;
        for (operation, outcomes) in &more.requests {
            let of_operation = self.requests.entry(operation.clone()).or_default();
            for (outcome, number) in outcomes {
                *of_operation.entry(outcome.clone()).or_default() += number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::{MemoryStore, ObjectStore as _};

    #[tokio::test]
    async fn what_a_store_counted_is_shown_by_operation_and_outcome() {
        let store = MemoryStore::new();
        store.put_new("key", Bytes::from_static(b"1234")).await.unwrap();
        store.put_new("key", Bytes::from_static(b"1234")).await.unwrap();
        store.get("nothing").await.unwrap_err();
        let mut counts = StoreCounts::from(&store.stats());
        counts.add(&StoreCounts::default());
        assert_eq!(
            serde_json::to_value(&counts).unwrap(),
            serde_json::json!({
                "requests": { "get": { "not_found": 1 }, "put": { "exists": 1, "ok": 1 } },
                "retries": 0, "bytes_sent": 8, "bytes_received": 0,
            })
        );
    }
}
