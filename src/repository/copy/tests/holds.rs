//! What people have said of a backup: their holds come with it, and end with theirs alone.

use super::*;
use crate::repository::limits::MAX_RECORD_BYTES;

/// As a prune leaves it that was interrupted between the two.
#[tokio::test]
async fn the_end_of_a_hold_whose_beginning_is_gone_keeps_nothing_back() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (_, to) = empty_copy(&ground).await;
    run(&ground, &to).await;
    let end = Key::HoldRelease {
        backup_id: backup_id(0),
        generation: 1,
    };
    ground.store.put_new(&end.to_string(), "{}".into()).await.unwrap();
    ground.backup(1, &two_tables()).await;
    let report = run(&ground, &to).await;
    assert_eq!((report.copied_holds, report.copied), (0, vec![backup_id(1)]));
}

#[tokio::test]
async fn a_hold_of_the_other_place_is_not_ended_by_the_end_of_another_one() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (_, to) = empty_copy(&ground).await;
    run(&ground, &to).await;
    ground
        .repository
        .hold(&backup_id(0), "audit", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    to.hold(&backup_id(0), "a person's own", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    ground
        .repository
        .unhold(&backup_id(0), Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    assert_eq!(run(&ground, &to).await.copied_holds, 0);
    assert_eq!(
        to.hold_of(&backup_id(0)).await.unwrap().unwrap().reason,
        "a person's own"
    );
}

/// Each place counts its own holds: one that has ended over there has the number of the one that is placed here.
#[tokio::test]
async fn a_hold_reaches_a_place_that_has_had_one_of_its_own_and_so_does_its_end() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (_, to) = empty_copy(&ground).await;
    run(&ground, &to).await;
    let (backup, now) = (backup_id(0), Timestamp::UNIX_EPOCH);
    to.hold(&backup, "a person's own", now).await.unwrap();
    to.unhold(&backup, now).await.unwrap();
    ground.repository.hold(&backup, "audit", now).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied_holds, 1);
    assert_eq!(to.hold_of(&backup).await.unwrap().unwrap().reason, "audit");
    assert_eq!(
        run(&ground, &to).await.copied_holds,
        0,
        "it is there under another number"
    );
    ground.repository.unhold(&backup, now).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied_holds, 1);
    assert_eq!(to.hold_of(&backup).await.unwrap(), None);
    assert_eq!(run(&ground, &to).await.copied_holds, 0);
    // One that ends here while another begins is over there when the other has come.
    for reason in ["first", "second"] {
        ground.repository.hold(&backup, reason, now).await.unwrap();
        run(&ground, &to).await;
        assert_eq!(to.hold_of(&backup).await.unwrap().unwrap().reason, reason);
        ground.repository.unhold(&backup, now).await.unwrap();
    }
    run(&ground, &to).await;
    assert_eq!(to.hold_of(&backup).await.unwrap(), None);
    // While somebody over there holds it, nothing is brought; once that ends, what still holds here is.
    to.hold(&backup, "again", now).await.unwrap();
    ground.repository.hold(&backup, "second audit", now).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied_holds, 0);
    to.unhold(&backup, now).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied_holds, 1);
    assert_eq!(to.hold_of(&backup).await.unwrap().unwrap().reason, "second audit");
}

/// A hold that its store keeps back, or that somebody has overwritten with more than any hold has, is one all the same.
#[tokio::test]
async fn a_hold_that_cannot_be_read_holds_in_the_copy_too() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (_, to) = empty_copy(&ground).await;
    let (backup, now) = (backup_id(0), Timestamp::UNIX_EPOCH);
    ground.repository.hold(&backup, "audit", now).await.unwrap();
    let hold = Key::Hold {
        backup_id: backup.clone(),
        generation: 1,
    };
    let huge = vec![b' '; usize::try_from(MAX_RECORD_BYTES).unwrap() + 1];
    ground.store.replace(&hold.to_string(), huge.into());
    let report = run(&ground, &to).await;
    assert_eq!((report.copied_holds, &report.copied), (1, &vec![backup.clone()]));
    assert!(to.hold_of(&backup).await.unwrap().is_some());
    assert_eq!(run(&ground, &to).await.copied_holds, 0, "it is there");
    to.unhold(&backup, now).await.unwrap();
    assert_eq!(
        run(&ground, &to).await.copied_holds,
        0,
        "a person over there has ended it"
    );
    assert_eq!(to.hold_of(&backup).await.unwrap(), None);
}
