//! The place where a copy writes, when its listings, or what it reads there, fail for as long as the copy runs.

use super::*;

/// Whatever is asked and changes nothing.
const READS: [Operation; 3] = [Operation::List, Operation::Get, Operation::Head];

/// One of two backups is there, with whatever else a copy looks at over there.
async fn half_filled() -> (Ground, Arc<MemoryStore>) {
    let ground = Ground::new().await;
    ground
        .backup(0, &[("orders", rows(50, 7)), ("items", rows(50, 11))])
        .await;
    let (store, to) = empty_copy(&ground).await;
    let now = Timestamp::UNIX_EPOCH;
    ground.repository.hold(&backup_id(0), "audit", now).await.unwrap();
    ground.verdict(0, 1, CertificateState::Certified, &[]).await;
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
    ground.repository.unhold(&backup_id(0), now).await.unwrap();
    let damage = Key::Damage(VerifyId::new(time(2), 1)).to_string();
    let said = r#"{"damaged_objects": [], "defects": []}"#;
    store.put_new(&damage, said.into()).await.unwrap();
    ground
        .backup(1, &[("orders", rows(50, 7)), ("items", rows(50, 13))])
        .await;
    ground.repository.hold(&backup_id(1), "wait", now).await.unwrap();
    (ground, store)
}

/// Every backup over there reads back, to its last chunk.
async fn assert_whole(store: &Arc<MemoryStore>, what: &str) -> Vec<BackupId> {
    let to = Repository::open(store.clone()).await.unwrap();
    let there = to.backup_ids().await.unwrap();
    for backup_id in &there {
        let backup = to.read_backup(backup_id).await.unwrap();
        for chunk in backup.manifest.index.iter().chain(&backup.chunks) {
            let read = to.read_chunk(chunk).await;
            assert!(read.is_ok(), "{what}: {backup_id} lacks {}", chunk.key);
        }
    }
    there
}

/// A whole copying over a store that fails; none where it hangs, and was cut off.
async fn copy_over(ground: &Ground, faulty: Arc<FaultStore>, hangs: bool) -> Option<Result<CopyReport>> {
    let mut struck = faulty.struck();
    let copying = async {
        let to = open_copy(&ground.repository, faulty).await?;
        copy(&ground.repository, &to, &options(), &Silent).await
    };
    let cut_off = async {
        let hung = struck.wait_for(|struck| *struck > 0 && hangs).await;
        drop(hung.unwrap());
    };
    tokio::select! {
        biased;
        ended = copying => Some(ended),
        () = cut_off => None,
    }
}

async fn survives(operation: Operation, effect: Effect) {
    for after in 0.. {
        let what = format!("{operation:?} number {after}: {effect:?}");
        let (ground, store) = half_filled().await;
        let lasting = Fault::first(operation, "", effect).after(after).always();
        let faulty = Arc::new(FaultStore::new(store.clone(), vec![lasting]));
        let struck = faulty.struck();
        let ended = copy_over(&ground, faulty, effect == Effect::Hang).await;
        let there = assert_whole(&store, &what).await;
        match &ended {
            None => assert_eq!(effect, Effect::Hang, "{what}"),
            // One error, with what was asked for and where below the place.
            Some(Err(Error::Storage(error))) => {
                assert_eq!(Effect::Refuse(error.kind), effect, "{what}: {error}");
                assert_eq!(error.operation, operation.as_str(), "{what}: {error}");
            }
            Some(Err(Error::Damaged { key, .. })) => assert!(!key.is_empty(), "{what}"),
            Some(Err(error)) => panic!("{what}: {error}"),
            // What could not be brought is named with why.
            Some(Ok(report)) => {
                let is_all = there.len() == 2;
                let is_named = report.left.iter().any(|left| left.backup_id == backup_id(1));
                assert!(is_all || is_named, "{what}: {report:?}");
                assert!(
                    report.left.iter().all(|left| left.reason.contains('\'')),
                    "{what}: {report:?}"
                );
            }
        }
        let to = Repository::open(store.clone()).await.unwrap();
        let again = run(&ground, &to).await;
        assert!(again.left.is_empty(), "{what}: {again:?}");
        assert_eq!(assert_whole(&store, &what).await.len(), 2, "{what}");
        let held: Vec<BackupId> = to.holds().await.unwrap().into_keys().collect();
        assert_eq!(held, [backup_id(1)], "{what}");
        if *struck.borrow() == 0 {
            assert!(after > 3, "{what}");
            return;
        }
    }
}

#[tokio::test]
async fn refusals_that_last_end_a_copy_with_what_was_refused_and_the_next_one_completes_it() {
    for operation in READS {
        for kind in [ErrorKind::Denied, ErrorKind::Unavailable] {
            survives(operation, Effect::Refuse(kind)).await;
        }
    }
}

#[tokio::test]
async fn a_copy_that_hangs_at_any_question_and_is_cut_off_leaves_no_half_backup() {
    for operation in READS {
        survives(operation, Effect::Hang).await;
    }
}

#[tokio::test]
async fn what_comes_damaged_from_the_place_is_believed_nowhere() {
    for effect in [Effect::Corrupt, Effect::Truncate] {
        survives(Operation::Get, effect).await;
    }
}

/// As if nothing were there at all. Without any root that refers to them, chunks that lie there are not relied on.
#[tokio::test]
async fn a_place_whose_listings_show_nothing_gets_no_half_backup_and_the_next_copy_completes_it() {
    for prefix in [
        "manifests/",
        "holds/",
        "damage/",
        "drift/",
        "elsewhere/",
        "certificates/",
        "tombstones/",
    ] {
        let (ground, store) = half_filled().await;
        let stale = Fault::first(Operation::List, prefix, Effect::Stale).always();
        let faulty = Arc::new(FaultStore::new(store.clone(), vec![stale]));
        let ended = copy_over(&ground, faulty, false).await.unwrap();
        let report = ended.unwrap();
        assert_eq!(report.left.is_empty(), prefix != "manifests/", "{prefix}: {report:?}");
        for left in &report.left {
            let waits = left.reason.contains("a prune may be about to delete it");
            assert!(waits, "{prefix}: {report:?}");
        }
        assert_whole(&store, prefix).await;
        let to = Repository::open(store.clone()).await.unwrap();
        let again = run(&ground, &to).await;
        assert!(again.left.is_empty(), "{prefix}: {again:?}");
        assert_eq!(assert_whole(&store, prefix).await.len(), 2, "{prefix}");
        let held: Vec<BackupId> = to.holds().await.unwrap().into_keys().collect();
        assert_eq!(held, [backup_id(1)], "{prefix}");
    }
}
