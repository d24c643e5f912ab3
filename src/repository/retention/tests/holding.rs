//! A hold that comes while an expiry is letting the very backup go: it is seen, or whoever placed it is told.

use tokio::join;

use super::*;

/// So long after it a tombstone can mean no deletion any more.
const AN_HOUR: i64 = 60;

impl Ground {
    /// What an expiry and a hold of the oldest backup come to, where the latter begins once the expiry is struck by `fault`.
    async fn hold_during(
        &self,
        fault: Fault,
        then: impl FnOnce(),
    ) -> (ExpireReport, crate::repository::Result<HoldChange>) {
        let faults = Arc::new(FaultStore::new(self.store.clone(), vec![fault]));
        let mut struck = faults.struck();
        let repository = Repository::open(faults).await.unwrap();
        let (options, cancel) = (last(1), CancellationToken::new());
        let hold = async {
            struck.wait_for(|struck| *struck == 1).await.unwrap();
            let held = self.hold_oldest().await;
            then();
            held
        };
        let (report, placed) = join!(expire(&repository, &options, &cancel), hold);
        (report.unwrap(), placed)
    }

    async fn hold_oldest(&self) -> crate::repository::Result<HoldChange> {
        self.repository.hold(&backup_id(0), "auditors", time(0)).await
    }

    async fn has_oldest(&self) -> bool {
        self.repository.backup_ids().await.unwrap().contains(&backup_id(0))
    }
}

/// Done so long after it was asked for that a person comes in between.
fn slow(operation: Operation, prefix: &str) -> Fault {
    Fault::first(operation, prefix, Effect::Slow(Duration::from_millis(5)))
}

fn certain_from(held: crate::repository::Result<HoldChange>) -> Timestamp {
    match held {
        Err(Error::HeldLate {
            backup_id: id,
            certain_from,
        }) if id == backup_id(0) => certain_from,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn before_the_tombstone_a_hold_is_certain() {
    let ground = Ground::with_days(3).await;
    let (report, held) = ground
        .hold_during(slow(Operation::Put, layout::TOMBSTONES), || ())
        .await;
    assert_eq!(held.unwrap(), HoldChange::Changed);
    assert_eq!(report.retained.len(), 1, "{report:?}");
    assert_eq!(report.expired, ids([1]));
    assert!(ground.has_oldest().await);
}

#[tokio::test]
async fn between_tombstone_and_deletion_a_hold_that_is_seen_becomes_certain_later() {
    let ground = Ground::with_days(3).await;
    // The second look at what there is.
    let fault = slow(Operation::List, layout::MANIFESTS).after(1);
    let (report, held) = ground.hold_during(fault, || ()).await;
    let certain_from = certain_from(held);
    assert_eq!(report.retained.len(), 1, "{report:?}");
    assert_eq!(report.expired, ids([1]));
    // Whoever asks again is told the same until then.
    ground.store.set_clock(certain_from - SignedDuration::from_secs(1));
    assert_eq!(self::certain_from(ground.hold_oldest().await), certain_from);
    ground.store.set_clock(certain_from);
    assert_eq!(ground.hold_oldest().await.unwrap(), HoldChange::Unchanged);
    assert!(ground.expire(&last(1)).await.expired.is_empty());
    assert!(ground.has_oldest().await);
}

#[tokio::test]
async fn a_hold_that_comes_too_late_is_not_taken_for_one_that_came_in_time() {
    let ground = Ground::with_days(3).await;
    let (report, held) = ground
        .hold_during(slow(Operation::Delete, layout::MANIFESTS), || ())
        .await;
    certain_from(held);
    assert_eq!(report.expired, ids(0..2));
    let again = ground.hold_oldest().await;
    assert!(
        matches!(&again, Err(Error::NoSuchBackup(id)) if *id == backup_id(0)),
        "{again:?}"
    );
}

/// By then the hold is said to be certain, and the expiry has not seen it.
#[tokio::test]
async fn an_expiry_that_is_held_up_after_its_look_deletes_nothing_and_the_next_begins_anew() {
    let ground = Ground::with_days(3).await;
    let late = 2 * DAY + 2 * HOUR;
    // The last thing that the second look asks for.
    let (report, held) = ground
        .hold_during(slow(Operation::List, layout::DRIFT).after(1), || {
            ground.set_minute(late);
        })
        .await;
    certain_from(held);
    let reasons: Vec<&str> = report.retained.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!((report.expired.len(), reasons.len()), (0, 2), "{report:?}");
    assert!(
        reasons.iter().all(|reason| reason.contains("held up for too long")),
        "{reasons:?}"
    );
    assert_eq!(ground.hold_oldest().await.unwrap(), HoldChange::Unchanged);
    assert_eq!(ground.expire(&last(1)).await.expired, ids([1]));
    assert!(ground.has_oldest().await);
}

#[tokio::test]
async fn a_tombstone_that_a_stopped_expiry_left_stands_in_the_way_of_no_hold_and_of_no_later_expiry() {
    let ground = Ground::with_days(3).await;
    let stopped = Fault::first(Operation::Delete, "", Effect::Refuse(ErrorKind::Unavailable)).always();
    let repository = ground.with_faults(vec![stopped]).await;
    expire(&repository, &last(1), &CancellationToken::new())
        .await
        .unwrap_err();
    ground.set_minute(2 * DAY + HOUR + AN_HOUR);
    assert_eq!(ground.hold_oldest().await.unwrap(), HoldChange::Changed);
    ground.repository.unhold(&backup_id(0), time(0)).await.unwrap();
    // The next one writes its own, so that a hold beside it is told of it.
    let (report, held) = ground
        .hold_during(slow(Operation::Delete, layout::MANIFESTS), || ())
        .await;
    certain_from(held);
    assert_eq!(report.expired, ids(0..2));
}

/// A hold is older than the tombstone, so the expiry has seen it.
#[tokio::test]
async fn what_was_held_before_an_expiry_began_is_certain_at_once() {
    let ground = Ground::with_days(3).await;
    ground.hold_oldest().await.unwrap();
    ground.set_minute(2 * DAY + 2 * HOUR);
    let manifest = ground.repository.read_manifest(&backup_id(0)).await.unwrap().manifest;
    ground
        .repository
        .put_tombstone(manifest, ground.store.now())
        .await
        .unwrap();
    assert_eq!(ground.hold_oldest().await.unwrap(), HoldChange::Unchanged);
}
