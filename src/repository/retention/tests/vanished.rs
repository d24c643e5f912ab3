//! Manifests that have gone or got another name where no version tells of it: a prune stops before it takes what they need.

use super::*;

#[tokio::test]
async fn without_any_backup_a_prune_takes_no_chunk_and_says_why() {
    let ground = Ground::with_days(3).await;
    for key in ground.keys(layout::MANIFESTS).await {
        ground.store.delete(&key).await.unwrap();
    }
    // Whatever said which of them was proven has gone as well.
    for key in ground.keys(layout::CERTIFICATES).await {
        ground.store.delete(&key).await.unwrap();
    }
    ground.set_minute(50 * DAY);
    let before = ground.keys("").await;
    let error = ground.try_prune().await.unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { key, reason } if key == layout::MANIFESTS && reason.contains("put the manifests back")),
        "{error}"
    );
    assert_eq!(ground.keys("").await, before);
}

#[tokio::test]
async fn the_newest_proof_without_its_backup_stops_the_prune_unless_an_expiry_let_it_go() {
    let ground = Ground::with_days(4).await;
    assert_eq!(ground.expire(&last(3)).await.expired, ids([0]));
    ground.set_minute(6 * DAY);
    assert_eq!(
        ground.prune().await.leftovers.tombstones,
        1,
        "its certificate went with it"
    );
    let manifest = Key::Manifest(backup_id(3 * DAY)).to_string();
    let root = ground.object(&manifest).await;
    ground.store.delete(&manifest).await.unwrap();
    ground.set_minute(50 * DAY);
    let before = ground.keys("").await;
    let error = ground.try_prune().await.unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { key, reason } if *key == manifest && reason.contains("by no expiry")),
        "{error}"
    );
    assert_eq!(ground.keys("").await, before);
    ground.store.put_new(&manifest, root).await.unwrap();
    assert_eq!(ground.prune().await.manifests, 3);
    assert!(ground.is_sound().await);
}

#[tokio::test]
async fn what_has_no_manifests_name_among_them_stops_the_prune_and_a_folder_does_not() {
    let ground = Ground::with_days(2).await;
    let manifest = Key::Manifest(backup_id(0)).to_string();
    let root = ground.object(&manifest).await;
    for folder in [layout::MANIFESTS, "manifests/@eaDir/thumbs"] {
        ground.store.replace(folder, "".into());
    }
    assert_eq!(ground.prune().await.manifests, 2);
    let renamed = format!("{manifest}.old");
    ground.store.put_new(&renamed, root).await.unwrap();
    ground.store.delete(&manifest).await.unwrap();
    ground.set_minute(50 * DAY);
    let before = ground.keys("").await;
    let error = ground.try_prune().await.unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { key, .. } if *key == renamed),
        "{error}"
    );
    assert_eq!(ground.keys("").await, before);
}

/// Who may see that versions are there and not read them cannot say what a hidden backup needs.
#[tokio::test]
async fn a_hidden_manifest_that_may_not_be_read_is_not_accepted() {
    let ground = Ground::with_days(2).await;
    ground.store.keep_versions();
    let manifest = Key::Manifest(backup_id(0)).to_string();
    ground.store.delete(&manifest).await.unwrap();
    let denied = Fault::first(Operation::Get, manifest.as_str(), Effect::Refuse(ErrorKind::Denied)).always();
    let store = Arc::new(FaultStore::new(ground.store.clone(), vec![denied]));
    let repository = Repository::open(store).await.unwrap();
    let refused = accept_hidden(&repository).await;
    assert!(
        matches!(&refused, Err(Error::Storage(error)) if error.kind == ErrorKind::Denied),
        "{refused:?}"
    );
    assert_eq!(ground.keys(layout::TOMBSTONES).await, Vec::<String>::new());
}
