//! A hold that comes while an expiry is letting the very backup go: the backup stays, or comes back.

use super::*;

impl Ground {
    /// The same repository as one sees it whose requests meet `faults`, and how many did.
    async fn through(&self, faults: Vec<Fault>) -> (Repository, tokio::sync::watch::Receiver<usize>) {
        let faults = Arc::new(FaultStore::new(self.store.clone(), faults));
        let struck = faults.struck();
        (Repository::open(faults).await.unwrap(), struck)
    }

    /// What an expiry comes to that meets `faults`, and a hold of the oldest backup that begins while it waits for the first.
    async fn hold_during(&self, faults: Vec<Fault>) -> (crate::repository::Result<ExpireReport>, HoldChange) {
        let (repository, mut struck) = self.through(faults).await;
        let (options, cancel) = (last(1), CancellationToken::new());
        let hold = async {
            struck.wait_for(|struck| *struck == 1).await.unwrap();
            self.hold_oldest().await
        };
        let (report, placed) = tokio::join!(expire(&repository, &options, &cancel), hold);
        (report, placed.unwrap())
    }

    async fn hold_oldest(&self) -> crate::repository::Result<HoldChange> {
        self.repository.hold(&backup_id(0), "auditors", time(0)).await
    }

    async fn has_oldest(&self) -> bool {
        self.repository.backup_ids().await.unwrap().contains(&backup_id(0))
    }

    async fn oldest(&self) -> bytes::Bytes {
        self.object(&Key::Manifest(backup_id(0)).to_string()).await
    }
}

/// Done so long after it was asked for that a person comes in between.
fn slow(operation: Operation, prefix: &str) -> Fault {
    Fault::first(operation, prefix, Effect::Slow(Duration::from_millis(5)))
}

fn refused(operation: Operation, prefix: &str, kind: ErrorKind) -> Fault {
    Fault::first(operation, prefix, Effect::Refuse(kind)).always()
}

#[tokio::test]
async fn whenever_the_hold_comes_the_backup_is_there_in_the_end() {
    for fault in [
        // Before the tombstone, before the look after it, and after that.
        slow(Operation::Put, layout::TOMBSTONES),
        slow(Operation::List, layout::MANIFESTS).after(1),
        slow(Operation::Delete, layout::MANIFESTS),
    ] {
        let ground = Ground::with_days(3).await;
        let before = ground.oldest().await;
        let (report, placed) = ground.hold_during(vec![fault.clone()]).await;
        let report = report.unwrap();
        assert_eq!(placed, HoldChange::Changed, "{fault:?}");
        let retained: Vec<&Retained> = report.retained.iter().collect();
        assert!(
            matches!(retained[..], [one] if one.backup_id == backup_id(0) && one.reason.contains("auditors")),
            "{fault:?} {retained:?}"
        );
        assert_eq!(report.expired, ids([1]), "{fault:?}");
        assert_eq!(ground.oldest().await, before, "byte for byte");

        // To the store it is new, and stays for a week for that alone.
        ground.set_minute(12 * DAY);
        ground.prune().await;
        assert!(ground.expire(&last(1)).await.expired.is_empty());
        assert!(ground.is_sound().await && ground.has_oldest().await, "{fault:?}");
        // And it goes as any other when nobody holds it any more, with a grace period of its own.
        ground.repository.unhold(&backup_id(0), time(0)).await.unwrap();
        assert_eq!(ground.expire(&last(1)).await.expired, ids([0]));
        assert_eq!(ground.prune().await.tombstones, 1, "{fault:?}");
    }
}

/// Stopped between the deletion and the look at holds.
#[tokio::test]
async fn what_a_stopped_expiry_has_not_put_back_keeps_its_chunks_until_the_next_one_does() {
    let ground = Ground::with_days(3).await;
    let before = ground.oldest().await;
    let (report, _) = ground
        .hold_during(vec![
            slow(Operation::Delete, layout::MANIFESTS),
            refused(Operation::List, layout::HOLDS, ErrorKind::Unavailable).after(3),
        ])
        .await;
    report.unwrap_err();
    assert!(!ground.has_oldest().await);
    for day in [4, 40] {
        ground.set_minute(day * DAY);
        assert_eq!(ground.prune().await.leftovers.holds, 0);
    }
    let report = ground.expire(&last(1)).await;
    assert_eq!(report.retained[0].backup_id, backup_id(0));
    assert_eq!(ground.oldest().await, before);
    assert!(ground.is_sound().await);
}

