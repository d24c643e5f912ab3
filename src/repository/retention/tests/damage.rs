//! What was found damaged: what it refutes, and which words of it a prune must not forget.

use super::*;

/// A verification refutes all that was certified when the others went: what had expired may be all that there is.
#[tokio::test]
async fn nothing_expired_goes_while_no_backup_is_certified() {
    let ground = Ground::with_days(5).await;
    assert_eq!(ground.expire(&last(2)).await.expired, ids(0..3));
    let chunks = ground.keys(layout::CHUNKS).await;
    ground.set_minute(8 * DAY);
    for day in [3, 4] {
        ground.verdict(day * DAY, 8 * DAY, CertificateState::Failed, &[]).await;
    }
    ground.set_minute(20 * DAY);
    for _ in 0..2 {
        let report = ground.prune().await;
        assert_eq!(report.unproven.as_deref(), Some("shop"));
        assert_eq!(
            (report.deleted.objects, report.leftovers.tombstones, report.tombstones),
            (0, 0, 3)
        );
        assert_eq!(ground.keys(layout::CHUNKS).await, chunks);
    }
    // A prune had begun to take the oldest: what is left of it keeps nothing from its work.
    let tombstone = ground.repository.read_tombstone(&backup_id(0)).await.unwrap().unwrap();
    ground.store.delete(&tombstone.index[0].key).await.unwrap();
    assert_eq!(ground.prune().await.unproven.as_deref(), Some("shop"));

    ground
        .verdict(4 * DAY, 21 * DAY, CertificateState::Certified, &[])
        .await;
    let report = ground.prune().await;
    assert_eq!((report.unproven, report.leftovers.tombstones), (None, 3));
    assert!(report.deleted.objects > 0);
    assert!(ground.is_sound().await);
}

#[tokio::test]
async fn what_names_a_damaged_object_stays_while_the_object_is_there() {
    let ground = Ground::with_days(3).await;
    let backup = ground.repository.read_backup(&backup_id(0)).await.unwrap();
    let shared = &backup.chunks[1].key;
    let alone = &backup.chunks[2].key;
    ground.verdict(0, 2, CertificateState::Failed, &[shared]).await;
    ground.verdict(DAY, DAY + 2, CertificateState::Failed, &[alone]).await;
    // The newest needs one of them too, and has been read since.
    drill(&ground, 2, 2 * DAY + 2 * HOUR, 2 * DAY + 3 * HOUR).await;
    ground.expire(&last(1)).await;
    ground.set_minute(20 * DAY);
    ground.prune().await;
    let left = ground.keys(layout::CERTIFICATES).await;
    let failed: Vec<&String> = left.iter().filter(|key| key.contains("failed")).collect();
    assert_eq!(failed.len(), 1, "{left:?}");
    assert!(failed[0].contains(backup_id(0).as_str()));
}

#[tokio::test]
async fn a_damage_record_that_cannot_be_read_may_name_anything_and_stays() {
    let ground = Ground::with_days(2).await;
    let record = Key::Damage(VerifyId::new(time(0), 1)).to_string();
    ground
        .store
        .put_new(&record, "written by a newer version".into())
        .await
        .unwrap();
    ground.set_minute(10 * DAY);
    assert_eq!(ground.prune().await.leftovers.damage_records, 0);
    assert!(ground.store.head(&record).await.is_ok());
}

/// Flips a bit of a chunk that no other backup needs.
async fn damage_one(ground: &Ground, day: i64) {
    let backup = ground.repository.read_backup(&backup_id(day * DAY)).await.unwrap();
    let before = ground
        .repository
        .read_backup(&backup_id((day - 1) * DAY))
        .await
        .unwrap();
    let mut chunks = backup.chunks.iter();
    let own = chunks.find(|chunk| !before.chunks.contains(chunk)).unwrap();
    let mut body = ground.object(&own.key).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(&own.key, body.into());
}

async fn verify_and_record(ground: &Ground, minute: i64) -> crate::repository::VerifyReport {
    ground.set_minute(minute);
    let options = VerifyOptions {
        verify_id: VerifyId::new(time(minute), 1),
        backups: Vec::new(),
        concurrency: 4,
        record: true,
    };
    let cancel = CancellationToken::new();
    let report = verify(
        &ground.repository,
        &options,
        &crate::telemetry::progress::Silent,
        &cancel,
    );
    report.await.unwrap()
}

/// A drill of the backup of `day` that begins and ends at these minutes, by the store's clock.
async fn drill(ground: &Ground, day: i64, begun: i64, ended: i64) {
    ground.set_minute(begun);
    let drill_id = DrillId::new(time(begun), 9);
    let repository = &ground.repository;
    repository
        .put_certificate(&backup_id(day * DAY), &drill_id, CertificateState::Started, "{}".into())
        .await
        .unwrap();
    ground.set_minute(ended);
    ground.verdict(day * DAY, begun, CertificateState::Certified, &[]).await;
}

