//! Chunks that are damaged, gone or kept back, here or there: none is brought, and what is whole is.

use super::*;

#[tokio::test]
async fn a_damaged_chunk_is_not_brought_and_keeps_its_backup_back_alone() {
    let ground = Ground::new().await;
    let good = ground.backup(0, &[("orders", rows(3000, 7))]).await;
    let bad = ground.backup(1, &[("items", rows(5000, 11))]).await;
    let of_bad = &bad
        .chunks
        .iter()
        .find(|chunk| !good.chunks.contains(chunk))
        .unwrap()
        .key;
    let mut body = ground.object(of_bad).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(of_bad, body.into());
    let (_, to) = empty_copy(&ground).await;
    let report = run(&ground, &to).await;
    assert_eq!(report.copied, [backup_id(0)]);
    assert_eq!(report.left.len(), 1);
    assert_eq!(report.left[0].backup_id, backup_id(1));
    assert!(
        report.left[0].reason.contains(of_bad.as_str()),
        "{}",
        report.left[0].reason
    );
    assert_eq!(to.backup_ids().await.unwrap(), [backup_id(0)]);
    assert!(to.store().head(of_bad).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn beside_a_damaged_chunk_the_others_come_since_older_backups_may_be_made_of_them() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let mut body = ground.object(&backup.chunks[0].key).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(&backup.chunks[0].key, body.into());
    let (_, to) = empty_copy(&ground).await;
    let one_by_one = CopyOptions {
        concurrency: 1,
        ..options()
    };
    let report = copy(&ground.repository, &to, &one_by_one, &Silent).await.unwrap();
    assert_eq!((report.copied.len(), report.left.len()), (0, 1));
    for chunk in &backup.chunks[1..] {
        assert!(to.store().head(&chunk.key).await.is_ok(), "{}", chunk.key);
    }
}

#[tokio::test]
async fn what_the_newest_backups_index_cannot_tell_an_older_ones_tells() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    run(&ground, &to).await;
    let key = shared_key(&to, &second).await;
    damage_and_verify(&store, &to, &key, 20).await;
    store.delete(&key).await.unwrap();
    let index = &second.manifest.index[0].key;
    for place in [&store, &ground.store] {
        let mut body = place.get(index).await.unwrap().to_vec();
        body[20] ^= 1;
        place.replace(index, body.into());
    }
    let report = run(&ground, &to).await;
    assert_eq!((report.mended_chunks, report.left.len()), (1, 0), "{report:?}");
    assert!(store.head(&key).await.is_ok());
}

/// As under a key that is gone, or in an archive class.
#[tokio::test]
async fn a_chunk_that_its_store_keeps_back_keeps_back_its_own_backups_alone() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let others = [("orders", rows(2000, 17)), ("items", rows(2000, 19))];
    let second = ground.backup(1, &others).await;
    let of_first = |key: &String| first.chunks.iter().any(|chunk| chunk.key == *key);
    let refused = second
        .chunks
        .iter()
        .map(|chunk| &chunk.key)
        .find(|key| !of_first(key))
        .unwrap();
    for kind in [ErrorKind::Denied, ErrorKind::Other] {
        let (_, to) = empty_copy(&ground).await;
        let from = ground
            .with_faults(vec![
                Fault::first(Operation::Get, refused.as_str(), Effect::Refuse(kind)).always(),
            ])
            .await;
        let report = copy(&from, &to, &options(), &Silent).await.unwrap();
        assert_eq!(report.copied, [backup_id(0)], "{kind:?}");
        assert_eq!(report.left.len(), 1);
        assert!(
            report.left[0].backup_id == backup_id(1) && report.left[0].reason.contains(refused),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn what_is_known_to_be_damaged_there_keeps_a_backup_back_until_it_is_removed_and_brought_anew() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    ground.verdict(0, 2, CertificateState::Certified, &[]).await;
    let key = shared_key(&to, &second).await;
    let mut body = store.get(&key).await.unwrap().to_vec();
    body[20] ^= 1;
    store.replace(&key, body.into());
    store.set_clock(time(20));
    assert_eq!(verify_all(&to, 20).await, VerifyOutcome::Damaged);

    store.set_clock(time(30));
    let report = run(&ground, &to).await;
    assert_eq!(report.left.len(), 1, "{report:?}");
    let reason = &report.left[0].reason;
    assert!(reason.contains(&key) && reason.contains("damaged there"), "{reason}");
    assert_eq!(to.backup_ids().await.unwrap(), [backup_id(0)]);
    assert!(verdicts(&to).await.is_empty());

    store.delete(&key).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied, [backup_id(1)]);
    assert_eq!(verify_all(&to, 40).await, VerifyOutcome::Sound, "the first one too");
    assert_eq!(verdicts(&to).await[&backup_id(0)], CertificateState::Certified);
    ground.backup(2, &[("orders", rows(3000, 7))]).await;
    assert_eq!(run(&ground, &to).await.copied, [backup_id(2)]);
}

