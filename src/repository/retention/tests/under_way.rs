//! A backup or a copy that is under way while a prune or an expiry runs: neither takes from the other.

use super::*;

/// The backup under way refers to an old chunk that it found under its name alone: nobody's, so prune takes it.
#[tokio::test]
async fn a_backup_under_way_relies_on_no_object_that_prune_may_take() {
    let ground = Ground::with_days(1).await;
    let writer = ground.writer().await;
    let orphan = rows(3000, 99);
    writer.put(orphan.clone(), vec![orphan.len()]).await.unwrap();
    drop(writer);
    ground.set_minute(3 * DAY);
    let again = vec![("orphan", orphan.clone())];
    let writer = ground.writer().await;
    let records = put_all(&writer, &again).await.unwrap();
    assert_eq!(
        ground.prune().await.deleted.objects,
        1,
        "the old one, not the one that was just stored"
    );
    let stored = writer.commit(draft(3 * DAY, &again), records).await.unwrap();
    assert!(ground.is_sound().await);
    let backup = ground.repository.read_index(stored).await.unwrap();
    assert_eq!(ground.read_rows(&backup, "orphan").await.unwrap(), orphan);
}

/// What prune deletes may be deleted once more, long after: its process was paused, or an answer was lost.
#[tokio::test]
async fn a_deletion_of_prune_that_arrives_late_takes_nothing_that_was_stored_since() {
    let ground = Ground::with_days(1).await;
    let orphan = vec![("orphan", rows(3000, 99))];
    put_all(&ground.writer().await, &orphan).await.unwrap();
    ground.set_minute(3 * DAY);
    let before = ground.keys(layout::CHUNKS).await;
    assert_eq!(ground.prune().await.deleted.objects, 1);
    let left = ground.keys(layout::CHUNKS).await;
    let deleted: Vec<String> = before.into_iter().filter(|key| !left.contains(key)).collect();
    let backup = ground.backup(3 * DAY, &orphan).await;
    assert_eq!(ground.store.delete_many(&deleted).await.unwrap().len(), 0);
    assert!(ground.is_sound().await);
    assert_eq!(ground.read_rows(&backup, "orphan").await.unwrap(), orphan[0].1);
}

/// The backup under way took its list of chunks from a manifest that is then expired.
#[tokio::test]
async fn a_backup_under_way_loses_nothing_to_an_expiry_and_a_prune() {
    let ground = Ground::with_days(4).await;
    let writer = ground.writer().await;
    ground
        .verdict(3 * DAY, 3 * DAY + 2, CertificateState::Failed, &[])
        .await;
    // Refuted meanwhile: the very backup that the writer reuses goes.
    let mut options = last(1);
    options.policy.keep_certified = 3;
    options.policy.keep_last = 0;
    options.policy.keep_yearly = 1;
    ground.set_minute(3 * DAY + 2);
    ground.backup(3 * DAY + 2, &[("other", rows(10, 5))]).await;
    ground
        .verdict(3 * DAY + 2, 3 * DAY + 3, CertificateState::Certified, &[])
        .await;
    let report = ground.expire(&options).await;
    assert!(report.expired.contains(&backup_id(3 * DAY)), "{report:?}");
    ground.set_minute(3 * DAY + 20 * HOUR);
    ground.prune().await;
    let all = tables(3);
    let records = put_all(&writer, &all).await.unwrap();
    let stats = writer.stats();
    writer.commit(draft(3 * DAY + 3, &all), records).await.unwrap();
    assert!(stats.reused_chunks >= 2, "{stats:?}");
    ground.set_minute(9 * DAY);
    ground.prune().await;
    assert!(ground.is_sound().await);
}

