//! Each loss freezes, its acceptance thaws, and everyday changes do neither.

use kubebackup::repository::drift::DriftOutcome;

use super::{Scene, told};
use crate::support::library::{backup_options, memory_repository, try_backup};
use crate::support::{World, WorldOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_without_where_freezes_until_it_is_accepted_and_no_certificate_thaws_it() {
    let scene = Scene::new().await;
    assert!(!scene.is_frozen().await);
    scene.sql("DELETE FROM orders");
    let deleted = scene.backup().await;
    let expected = "table public.orders of shop fell from 5,000 rows (184 KiB) to 0 rows (0 B)";
    assert_eq!(told(deleted.drift.as_ref().unwrap()), [expected]);
    assert!(scene.is_frozen().await);

    scene.certify(&deleted.backup_id).await;
    assert!(scene.is_frozen().await, "restorable is not wanted");
    // Measured by the loss itself, the next one would look as usual.
    let next = scene.backup().await;
    assert_eq!(told(next.drift.as_ref().unwrap()), [expected]);

    scene.accept(&deleted.backup_id).await;
    assert!(scene.is_frozen().await, "the other one is open yet");
    scene.accept(&next.backup_id).await;
    assert!(!scene.is_frozen().await);
    let after = scene.drift().await;
    assert_eq!((after.outcome, after.total), (DriftOutcome::Compared, 0));
    assert!(!scene.is_frozen().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_tables_and_objects_and_a_truncated_schema_freeze_each() {
    for (statements, expected) in [
        (
            "DROP TABLE settings",
            vec!["table public.settings of shop is gone, with 20 rows (51 B)"],
        ),
        (
            "TRUNCATE billing.rates, billing.terms",
            vec!["the tables of schema billing of shop fell from 70 rows (192 B) to 0 rows (0 B)"],
        ),
        (
            "DROP SCHEMA billing CASCADE",
            vec![
                "table billing.terms of shop is gone, with 40 rows (111 B)",
                "table billing.rates of shop is gone, with 30 rows (81 B)",
                "1 of type 'function' of shop gone: billing.fee(integer)",
                "1 of type 'schema' of shop gone: billing",
            ],
        ),
        (
            "DROP VIEW latest; ALTER TABLE orders DROP COLUMN note",
            vec![
                "1 of type 'table column' of shop gone: public.orders.note",
                "1 of type 'view' of shop gone: public.latest",
            ],
        ),
    ] {
        let scene = Scene::new().await;
        scene.sql(statements);
        let backup = scene.backup().await;
        let drift = backup.drift.unwrap();
        let mut told = told(&drift);
        // Dropping the column takes more than half of the bytes, but there is no mebibyte of them.
        told.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(told, expected, "{statements}");
        assert!(scene.is_frozen().await, "{statements}");
        scene.accept(&backup.backup_id).await;
        assert!(!scene.is_frozen().await, "{statements}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_changes_freeze_nothing() {
    let scene = Scene::new().await;
    scene.sql(
        "DELETE FROM orders WHERE id % 3 = 0; INSERT INTO settings VALUES (21); DELETE FROM settings WHERE id < 20;
         UPDATE orders SET note = 'x' WHERE id < 100; CREATE TABLE fresh (id int); TRUNCATE billing.rates;
         DROP VIEW latest; CREATE VIEW latest AS SELECT 1 AS max; ALTER TABLE orders ADD COLUMN more int;
         CREATE INDEX by_note ON orders (note);",
    );
    let drift = scene.drift().await;
    assert_eq!((drift.outcome, told(&drift)), (DriftOutcome::Compared, Vec::new()));
    scene.sql("DROP INDEX by_note; ALTER TABLE orders RENAME COLUMN more TO less; ALTER TABLE orders DROP COLUMN less");
    assert_eq!(
        told(&scene.drift().await),
        Vec::<String>::new(),
        "the certified one has none of it"
    );
    assert!(!scene.is_frozen().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_new_rule_leaves_out_and_tables_that_may_go_are_told_apart() {
    let scene = Scene::new().await;
    let mut options = backup_options(&scene.world);
    options.exclude_tables = vec!["public.settings".parse().unwrap()];
    let excluded = try_backup(&scene.world, &scene.repository, &options).await.unwrap();
    assert_eq!(
        told(&excluded.manifest.drift.unwrap()),
        ["table public.settings of shop is gone (now: excluded), with 20 rows (51 B)"]
    );
    options.drift.ignore_tables = vec!["public.*".parse().unwrap()];
    scene.sql("DROP TABLE orders CASCADE");
    let ignored = try_backup(&scene.world, &scene.repository, &options).await.unwrap();
    assert_eq!(told(&ignored.manifest.drift.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_backup_has_nothing_to_be_compared_with_and_a_dropped_database_is_noticed() {
    let world = World::with(WorldOptions {
        databases: &["shop", "crm"],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS n");
    let repository = memory_repository().await;
    let mut options = backup_options(&world);
    options.databases = None;
    let first = try_backup(&world, &repository, &options).await.unwrap();
    assert_eq!(first.manifest.drift.unwrap().outcome, DriftOutcome::NoBaseline);
    assert_eq!(repository.frozen("production").await.unwrap(), None);

    // Before the first certificate the newest one has to do.
    world.source.sql("postgres", "DROP DATABASE crm").unwrap();
    let second = try_backup(&world, &repository, &options).await.unwrap().manifest;
    let drift = second.drift.unwrap();
    assert_eq!(told(&drift), ["database crm is gone, with 0 rows (0 B)"]);
    assert!(!drift.baseline.unwrap().certified);
    let frozen = repository.frozen("production").await.unwrap().unwrap();
    assert_eq!(frozen.drifted, [second.backup_id]);
}

/// A mebibyte and more of rows whose text compresses.
const LETTERS: &str = "CREATE TABLE letters AS
    SELECT n AS id, 'Dear customer ' || n % 500 || ', your order ' || n || ' left us on ' || date '2026-01-01' + n % 300 AS body
    FROM generate_series(1, 30000) n;
    CREATE EXTENSION pgcrypto;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_encrypted_in_place_freeze_although_none_is_missing() {
    for encrypted in [
        "UPDATE letters SET body = encode(encrypt_iv(body::bytea, 'key', decode(md5(id::text), 'hex'), 'aes'), 'base64')",
        "ALTER TABLE letters ALTER body TYPE bytea USING encrypt_iv(body::bytea, 'key', decode(md5(id::text), 'hex'), 'aes')",
    ] {
        let scene = Scene::new().await;
        scene.sql(LETTERS);
        scene.certified().await;
        scene.sql(encrypted);
        let backup = scene.backup().await;
        let told = told(backup.drift.as_ref().unwrap());
        let [finding] = told.as_slice() else { panic!("{told:?}") };
        assert!(
            finding.starts_with("the rows of table public.letters of shop no longer compress, as if encrypted: "),
            "{finding}"
        );
        assert!(scene.is_frozen().await, "{encrypted}");
        // A backup with a drift that nobody has accepted is not what the next one is compared with.
        assert_eq!(scene.drift().await.total, 1);
        scene.accept(&backup.backup_id).await;
        assert_eq!(scene.drift().await.total, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_rewritten_wholesale_or_compressed_at_another_level_freeze_nothing() {
    let scene = Scene::new().await;
    scene.sql(LETTERS);
    let mut options = backup_options(&scene.world);
    options.compression_level = 19;
    let dense = try_backup(&scene.world, &scene.repository, &options).await.unwrap();
    scene.certify(&dense.manifest.backup_id).await;
    scene.sql("UPDATE letters SET body = upper(body) || ' Yours, ' || id % 77");
    let drift = scene.drift().await;
    assert_eq!((drift.outcome, told(&drift)), (DriftOutcome::Compared, Vec::new()));
}
