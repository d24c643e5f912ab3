//! One object of every class that `pg_identify_object` knows, altered or dropped on the restored side in turn.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_faithful_dump_and_restore_of_every_class_shows_no_difference() {
    let pair = Pair::with(EVERY_CLASS).await;
    let expected = pair.inventory("source").await;
    let found = pair.inventory("target").await;
    let checks = compare_inventory(&expected, &found);
    assert_eq!(failed(&checks), [""; 0], "{checks:#?}");
    let scratch = pair.scratch_definitions().await;
    assert_eq!(pair.differences("target", &scratch).await, []);
    let left = pair
        .cluster
        .sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ 'scratch'")
        .unwrap();
    assert_eq!(left, "");
}