/// A backup that took longer than any may is committed between the marks and the deletion.
#[tokio::test]
async fn a_backup_that_comes_to_exist_during_a_prune_is_marked_before_anything_goes() {
    let ground = Ground::with_days(1).await;
    let writer = ground.writer().await;
    let late = vec![("late", rows(3000, 99))];
    let records = put_all(&writer, &late).await.unwrap();
    ground.set_minute(3 * DAY);
    let slow = Effect::Slow(Duration::from_millis(20));
    let faults = Arc::new(FaultStore::new(
        ground.store.clone(),
        vec![Fault::first(Operation::List, layout::CHUNKS, slow)],
    ));
    let mut struck = faults.struck();
    let repository = Repository::open(faults).await.unwrap();
    let options = PruneOptions {
        grace: GRACE,
        dry_run: false,
    };
    let cancel = CancellationToken::new();
    let commit = async {
        struck.wait_for(|struck| *struck == 1).await.unwrap();
        writer.commit(draft(3 * DAY, &late), records).await
    };
    let (report, stored) = tokio::join!(prune(&repository, &options, &cancel), commit);
    stored.unwrap();
    assert_eq!(report.unwrap().deleted.objects, 0);
    assert!(ground.is_sound().await);
}

/// A copy has brought all but the root: what it announced is as good as the root, whatever its age.
#[tokio::test]
async fn what_a_copy_is_bringing_is_marked_and_an_outdated_announcement_goes() {
    let ground = Ground::with_days(2).await;
    let root = ground.object(&Key::Manifest(backup_id(0)).to_string()).await;
    let announcement = Key::Incoming(backup_id(0)).to_string();
    ground.store.put_new(&announcement, root.clone()).await.unwrap();
    ground
        .store
        .delete(&Key::Manifest(backup_id(0)).to_string())
        .await
        .unwrap();
    ground.set_minute(20 * DAY);
    let report = ground.prune().await;
    assert_eq!((report.deleted.objects, report.leftovers.announcements), (0, 0));
    ground
        .store
        .put_new(&Key::Manifest(backup_id(0)).to_string(), root)
        .await
        .unwrap();
    let report = ground.prune().await;
    assert_eq!((report.deleted.objects, report.leftovers.announcements), (0, 1));
    assert!(ground.is_sound().await);
}

/// Its index is not there, so nobody knows what else of it may be.
#[tokio::test]
async fn a_copy_that_has_just_begun_stops_the_prune_and_one_that_was_given_up_does_not() {
    let ground = Ground::with_days(2).await;
    let manifest = ground.repository.read_manifest(&backup_id(0)).await.unwrap().manifest;
    let root = ground.object(&Key::Manifest(backup_id(0)).to_string()).await;
    ground
        .store
        .put_new(&Key::Incoming(backup_id(0)).to_string(), root)
        .await
        .unwrap();
    for key in [Key::Manifest(backup_id(0)).to_string(), manifest.index[0].key.clone()] {
        ground.store.delete(&key).await.unwrap();
    }
    let error = ground.try_prune().await.unwrap_err();
    assert!(matches!(error, Error::Unmarked { .. }), "{error}");
    ground.set_minute(5 * DAY);
    assert_eq!(ground.prune().await.deleted.objects, 1);
    ground.set_minute(40 * DAY);
    assert_eq!(ground.prune().await.leftovers.announcements, 1);
    assert_eq!(ground.repository.backup_ids().await.unwrap(), ids(1..2));
    assert!(ground.is_sound().await);
}

#[tokio::test]
async fn a_copy_of_what_was_let_go_long_ago_that_was_given_up_stops_no_prune() {
    let ground = Ground::with_days(3).await;
    ground.store.keep_versions();
    let root = ground.object(&Key::Manifest(backup_id(0)).to_string()).await;
    assert_eq!(ground.expire(&last(2)).await.expired, ids([0]));
    ground.set_minute(5 * DAY);
    assert!(ground.prune().await.deleted.objects > 0);
    assert_eq!(ground.keys(layout::TOMBSTONES).await.len(), 1, "its mark stays");
    ground.store.forget_versions(layout::CHUNKS);
    // A copy was killed before the index had come.
    let announcement = Key::Incoming(backup_id(0)).to_string();
    ground.store.put_new(&announcement, root).await.unwrap();
    let error = ground.try_prune().await.unwrap_err();
    assert!(matches!(error, Error::Unmarked { .. }), "it may still come: {error}");
    ground.set_minute(7 * DAY);
    assert_eq!(ground.prune().await.outcome, PruneOutcome::Done);
    assert!(ground.is_sound().await);
}
