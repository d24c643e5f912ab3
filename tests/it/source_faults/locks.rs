//! Locks that are not to be had: who keeps them is named, with what it does and since when.

use kubebackup::postgres::Session;

use super::assert_failed;
use crate::consistency::superuser_session;
use crate::support::{Ended, World, WorldOptions, wait};

/// A session of production that is called so and has done this.
async fn production(world: &World, name: &str, statements: &str) -> (Session, i32) {
    let session = superuser_session(world).await;
    let statements = format!("SET application_name = '{name}'; SET search_path = public; {statements}");
    session.client.batch_execute(&statements).await.unwrap();
    let pid = session
        .client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    (session, pid)
}

fn backup(world: &World) -> Ended {
    let backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_BACKUP_LOCK_TIMEOUT", "500ms");
    tokio::task::block_in_place(|| backup.run())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_lock_too_long_is_named_with_its_process_its_name_and_since_when() {
    let world = World::start();
    // Asking for the size of the one waits, and so does locking the other.
    world.source_sql("CREATE TABLE plain (); CREATE TABLE tree (k int) PARTITION BY LIST (k)");
    for table in ["plain", "tree"] {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        let (holder, pid) = production(&world, "nightly batch", &lock).await;
        let holds =
            format!("session {pid} ('nightly batch' of postgres) holds public.{table}, in a transaction since 20");
        assert_failed(&world, &backup(&world), (7, 0), &["backup.lock_timeout", &holds]);
        holder.client.batch_execute("ROLLBACK").await.unwrap();
    }
    let (holder, pid) = production(
        &world,
        "nightly batch",
        "BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    world
        .source
        .sql("postgres", "REVOKE pg_read_all_stats FROM kubebackup")
        .unwrap();
    let holds = format!("session {pid} ('nightly batch' of postgres) holds public.plain (since when is known to");
    assert_failed(&world, &backup(&world), (7, 0), &[&holds]);
    drop(holder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_for_a_long_reader_is_named_with_the_reader() {
    let world = World::start();
    world.source_sql("CREATE TABLE tree (k int) PARTITION BY LIST (k)");
    let (reader, reads) = production(&world, "long report", "BEGIN; SELECT count(*) FROM tree").await;
    let (change, waits) = production(&world, "migration", "").await;
    let altered = async {
        change
            .client
            .batch_execute("ALTER TABLE tree ADD COLUMN more int")
            .await
    };
    let looked = async {
        let waiting = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {waits}");
        wait::until_async("the change to wait", async || world.source_sql(&waiting) == "1").await;
        let ended = backup(&world);
        let reads = format!("session {reads} ('long report' of postgres) holds public.tree");
        let waits = format!("session {waits} ('migration' of postgres) waits to lock public.tree");
        assert_failed(&world, &ended, (7, 0), &[&reads, &waits]);
        reader.client.batch_execute("COMMIT").await.unwrap();
    };
    let (altered, ()) = tokio::join!(altered, looked);
    altered.unwrap();
    super::recovers(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_prepared_transaction_is_named() {
    let world = World::with(WorldOptions {
        source_settings: &[("max_prepared_transactions", "2")],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t (); BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'forgotten'");
    let holds = "prepared transaction 'forgotten' of postgres holds public.t, in a transaction since 20";
    assert_failed(&world, &backup(&world), (7, 0), &[holds]);
    world.source_sql("ROLLBACK PREPARED 'forgotten'");
    super::recovers(&world);
}
