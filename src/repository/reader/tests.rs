//! Opening, listing and refusing; what the repository knows of its past.

use super::*;
use crate::repository::CertificateState;
use crate::repository::drift::DriftAcceptance;
use crate::repository::id::BackupId;
use crate::repository::id::DrillId;
use crate::repository::testing::{Ground, backup_id, draft, put_all, rows, time, two_tables};
use crate::storage::faults::{Effect, Fault, FaultStore, Operation};
use crate::storage::{ErrorKind, MemoryStore};

#[tokio::test]
async fn an_empty_place_is_no_repository_and_the_first_name_stays() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    assert!(matches!(
        Repository::open(Arc::clone(&store)).await,
        Err(Error::Missing)
    ));
    let first = Repository::open_or_create(Arc::clone(&store), RepositoryId::new(1))
        .await
        .unwrap();
    let second = Repository::open_or_create(Arc::clone(&store), RepositoryId::new(2))
        .await
        .unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!(Repository::open(store).await.unwrap().id(), &RepositoryId::new(1));
}

#[tokio::test]
async fn a_repository_of_an_unknown_format_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let object = document::encode(&serde_json::json!({"format_version": 2, "anything": true})).unwrap();
    store.put_new("repository.json", object).await.unwrap();
    let opened = Repository::open_or_create(store, RepositoryId::new(1)).await;
    assert!(
        matches!(opened, Err(Error::UnknownFormat { found: 2, .. })),
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_root_of_another_repository_or_of_too_many_bytes_is_refused() {
    let ground = Ground::new().await;
    let stored = ground.try_backup(0, &two_tables()).await.unwrap();
    let key = Key::Manifest(backup_id(0)).to_string();
    let mut foreign = stored.manifest.clone();
    foreign.repository_id = RepositoryId::new(2);
    let mut large = stored.manifest.clone();
    large.databases_not_included = vec!["d".repeat(MAX_ROOT_BYTES)];
    for (manifest, reason) in [(foreign, "belongs to repository"), (large, "at most 65536")] {
        ground.store.replace(&key, document::encode(&manifest).unwrap());
        let refused = ground
            .repository
            .read_manifest(&backup_id(0))
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[tokio::test]
async fn backups_are_listed_by_time_and_foreign_objects_are_not() {
    let ground = Ground::new().await;
    for minute in [5, 1, 3] {
        ground.try_backup(minute, &two_tables()).await.unwrap();
    }
    for foreign in ["manifests/latest.json", "manifests/20261121T055117Z-8f3a2c1d.json.part"] {
        ground.store.put_new(foreign, Bytes::new()).await.unwrap();
    }
    let listed = ground.repository.backup_ids().await.unwrap();
    assert_eq!(listed, [backup_id(1), backup_id(3), backup_id(5)]);
}

#[tokio::test]
async fn the_previous_backup_is_the_newest_of_its_cluster_that_no_drill_refuted() {
    let ground = Ground::new().await;
    for minute in 0..3 {
        ground.try_backup(minute, &two_tables()).await.unwrap();
    }
    let mut other = draft(9, &two_tables());
    other.source.cluster = "other".to_owned();
    other.source.system_identifier = "7000000000000000002".to_owned();
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    writer.commit(other, records).await.unwrap();
    let identifiers = ground.repository.system_identifiers().await.unwrap();
    assert_eq!(identifiers.len(), 2);

    let previous = async || {
        let previous = ground.repository.previous_backup("shop").await.unwrap();
        previous.map(|stored| stored.manifest.backup_id)
    };
    assert_eq!(previous().await, Some(backup_id(2)));
    ground.verdict(2, 20, CertificateState::Failed, &[]).await;
    assert_eq!(previous().await, Some(backup_id(1)));
    // Whoever could not judge takes nothing back; a later certificate does.
    ground.verdict(2, 21, CertificateState::Unverified, &[]).await;
    assert_eq!(previous().await, Some(backup_id(1)));
    ground.verdict(2, 22, CertificateState::Certified, &[]).await;
    assert_eq!(previous().await, Some(backup_id(2)));
    // A root that cannot be read does not stop the next backup.
    let key = Key::Manifest(backup_id(2)).to_string();
    ground.store.replace(&key, Bytes::from_static(b"{}"));
    assert_eq!(previous().await, Some(backup_id(1)));
    // But nobody may conclude from it which clusters were never backed up.
    assert!(ground.repository.system_identifiers().await.is_err());
}

#[tokio::test]
async fn a_root_that_the_store_keeps_back_does_not_stop_the_next_backup_as_long_as_it_gives_another() {
    let ground = Ground::new().await;
    for minute in 0..2 {
        ground.try_backup(minute, &two_tables()).await.unwrap();
    }
    let previous = async |keys: &str, kind: ErrorKind| {
        let refusal = Fault::first(Operation::Get, keys, Effect::Refuse(kind)).always();
        let repository = ground.with_faults(vec![refusal]).await;
        let previous = repository.previous_backup("shop").await;
        previous.map(|stored| stored.map(|stored| stored.manifest.backup_id))
    };
    let newest = Key::Manifest(backup_id(1)).to_string();
    for kind in [ErrorKind::Denied, ErrorKind::Other] {
        assert_eq!(previous(&newest, kind).await.unwrap(), Some(backup_id(0)));
        // A bucket that keeps everything back only seems to be empty.
        let all = previous("manifests/", kind).await;
        assert!(
            matches!(&all, Err(Error::Storage(error)) if error.kind == kind),
            "{all:?}"
        );
    }
    for kind in [ErrorKind::Unavailable, ErrorKind::Credentials] {
        assert!(
            previous(&newest, kind).await.is_err(),
            "{kind:?} is not the root's trouble"
        );
    }
    // The one that it gives may be another cluster's: then there is none to build upon.
    let mut other = draft(2, &two_tables());
    other.source.cluster = "other".to_owned();
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    writer.commit(other, records).await.unwrap();
    let refusals = [0, 1].map(|minute| {
        let key = Key::Manifest(backup_id(minute)).to_string();
        Fault::first(Operation::Get, &key, Effect::Refuse(ErrorKind::Denied)).always()
    });
    let repository = ground.with_faults(refusals.into()).await;
    assert!(repository.previous_backup("shop").await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_backups_of_one_second_the_later_one_is_the_previous() {
    let ground = Ground::new().await;
    for (suffix, milliseconds) in [(9, 100), (1, 900), (5, 500)] {
        let mut draft = draft(0, &two_tables());
        draft.backup_id = BackupId::new(draft.backup_id.time(), suffix);
        draft.finished = draft.backup_id.time() + jiff::SignedDuration::from_millis(milliseconds);
        let writer = ground.writer().await;
        let records = put_all(&writer, &two_tables()).await.unwrap();
        writer.commit(draft, records).await.unwrap();
    }
    let previous = ground.repository.previous_backup("shop").await.unwrap().unwrap();
    assert!(previous.manifest.backup_id.as_str().ends_with("-00000001"));
}

#[tokio::test]
async fn certificates_are_known_from_one_listing_and_read_back() {
    let ground = Ground::new().await;
    ground.verdict(0, 20, CertificateState::Started, &[]).await;
    ground.verdict(0, 20, CertificateState::Failed, &["chunks/x"]).await;
    ground
        .verdict(1, 30, CertificateState::Certified, &["chunks/not damaged"])
        .await;
    ground
        .store
        .put_new("certificates/probes/1", Bytes::new())
        .await
        .unwrap();
    let before = ground.store.stats();
    let certificates = ground.repository.certificates().await.unwrap();
    let after = ground.store.stats();
    assert_eq!((after.lists - before.lists, after.gets - before.gets), (1, 0));
    let states = |minute| -> Vec<CertificateState> {
        let of_backup = certificates[&backup_id(minute)].iter();
        of_backup.map(|certificate| certificate.state).collect()
    };
    assert_eq!(states(0), [CertificateState::Started, CertificateState::Failed]);
    assert_eq!(states(1), [CertificateState::Certified]);
    let failed = &certificates[&backup_id(0)][1];
    let as_it_is = |_: &str, body: &[u8]| Ok(body.to_vec());
    let body = ground
        .repository
        .read_certificate(&backup_id(0), failed, as_it_is)
        .await;
    assert_eq!(body.unwrap(), br#"{"damaged_objects":["chunks/x"]}"#);
    let damaged = ground.repository.damaged_keys().await.unwrap();
    assert_eq!(damaged.into_iter().collect::<Vec<_>>(), ["chunks/x"]);
}

#[tokio::test]
async fn words_on_a_backup_that_arrive_damaged_once_are_read_again() {
    let ground = Ground::new().await;
    let stored = ground.try_backup(0, &two_tables()).await.unwrap();
    ground.verdict(0, 20, CertificateState::Failed, &[]).await;
    let repository = &ground.repository;
    repository.hold(&backup_id(0), "an audit", time(1)).await.unwrap();
    let acceptance = DriftAcceptance::new(&stored, time(1), "us".to_owned(), "a migration".to_owned());
    assert!(repository.accept_drift(&acceptance).await.unwrap());
    let damaged_once = |key| vec![Fault::first(Operation::Get, key, Effect::Truncate)];
    let hold = ground
        .with_faults(damaged_once("holds/"))
        .await
        .hold_of(&backup_id(0))
        .await;
    assert_eq!(hold.unwrap().unwrap().reason, "an audit");
    let accepted = ground.with_faults(damaged_once("drift/")).await;
    let accepted = accepted.drift_acceptance(&backup_id(0)).await.unwrap();
    assert_eq!(accepted.unwrap().reason, "a migration");
    let certificate = &repository.certificates_of(&backup_id(0)).await.unwrap()[0];
    let parse = |key: &str, body: &[u8]| {
        let parsed = serde_json::from_slice::<serde_json::Value>(body);
        parsed.map_err(|error| Error::damaged(key, error.to_string()))
    };
    let read = ground.with_faults(damaged_once("certificates/")).await;
    let read = read.read_certificate(&backup_id(0), certificate, parse).await.unwrap();
    assert_eq!(read["damaged_objects"], serde_json::json!([]));
}

#[tokio::test]
async fn a_certificate_is_never_replaced() {
    let ground = Ground::new().await;
    let drill_id = DrillId::new(time(20), 1);
    let put = async |body: &'static [u8]| {
        let (backup_id, state) = (backup_id(0), CertificateState::Certified);
        let body = Bytes::from_static(body);
        ground
            .repository
            .put_certificate(&backup_id, &drill_id, state, body)
            .await
    };
    put(b"first").await.unwrap();
    put(b"first").await.unwrap();
    assert!(matches!(put(b"second").await, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn a_lost_chunk_among_many_is_found_by_one_listing() {
    let ground = Ground::new().await;
    let names: Vec<&'static str> = (0..40).map(|number| &*format!("table {number}").leak()).collect();
    let tables: Vec<_> = (0u64..)
        .zip(names)
        .map(|(seed, name)| (name, rows(20, seed * 2)))
        .collect();
    let first = ground.backup(0, &tables).await;
    ground.store.delete(&first.chunks[17].key).await.unwrap();
    let before = ground.store.stats();
    let second = ground.backup(1, &tables).await;
    let after = ground.store.stats();
    assert_eq!(second.chunks[17].key, first.chunks[17].key);
    assert_eq!(
        second.manifest.stats.reused_chunks, 41,
        "all but the lost one, and the index"
    );
    // The index was found in the store, so that it alone was asked for by name.
    assert_eq!(after.heads - before.heads, 1);
}

/// Nobody says that it is too short, and no digest fits.
#[tokio::test]
async fn what_comes_short_once_is_read_again_and_always_is_damage() {
    let ground = Ground::new().await;
    ground.try_backup(0, &two_tables()).await.unwrap();
    let short = |key: &str| Fault::first(Operation::Get, key, Effect::Truncate);
    let once = ["repository.json", "manifests/", "chunks/"].map(short);
    let repository = ground.with_faults(once.to_vec()).await;
    let backup = repository.read_backup(&backup_id(0)).await.unwrap();
    assert_eq!(backup.manifest.backup_id, backup_id(0));
    for key in ["manifests/", "chunks/"] {
        let repository = ground.with_faults(vec![short(key).always()]).await;
        let read = repository.read_backup(&backup_id(0)).await;
        assert!(matches!(read, Err(Error::Damaged { .. })), "{key}: {read:?}");
    }
    let store = FaultStore::new(ground.store.clone(), vec![short("repository.json").always()]);
    let opened = Repository::open(Arc::new(store)).await;
    assert!(matches!(opened, Err(Error::Damaged { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_listing_of_before_hides_what_came_since_and_nothing_else() {
    let ground = Ground::new().await;
    ground.try_backup(0, &two_tables()).await.unwrap();
    let stale = Fault::first(Operation::List, "manifests/", Effect::Stale).after(1);
    let repository = ground.with_faults(vec![stale]).await;
    let ids = async || repository.backup_ids().await.unwrap();
    assert_eq!(ids().await, [backup_id(0)]);
    ground.try_backup(1, &two_tables()).await.unwrap();
    assert_eq!(ids().await, [backup_id(0)], "as it was");
    repository.read_backup(&backup_id(1)).await.unwrap();
    assert_eq!(ids().await, [backup_id(0), backup_id(1)]);
}

/// Without its name nobody finds a repository, however whole it is.
#[tokio::test]
async fn a_name_that_was_overwritten_or_hidden_is_read_from_an_older_version_and_a_hidden_one_is_put_back() {
    let ground = Ground::new().await;
    ground.store.keep_versions();
    ground.try_backup(0, &two_tables()).await.unwrap();
    let store: Arc<dyn ObjectStore> = ground.store.clone();
    let (key, id) = (Key::Repository.to_string(), ground.repository.id());

    ground.store.replace(&key, b"rubbish".as_slice().into());
    let opened = Repository::open(Arc::clone(&store)).await.unwrap();
    assert_eq!(
        (opened.id(), opened.read_from_older_versions()),
        (id, vec![key.clone()])
    );
    let opened = Repository::open_or_create(Arc::clone(&store), RepositoryId::new(9))
        .await
        .unwrap();
    assert_eq!(opened.id(), id);
    assert_eq!(
        store.get(&key).await.unwrap(),
        "rubbish",
        "nothing is put over an object"
    );

    store.delete(&key).await.unwrap();
    assert_eq!(Repository::open(Arc::clone(&store)).await.unwrap().id(), id);
    assert!(store.head(&key).await.is_err(), "who reads writes nothing");
    Repository::open_or_create(Arc::clone(&store), RepositoryId::new(9))
        .await
        .unwrap();
    let opened = Repository::open(store).await.unwrap();
    assert_eq!((opened.id(), opened.read_from_older_versions()), (id, vec![]));
    assert_eq!(opened.backup_ids().await.unwrap(), [backup_id(0)]);
}

/// Nobody knows then whether there is a repository: a new one would be somebody else's.
#[tokio::test]
async fn a_name_of_which_no_version_can_be_asked_for_is_neither_missing_nor_damaged() {
    let ground = Ground::new().await;
    ground.store.keep_versions();
    let key = Key::Repository.to_string();
    ground.store.delete(&key).await.unwrap();
    let away = Fault::first(Operation::List, key.as_str(), Effect::Refuse(ErrorKind::Unavailable)).always();
    let store = Arc::new(FaultStore::new(ground.store.clone(), vec![away]));
    let opened = Repository::open_or_create(store, RepositoryId::new(9)).await;
    assert!(
        matches!(&opened, Err(Error::Storage(error)) if error.kind == ErrorKind::Unavailable),
        "{opened:?}"
    );
    assert!(ground.store.head(&key).await.is_err());
}