#[tokio::test]
async fn who_may_not_put_a_manifest_back_says_what_is_to_be_done() {
    let ground = Ground::with_days(3).await;
    let (report, _) = ground
        .hold_during(vec![
            slow(Operation::Delete, layout::MANIFESTS),
            refused(Operation::Put, layout::MANIFESTS, ErrorKind::Denied),
        ])
        .await;
    let error = report.unwrap_err();
    assert!(
        matches!(&error, Error::HeldAway { backup_id: id, .. } if *id == backup_id(0)),
        "{error}"
    );
    assert_eq!(ground.repository.backup_ids().await.unwrap(), ids([2]));
    ground.set_minute(5 * DAY);
    assert_eq!(ground.prune().await.leftovers.tombstones, 1, "of the other one");
    ground.expire(&last(1)).await;
    assert!(ground.has_oldest().await && ground.is_sound().await);
}

/// Whoever may write tombstones and delete manifests must not come to write manifests by way of those who may.
#[tokio::test]
async fn a_forged_tombstone_brings_back_nothing_and_keeps_no_other_backup() {
    let ground = Ground::with_days(4).await;
    ground.hold_oldest().await.unwrap();
    let mut manifest = ground.repository.read_manifest(&backup_id(0)).await.unwrap().manifest;
    let other = ground.repository.read_manifest(&backup_id(DAY)).await.unwrap().manifest;
    manifest.index = other.index;
    ground.repository.put_tombstone(manifest, time(0)).await.unwrap();
    ground
        .store
        .delete(&Key::Manifest(backup_id(0)).to_string())
        .await
        .unwrap();
    for error in [
        expire(&ground.repository, &last(1), &CancellationToken::new())
            .await
            .unwrap_err(),
        ground.hold_oldest().await.unwrap_err(),
    ] {
        let said = crate::telemetry::causes::chain(&error);
        assert!(
            matches!(error, Error::HeldAway { .. }) && said.contains("not of the manifest that the hold names"),
            "{said}"
        );
    }
    // The others went.
    assert_eq!(ground.repository.backup_ids().await.unwrap(), ids([3]));
    ground.repository.unhold(&backup_id(0), time(0)).await.unwrap();
    ground.expire(&last(1)).await;
}

/// A prune that saw neither version nor hold has been there.
#[tokio::test]
async fn a_held_backup_that_lacks_a_chunk_is_not_put_back() {
    let ground = Ground::with_days(3).await;
    let backup = ground.repository.read_backup(&backup_id(0)).await.unwrap();
    let manifest = backup.manifest.clone();
    ground.hold_oldest().await.unwrap();
    ground.repository.put_tombstone(manifest, time(0)).await.unwrap();
    for key in [&Key::Manifest(backup_id(0)).to_string(), &backup.chunks[1].key] {
        ground.store.delete(key).await.unwrap();
    }
    let error = ground.hold_oldest().await.unwrap_err();
    assert!(
        crate::telemetry::causes::chain(&error).contains(&backup.chunks[1].key),
        "{error}"
    );
    assert!(!ground.has_oldest().await);
}

/// Its mark is of an earlier life, long ago, and the expiry had looked before the hold came.
#[tokio::test]
async fn what_this_very_expiry_has_deleted_is_put_back_however_old_its_mark_is() {
    let ground = Ground::with_days(3).await;
    let (repository, mut struck) = ground.through(vec![slow(Operation::Delete, layout::MANIFESTS)]).await;
    let (options, cancel) = (last(1), CancellationToken::new());
    let hold = async {
        struck.wait_for(|struck| *struck == 1).await.unwrap();
        ground.store.set_clock(time(0));
        ground.repository.put_gone(&backup_id(0)).await.unwrap();
        ground.set_minute(2 * DAY + 5 * HOUR);
        ground.hold_oldest().await
    };
    let (report, placed) = tokio::join!(expire(&repository, &options, &cancel), hold);
    placed.unwrap();
    assert_eq!(report.unwrap().retained.len(), 1);
    assert!(ground.has_oldest().await);
    let marks = ground.keys(layout::TOMBSTONES).await;
    assert!(
        !marks.contains(&Key::Gone(backup_id(0)).to_string()),
        "its mark says nothing any more: {marks:?}"
    );
}