#[tokio::test]
async fn what_was_damaged_there_and_removed_comes_anew_for_the_backups_that_are_long_there() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    ground.verdict(0, 2, CertificateState::Certified, &[]).await;
    run(&ground, &to).await;
    let of_rows = shared_key(&to, &second).await;
    let of_index = second.manifest.index[0].key.clone();
    for (number, key) in [of_rows, of_index].into_iter().enumerate() {
        let minute = 20 + 20 * i64::try_from(number).unwrap();
        damage_and_verify(&store, &to, &key, minute).await;
        let before = store.stats().puts;
        let report = run(&ground, &to).await;
        assert_eq!(
            (report.mended_chunks, report.left.len()),
            (0, 0),
            "nobody has removed it"
        );
        assert_eq!(store.stats().puts, before);

        store.delete(&key).await.unwrap();
        store.set_clock(time(minute + 10));
        let report = run(&ground, &to).await;
        assert_eq!((report.mended_chunks, report.copied_chunks), (1, 1), "{report:?}");
        assert_eq!(report.copied.len(), 0);
        assert_eq!(verify_all(&to, minute + 15).await, VerifyOutcome::Sound);
        assert_eq!(run(&ground, &to).await.mended_chunks, 0);
    }
    assert_eq!(
        verdicts(&to).await[&backup_id(0)],
        CertificateState::Certified,
        "the word from elsewhere counts again"
    );
}

#[tokio::test]
async fn what_is_damaged_in_both_places_is_told_as_long_as_that_is_known() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    run(&ground, &to).await;
    let key = shared_key(&to, &second).await;
    damage_and_verify(&store, &to, &key, 20).await;
    store.delete(&key).await.unwrap();
    let mut body = ground.object(&key).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(&key, body.into());
    let report = run(&ground, &to).await;
    let left: Vec<&BackupId> = report.left.iter().map(|left| &left.backup_id).collect();
    assert_eq!(left, [&backup_id(1), &backup_id(0)], "each backup that needs it");
    assert_eq!(report.settled.len(), 0, "{report:?}");
    for left in &report.left {
        let reason = &left.reason;
        assert!(
            reason.contains(&key)
                && reason.contains("cannot be brought anew")
                && !reason.contains("more of its chunks"),
            "{reason}"
        );
    }

    // One more of the second's own: the first is told as before.
    let own = second.chunks.iter().find(|chunk| chunk.key != key).unwrap().key.clone();
    damage_and_verify(&store, &to, &own, 40).await;
    store.delete(&own).await.unwrap();
    ground.store.delete(&own).await.unwrap();
    let report = run(&ground, &to).await;
    assert_eq!(report.left.len(), 2, "one line a backup: {report:?}");
    let reason = &report.left[0].reason;
    assert!(reason.ends_with("(and 1 more of its chunks)"), "{reason}");
}

#[tokio::test]
async fn what_is_gone_over_there_is_brought_for_the_next_backup_and_heals_those_before_it() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    store.delete(&shared_key(&to, &second).await).await.unwrap();
    assert_eq!(verify_all(&to, 10).await, VerifyOutcome::Damaged);
    store.set_clock(time(20));
    assert_eq!(run(&ground, &to).await.copied, [backup_id(1)]);
    assert_eq!(verify_all(&to, 20).await, VerifyOutcome::Sound);
}

#[tokio::test]
async fn what_was_cut_short_over_there_keeps_a_backup_back_although_another_one_refers_to_it() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    let key = shared_key(&to, &second).await;
    store.replace(&key, Bytes::from_static(b"short"));
    let report = run(&ground, &to).await;
    let reason = &report.left[0].reason;
    assert!(
        reason.contains(&key) && reason.contains("5 bytes instead of"),
        "{reason}"
    );
    assert_eq!(to.backup_ids().await.unwrap(), [backup_id(0)]);
}

#[tokio::test]
async fn what_is_cut_short_or_goes_while_a_backup_is_brought_keeps_its_manifest_back() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    let key = shared_key(&to, &second).await;
    let meanwhile = Meanwhile("chunks", || store.replace(&key, Bytes::from_static(b"short")));
    let report = copy(&ground.repository, &to, &options(), &meanwhile).await.unwrap();
    let reason = &report.left[0].reason;
    assert!(reason.contains(&key) && reason.contains("has gone"), "{reason}");
    assert_eq!(to.backup_ids().await.unwrap(), [backup_id(0)]);
}

#[tokio::test]
async fn damage_that_stands_is_forgotten_by_no_prune_while_there_is_a_backup_that_it_names() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    ground.verdict(0, 2, CertificateState::Certified, &[]).await;
    assert_eq!(run(&ground, &to).await.copied, [backup_id(1)]);
    assert_eq!(verdicts(&to).await.len(), 1);
    let key = shared_key(&to, &second).await;
    for place in [&store, &ground.store] {
        place.delete(&key).await.unwrap();
    }
    store.set_clock(time(20));
    assert_eq!(verify_all(&to, 20).await, VerifyOutcome::Damaged);
    let options = PruneOptions {
        grace: GRACE,
        dry_run: false,
    };
    store.set_clock(time(20 + 48 * 60));
    let pruned = prune(&to, &options, &CancellationToken::new()).await.unwrap();
    assert_eq!(pruned.leftovers.damage_records, 0);
    assert!(verdicts(&to).await.is_empty());
    let report = run(&ground, &to).await;
    let left: Vec<&BackupId> = report.left.iter().map(|left| &left.backup_id).collect();
    assert_eq!(left, [&backup_id(1), &backup_id(0)], "both need it: {report:?}");

    // One that needs nothing of theirs.
    ground.backup(2, &[("other", rows(50, 999))]).await;
    run(&ground, &to).await;
    for minute in [0, 1] {
        let manifest = Key::Manifest(backup_id(minute)).to_string();
        store.delete(&manifest).await.unwrap();
    }
    let pruned = prune(&to, &options, &CancellationToken::new()).await.unwrap();
    assert_eq!(pruned.leftovers.damage_records, 1);
}