async fn proofs(ground: &Ground) -> Vec<(String, Decision)> {
    let dry = ExpireOptions {
        dry_run: true,
        ..last(1)
    };
    let report = ground.expire(&dry).await;
    report
        .lines()
        .map(|line| (line.proof.to_string(), line.decision))
        .collect()
}

#[tokio::test]
async fn what_a_verification_found_damaged_is_proven_no_more_until_a_later_drill_has_read_it() {
    use Decision::{Drop, Keep};
    let ground = Ground::with_days(3).await;
    let all_is_well = [("certified", Drop), ("certified", Drop), ("certified", Keep)];
    let newest_is_damaged = [("certified", Drop), ("certified", Keep), ("unproven", Keep)];
    let as_text = |lines: [(&str, Decision); 3]| lines.map(|(proof, decision)| (proof.to_owned(), decision));
    assert_eq!(proofs(&ground).await, as_text(all_is_well));
    let now = 2 * DAY + 2 * HOUR;
    damage_one(&ground, 2).await;
    assert_eq!(verify_and_record(&ground, now).await.outcome, VerifyOutcome::Damaged);
    assert_eq!(proofs(&ground).await, as_text(newest_is_damaged));

    drill(&ground, 2, now - 10, now + 10).await;
    ground.set_minute(now + 11);
    let begun_before = Key::Certificate {
        backup_id: backup_id(2 * DAY),
        drill_id: DrillId::new(time(now - 10), 9),
        state: CertificateState::Started,
    };
    assert!(ground.store.head(&begun_before.to_string()).await.is_ok());
    assert_eq!(
        proofs(&ground).await,
        as_text(newest_is_damaged),
        "it may have read it before"
    );
    drill(&ground, 2, now + 20, now + 30).await;
    assert_eq!(
        proofs(&ground).await,
        as_text(all_is_well),
        "somebody has mended it in its place"
    );

    // Found once more: it has to be said once more.
    assert_eq!(
        verify_and_record(&ground, now + 40).await.outcome,
        VerifyOutcome::Damaged
    );
    assert_eq!(proofs(&ground).await, as_text(newest_is_damaged));
    let records = ground.keys(layout::DAMAGE).await.len();
    verify_and_record(&ground, now + 50).await;
    assert_eq!(ground.keys(layout::DAMAGE).await.len(), records, "it is known");
}

#[tokio::test]
async fn what_one_drill_found_damaged_is_damaged_for_every_backup_that_needs_it() {
    let ground = Ground::new().await;
    let (old, new) = ([("orders", rows(3000, 5))], [("orders", rows(3000, 11))]);
    for (day, tables) in [(0, &old), (1, &new), (2, &new), (3, &new)] {
        ground.set_minute(day * DAY);
        ground.backup(day * DAY, tables).await;
        if day < 3 {
            drill(&ground, day, day * DAY + 1, day * DAY + 2).await;
        }
    }
    let oldest = ground.repository.read_backup(&backup_id(0)).await.unwrap();
    let newest = ground.repository.read_backup(&backup_id(3 * DAY)).await.unwrap();
    let mut shared = newest.chunks.iter().map(|chunk| &chunk.key);
    let shared = shared
        .find(|key| !oldest.chunks.iter().any(|chunk| chunk.key == **key))
        .unwrap();
    let now = 3 * DAY + HOUR;
    ground.set_minute(now);
    ground.verdict(3 * DAY, now, CertificateState::Failed, &[shared]).await;
    let proofs_now = proofs(&ground).await;
    let proof = |line: &(String, Decision)| line.0.clone();
    assert_eq!(
        proofs_now.iter().map(proof).collect::<Vec<_>>(),
        ["certified", "unproven", "unproven", "failed"]
    );
    assert_eq!(proofs_now[0].1, Decision::Keep, "the only one that can be restored");

    // Also when the object is gone, and the backup that was drilled.
    let manifest = Key::Manifest(backup_id(3 * DAY)).to_string();
    let root = ground.object(&manifest).await;
    let body = ground.object(shared).await;
    for key in [&manifest, shared] {
        ground.store.delete(key).await.unwrap();
    }
    ground.set_minute(now + 3 * DAY);
    ground.prune().await;
    assert_eq!(
        proofs(&ground).await.iter().map(proof).collect::<Vec<_>>(),
        ["certified", "unproven", "unproven"]
    );
    ground.store.put_new(&manifest, root).await.unwrap();
    ground.store.put_new(shared, body).await.unwrap();

    // A drill that has read it since knows better, for its own backup.
    let now = now + 3 * DAY;
    drill(&ground, 2, now + 10, now + 20).await;
    assert_eq!(
        proofs(&ground).await.iter().map(proof).collect::<Vec<_>>(),
        ["certified", "certified", "certified", "failed"],
        "what was said of it is older than the object"
    );
}
