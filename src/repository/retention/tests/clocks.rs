//! Clocks that contradict each other: what comes from the future, or is misdated, stays.

use super::*;

/// The store's clock decides, whatever this machine believes.
#[tokio::test]
async fn a_chunk_dated_in_the_future_is_young() {
    let ground = Ground::with_days(1).await;
    let far: Timestamp = time(0).checked_add(SignedDuration::from_hours(24 * 300)).unwrap();
    ground.store.set_clock(far);
    let writer = ground.writer().await;
    let orphan = rows(100, 99);
    writer.put(orphan.clone(), vec![orphan.len()]).await.unwrap();
    ground.set_minute(3 * DAY);
    let report = ground.prune().await;
    assert_eq!((report.young.objects, report.deleted.objects), (1, 0));
}

#[tokio::test]
async fn a_backup_that_is_new_to_the_store_and_says_that_it_is_old_stays_for_a_week() {
    let ground = Ground::with_days(3).await;
    ground.set_minute(60 * DAY);
    ground.backup(DAY + HOUR, &[("other", rows(10, 5))]).await;
    let late = backup_id(DAY + HOUR);
    let report = ground.expire(&last(1)).await;
    assert_eq!(report.expired, ids(0..2));
    let line = report.lines().find(|line| line.backup_id == late).unwrap();
    assert_eq!(line.reasons, [Reason::StoredLate]);
    ground.set_minute(68 * DAY);
    assert_eq!(ground.expire(&last(1)).await.expired, [late]);
}

#[tokio::test]
async fn a_snapshot_that_is_older_than_its_run_is_misdated() {
    let ground = Ground::with_days(3).await;
    let writer = ground.writer().await;
    let tables = [("other", rows(10, 5))];
    let records = put_all(&writer, &tables).await.unwrap();
    let mut behind = draft(2 * DAY + HOUR, &tables);
    behind.databases[0].snapshot_time = time(DAY);
    writer.commit(behind, records).await.unwrap();
    let report = ground.expire(&last(1)).await;
    assert_eq!(report.expired, ids(0..2));
    let behind = backup_id(2 * DAY + HOUR);
    let line = report.lines().find(|line| line.backup_id == behind).unwrap();
    assert_eq!(line.reasons, [Reason::Misdated]);
}
