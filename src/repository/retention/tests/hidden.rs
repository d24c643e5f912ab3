//! Manifests that somebody hid in a store with versions: they stop a prune until they are explained.

use super::*;

#[tokio::test]
async fn a_manifest_that_was_hidden_and_not_expired_stops_the_prune_until_it_is_back() {
    let ground = Ground::with_days(4).await;
    ground.store.keep_versions();
    ground.expire(&last(1)).await;
    ground.set_minute(5 * DAY);
    assert!(ground.prune().await.hidden_seen);
    // The tombstones are gone, and what says that these were expired is not.
    let marks = ground.keys(layout::TOMBSTONES).await;
    assert_eq!(marks.len(), 3, "{marks:?}");
    assert!(marks.iter().all(|key| key.ends_with(".gone.json")), "{marks:?}");
    let stay = Leftovers {
        lasting_marks: 3,
        ..Leftovers::default()
    };
    assert_eq!(ground.prune().await.leftovers, stay, "and the report says so");

    let manifest = Key::Manifest(backup_id(3 * DAY)).to_string();
    let root = ground.object(&manifest).await;
    ground.store.delete(&manifest).await.unwrap();
    ground.set_minute(50 * DAY);
    let before = ground.keys("").await;
    let error = ground.try_prune().await.unwrap_err();
    assert!(matches!(error, Error::Unmarked { .. }), "{error}");
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains(&manifest) && said.contains("no expiry"), "{said}");
    assert_eq!(ground.keys("").await, before);
    ground.store.put_new(&manifest, root).await.unwrap();
    assert_eq!(ground.prune().await.manifests, 1);
    assert!(ground.is_sound().await);
}

#[tokio::test]
async fn who_may_not_see_hidden_manifests_keeps_the_marks_for_who_may() {
    let ground = Ground::with_days(4).await;
    ground.store.keep_versions();
    ground.store.show_versions(false);
    ground.expire(&last(1)).await;
    ground.set_minute(5 * DAY);
    let pruned = ground.prune().await;
    assert_eq!((pruned.hidden_seen, pruned.leftovers.tombstones), (false, 3));
    assert_eq!(pruned.leftovers.lasting_marks, 3);
    ground.store.show_versions(true);
    assert!(ground.prune().await.hidden_seen);
    assert_eq!(ground.keys(layout::TOMBSTONES).await.len(), 3);
}

#[tokio::test]
async fn the_mark_of_an_earlier_life_does_not_explain_why_a_backup_is_hidden_now() {
    let ground = Ground::with_days(3).await;
    ground.store.keep_versions();
    let manifest = Key::Manifest(backup_id(0)).to_string();
    let root = ground.object(&manifest).await;
    assert_eq!(ground.expire(&last(2)).await.expired, ids([0]));
    ground.set_minute(2 * DAY + 2 * HOUR);
    ground.store.put_new(&manifest, root).await.unwrap();
    assert_eq!(ground.prune().await.manifests, 3);
    ground.set_minute(2 * DAY + 3 * HOUR);
    ground.store.delete(&manifest).await.unwrap();
    let before = ground.keys("").await;
    for minute in [2 * DAY + 3 * HOUR, 50 * DAY] {
        ground.set_minute(minute);
        let error = ground.try_prune().await.unwrap_err();
        assert!(matches!(error, Error::Unmarked { .. }), "{error}");
        assert_eq!(ground.keys("").await, before);
    }
}

#[tokio::test]
async fn the_tombstone_of_an_expiry_that_a_hold_has_stopped_does_not_explain_why_a_backup_is_hidden_later() {
    let ground = Ground::with_days(3).await;
    ground.store.keep_versions();
    let stored = ground.repository.read_manifest(&backup_id(0)).await.unwrap();
    ground
        .repository
        .put_tombstone(stored.manifest, ground.store.now())
        .await
        .unwrap();
    ground.set_minute(2 * DAY + HOUR + 30);
    let manifest = Key::Manifest(backup_id(0)).to_string();
    let root = ground.object(&manifest).await;
    ground.store.delete(&manifest).await.unwrap();
    assert_eq!(
        ground.prune().await.tombstones,
        1,
        "an expiry may have been interrupted"
    );
    ground.store.put_new(&manifest, root).await.unwrap();

    ground.set_minute(4 * DAY);
    ground.store.delete(&manifest).await.unwrap();
    let error = ground.try_prune().await.unwrap_err();
    assert!(matches!(error, Error::Unmarked { .. }), "{error}");
}

#[tokio::test]
async fn what_was_hidden_and_meant_is_accepted_by_a_person_and_gone_from_then_on() {
    let ground = Ground::with_days(4).await;
    ground.store.keep_versions();
    ground.expire(&last(3)).await;
    ground.set_minute(10 * DAY);
    for day in [0, 1, 2] {
        let manifest = Key::Manifest(backup_id(day * DAY)).to_string();
        ground.store.delete(&manifest).await.unwrap();
    }
    // As a version left it that kept no marks.
    for key in ground.keys(layout::TOMBSTONES).await {
        ground.store.delete(&key).await.unwrap();
    }
    let error = ground.try_prune().await.unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        said.contains("(and 2 more)") && said.contains("--accept-hidden"),
        "{said}"
    );
    assert_eq!(accept_hidden(&ground.repository).await.unwrap(), ids([0, 1, 2]));
    assert_eq!(accept_hidden(&ground.repository).await.unwrap(), []);
    // A backup under way may have taken chunks from them until a moment ago: they have their grace period, as expired ones do.
    let first = ground.prune().await;
    assert_eq!((first.tombstones, first.deleted.objects), (3, 0));
    ground.set_minute(12 * DAY);
    let second = ground.prune().await;
    assert!(second.deleted.objects > 0, "{second:?}");
    assert_eq!(second.leftovers.tombstones, 3);
    assert!(ground.is_sound().await);
}

/// Whoever saw no versions took its chunks for litter, and its index with them.
#[tokio::test]
async fn what_was_hidden_and_is_past_bringing_back_stops_no_prune_once_it_is_accepted() {
    let ground = Ground::with_days(2).await;
    ground.store.keep_versions();
    ground
        .store
        .delete(&Key::Manifest(backup_id(0)).to_string())
        .await
        .unwrap();
    ground.set_minute(10 * DAY);
    ground.store.show_versions(false);
    assert!(ground.prune().await.deleted.objects > 0);
    ground.store.show_versions(true);
    ground.try_prune().await.unwrap_err();
    // Somebody who tidies up has removed the versions of what went.
    ground.store.forget_versions(layout::CHUNKS);
    assert_eq!(accept_hidden(&ground.repository).await.unwrap(), ids([0]));
    let pruned = ground.prune().await;
    assert_eq!((pruned.manifests, pruned.tombstones), (1, 0));
    assert!(ground.is_sound().await);
}
