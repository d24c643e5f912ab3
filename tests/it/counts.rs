//! The server counts for itself what it sends: a row that got lost on the way to us is noticed by that count alone, since both
//! the fingerprint and the stored rows are of what arrived.

use kubebackup::postgres::connect;
use kubebackup::postgres::copy::{copy_out, rows};

use crate::support::World;
use crate::support::library::source_options;

#[tokio::test]
async fn rows_that_are_fewer_or_more_than_the_server_has_sent_are_an_error_and_not_a_table() {
    let world = World::start();
    let session = connect(&source_options(&world), "counts").await.unwrap();
    // One COPY after the other on a session, a large row and an empty table among them.
    for (query, expected) in [
        ("SELECT generate_series(1, 5000)", 5000),
        ("SELECT 1 WHERE false", 0),
        ("SELECT repeat('x', 3000000) FROM generate_series(1, 3)", 3),
    ] {
        for difference in [0, -1, 1] {
            let statement = format!("COPY ({query}) TO STDOUT");
            let mut messages = copy_out(&session, &statement, "read").await.unwrap();
            let mut arrived = 0;
            while let Some(message) = messages.next().await.unwrap() {
                arrived += i64::try_from(rows(&message).count()).unwrap();
            }
            assert_eq!(arrived, expected, "{query}");
            let Ok(claimed) = u64::try_from(arrived + difference) else {
                continue;
            };
            let outcome = messages.finish(claimed).await;
            if difference == 0 {
                outcome.unwrap();
            } else {
                let error = outcome.unwrap_err().to_string();
                let expected = format!("read: {claimed} rows arrived of {expected} that the server has sent");
                assert!(error.contains(&expected), "{error}");
            }
        }
    }
}