/// The listing still shows the hold that has ended.
#[tokio::test]
async fn a_hold_after_one_that_has_ended_is_placed_whatever_a_listing_shows() {
    let ground = Ground::with_days(3).await;
    ground.hold_oldest().await.unwrap();
    let stale = Fault::first(Operation::List, layout::HOLDS, Effect::Stale)
        .after(1)
        .always();
    let repository = ground.with_faults(vec![stale]).await;
    let prefix = layout::holds_of(&backup_id(0));
    list_all(repository.store().as_ref(), &prefix, None).await.unwrap();
    ground.repository.unhold(&backup_id(0), time(0)).await.unwrap();
    let placed = repository.hold(&backup_id(0), "again", time(0)).await.unwrap();
    assert_eq!(placed, HoldChange::Changed);
    assert_eq!(
        ground.repository.hold_of(&backup_id(0)).await.unwrap().unwrap().reason,
        "again"
    );
    // Nor does a listing that shows none at all let it be taken for another.
    let none = ground
        .with_faults(vec![
            Fault::first(Operation::List, layout::HOLDS, Effect::Stale).always(),
        ])
        .await;
    let placed = none.hold(&backup_id(0), "once more", time(0)).await.unwrap();
    assert_eq!(placed, HoldChange::Unchanged);
    none.unhold(&backup_id(0), time(0)).await.unwrap();
    assert_eq!(ground.repository.hold_of(&backup_id(0)).await.unwrap(), None);
}

/// The expiry is over before the hold is there, and after the person has seen the backup.
#[tokio::test]
async fn a_hold_that_finds_the_backup_gone_puts_it_back_or_says_so() {
    for may_write in [true, false] {
        let ground = Ground::with_days(3).await;
        let mut faults = vec![slow(Operation::Put, layout::HOLDS)];
        if !may_write {
            faults.push(refused(Operation::Put, layout::MANIFESTS, ErrorKind::Denied));
        }
        let (repository, mut struck) = ground.through(faults).await;
        let (held, options) = (backup_id(0), last(1));
        let expiry = async {
            struck.wait_for(|struck| *struck == 1).await.unwrap();
            ground.expire(&options).await
        };
        let (placed, report) = tokio::join!(repository.hold(&held, "auditors", time(0)), expiry);
        assert_eq!(report.expired, ids(0..2));
        match placed {
            Ok(change) => assert!(may_write && change == HoldChange::Changed),
            Err(error) => {
                assert!(!may_write && matches!(error, Error::HeldAway { .. }), "{error}");
                // Said again, it is not told that there is no such backup.
                let again = repository.hold(&held, "auditors", time(0)).await.unwrap_err();
                assert!(matches!(again, Error::HeldAway { .. }), "{again}");
            }
        }
        assert_eq!(ground.has_oldest().await, may_write);
        ground.set_minute(5 * DAY);
        ground.prune().await;
        ground.expire(&options).await;
        assert!(ground.has_oldest().await && ground.is_sound().await, "{may_write}");
    }
}

/// By then a prune may have taken what it needs.
#[tokio::test]
async fn a_hold_of_a_backup_that_was_let_go_long_ago_brings_nothing_back() {
    let ground = Ground::with_days(3).await;
    ground.expire(&last(1)).await;
    ground.set_minute(2 * DAY + 3 * HOUR);
    let late = Key::Hold {
        backup_id: backup_id(0),
        generation: 1,
    };
    ground.store.put_new(&late.to_string(), "{}".into()).await.unwrap();
    assert!(ground.expire(&last(1)).await.retained.is_empty());
    assert!(!ground.has_oldest().await);
    ground.set_minute(5 * DAY);
    assert_eq!(ground.prune().await.leftovers.tombstones, 2);
}
