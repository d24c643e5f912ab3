//! The damage matrix at the level of the repository: every way to spoil every kind of object, noticed by `verify` and by
//! whoever reads, and named.

use bytes::Bytes;

use super::check::check_raw;
use super::*;
use crate::repository::document;
use crate::repository::testing::{Ground, backup_id, draft, put_all, rows, time, two_tables};
use crate::storage::faults::{Effect, Fault, Operation};
use crate::storage::{ErrorKind, ObjectStore as _};
use crate::telemetry::progress::Silent;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Delete,
    Truncate,
    Lengthen,
    Flip,
    /// Another object of the repository, of the same kind, in its place.
    Swap,
}

const EVERY_DAMAGE: [Damage; 5] = [
    Damage::Delete,
    Damage::Truncate,
    Damage::Lengthen,
    Damage::Flip,
    Damage::Swap,
];

impl Damage {
    async fn strike(self, ground: &Ground, key: &str, other: &str) {
        let body = ground.object(key).await;
        match self {
            Self::Delete => ground.store.delete(key).await.unwrap(),
            Self::Truncate => ground.store.replace(key, body.slice(..body.len() - 1)),
            Self::Lengthen => ground.store.replace(key, [body.as_ref(), b"\n"].concat().into()),
            Self::Flip => ground.store.replace(key, flipped(&body, body.len() / 2)),
            Self::Swap => {
                ground.store.replace(key, ground.object(other).await);
                ground.store.replace(other, body);
            }
        }
    }
}

fn flipped(body: &Bytes, at: usize) -> Bytes {
    let mut body = body.to_vec();
    body[at] ^= 0x04;
    body.into()
}

fn options(backups: &[i64]) -> VerifyOptions {
    VerifyOptions {
        verify_id: VerifyId::new(time(1000), 3),
        backups: backups.iter().map(|minute| backup_id(*minute)).collect(),
        concurrency: 4,
        record: true,
    }
}

async fn run(ground: &Ground, backups: &[i64]) -> VerifyReport {
    let cancel = CancellationToken::new();
    verify(&ground.repository, &options(backups), &Silent, &cancel)
        .await
        .unwrap()
}

/// Two backups that differ in every object but the schema archive.
async fn two_backups() -> (Ground, Backup, Backup) {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let second = ground
        .backup(1, &[("orders", rows(3000, 8)), ("items", rows(5000, 12))])
        .await;
    (ground, first, second)
}

fn keys(report: &VerifyReport) -> Vec<&str> {
    report.defects.iter().map(|defect| defect.key.as_str()).collect()
}

#[tokio::test]
async fn a_sound_repository_is_found_sound_and_each_object_read_once() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    ground.backup(1, &two_tables()).await;
    let one = run(&ground, &[0]).await;
    assert_eq!((one.outcome, one.objects), (VerifyOutcome::Sound, 5));
    let root = ground.object(&root_key(&first.manifest)).await.len() as u64;
    assert_eq!(one.bytes, first.manifest.stats.stored_bytes + root);
    let all = run(&ground, &[]).await;
    assert_eq!(
        (all.backups.len(), all.objects),
        (2, 6),
        "the second backup adds its root alone"
    );
    assert_eq!(all.damage_record, DamageRecord::NotNeeded);
}

#[tokio::test]
async fn every_damage_to_a_chunk_is_named_with_its_table_and_not_read() {
    for damage in EVERY_DAMAGE {
        let (ground, first, second) = two_backups().await;
        let key = &first.chunks[1].key;
        damage.strike(&ground, key, &second.chunks[1].key).await;
        let report = run(&ground, &[0]).await;
        assert_eq!(report.outcome, VerifyOutcome::Damaged, "{damage:?}");
        assert_eq!(keys(&report), [key], "{damage:?}");
        let touched = Touched {
            database: "shop".to_owned(),
            what: TouchedContent::Table("\"public\".\"orders\"".to_owned()),
        };
        assert_eq!(report.defects[0].touched, [touched]);
        assert_eq!(report.defects[0].backups, [backup_id(0)]);
        let read = ground.read_rows(&first, "orders").await.unwrap_err();
        assert_eq!(read.damaged_key(), Some(key.as_str()), "{damage:?}: {read}");
        assert!(ground.read_rows(&first, "items").await.is_ok());
    }
}

#[tokio::test]
async fn every_damage_to_an_index_is_named_and_not_read() {
    for damage in EVERY_DAMAGE {
        let (ground, first, second) = two_backups().await;
        let key = &first.manifest.index[0].key;
        damage.strike(&ground, key, &second.manifest.index[0].key).await;
        assert_eq!(keys(&run(&ground, &[0]).await), [key], "{damage:?}");
        let read = ground.repository.read_backup(&backup_id(0)).await.unwrap_err();
        assert_eq!(read.damaged_key(), Some(key.as_str()), "{damage:?}: {read}");
    }
}

#[tokio::test]
async fn every_damage_to_a_root_is_named_and_not_read() {
    for damage in EVERY_DAMAGE {
        let (ground, first, second) = two_backups().await;
        let key = root_key(&first.manifest);
        damage.strike(&ground, &key, &root_key(&second.manifest)).await;
        let read = ground.repository.read_backup(&backup_id(0)).await.unwrap_err();
        if matches!(damage, Damage::Delete) {
            // The backup does not exist then, by definition.
            assert!(
                matches!(&read, Error::NoSuchBackup(id) if *id == backup_id(0)),
                "{read}"
            );
            let cancel = CancellationToken::new();
            let verified = verify(&ground.repository, &options(&[0]), &Silent, &cancel).await;
            assert!(matches!(verified, Err(Error::NoSuchBackup(_))));
        } else {
            assert_eq!(read.damaged_key(), Some(key.as_str()), "{damage:?}: {read}");
            assert_eq!(keys(&run(&ground, &[0]).await), [&key], "{damage:?}");
        }
    }
}

#[tokio::test]
async fn a_flip_in_any_byte_of_any_object_is_noticed() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &[("orders", rows(40, 7))]).await;
    let chunks = backup
        .manifest
        .index
        .iter()
        .chain(&backup.chunks)
        .map(|chunk| chunk.key.clone());
    for key in chunks.chain([root_key(&backup.manifest)]) {
        let body = ground.object(&key).await;
        for at in 0..body.len() {
            ground.store.replace(&key, flipped(&body, at));
            assert_eq!(keys(&run(&ground, &[]).await), [&key], "byte {at}");
        }
        ground.store.replace(&key, body);
    }
}

#[tokio::test]
async fn chunks_that_contradict_their_manifest_are_told_though_their_sha256_fits() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let chunk = &backup.chunks[1];
    let bytes = ground.repository.read_chunk(chunk).await.unwrap();
    assert!(check_raw(chunk, &bytes).is_ok());
    let mut lying = chunk.clone();
    lying.raw_blake3 = Blake3Digest::of(b"other rows");
    let reason = check_raw(&lying, &bytes).unwrap_err().to_string();
    assert!(reason.contains("BLAKE3"), "{reason}");
}

#[tokio::test]
async fn a_root_exchanged_for_another_well_formed_one_is_told_by_its_successor() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    let mut draft = draft(1, &two_tables());
    draft.predecessor = Some(crate::repository::manifest::Predecessor {
        backup_id: backup_id(0),
        manifest_sha256: first.manifest_sha256,
    });
    writer.commit(draft, records).await.unwrap();
    assert_eq!(run(&ground, &[]).await.outcome, VerifyOutcome::Sound);

    let mut forged = first.manifest.clone();
    forged.stats.rows += 1;
    let key = root_key(&first.manifest);
    ground.store.replace(&key, document::encode(&forged).unwrap());
    assert_eq!(keys(&run(&ground, &[]).await), [&key]);
}

#[tokio::test]
async fn what_is_found_damaged_is_recorded_once_and_healed_by_the_next_backup() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let key = &first.chunks[2].key;
    ground.store.replace(key, flipped(&ground.object(key).await, 30));
    let report = run(&ground, &[]).await;
    assert!(
        matches!(report.damage_record, DamageRecord::Written { .. }),
        "{report:?}"
    );
    assert!(ground.repository.damaged_keys().await.unwrap().contains(key));
    assert_eq!(run(&ground, &[]).await.damage_record, DamageRecord::AlreadyKnown);

    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.manifest.stats.healed_chunks, 1);
    assert_eq!(run(&ground, &[1]).await.outcome, VerifyOutcome::Sound);
}

#[tokio::test]
async fn a_backup_that_needs_what_is_known_to_be_damaged_is_recorded_too() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    ground.backup(1, &two_tables()).await;
    let key = &first.chunks[2].key;
    ground.store.replace(key, flipped(&ground.object(key).await, 30));
    let of = |number: u32, backups: &[i64]| VerifyOptions {
        verify_id: VerifyId::new(time(1000), number),
        ..options(backups)
    };
    let cancel = CancellationToken::new();
    for (options, is_written) in [
        (of(1, &[0]), true),
        (of(2, &[0]), false),
        (of(3, &[]), true),
        (of(4, &[]), false),
    ] {
        let report = verify(&ground.repository, &options, &Silent, &cancel).await.unwrap();
        let record = report.damage_record;
        assert_eq!(matches!(record, DamageRecord::Written { .. }), is_written, "{record:?}");
    }
}

#[tokio::test]
async fn a_chunk_shared_by_two_backups_is_one_defect_of_both() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    ground.backup(1, &two_tables()).await;
    let key = &first.chunks[0].key;
    ground.store.delete(key).await.unwrap();
    let report = run(&ground, &[]).await;
    assert_eq!(keys(&report), [key]);
    assert_eq!(report.defects[0].backups, [backup_id(0), backup_id(1)]);
    assert_eq!(report.defects[0].touched[0].what, TouchedContent::SchemaArchive);
}

#[tokio::test]
async fn a_cancelled_verification_says_that_it_did_not_reach_the_end() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report = verify(&ground.repository, &options(&[]), &Silent, &cancel)
        .await
        .unwrap();
    assert_eq!((report.outcome, report.objects), (VerifyOutcome::Interrupted, 0));
}

#[tokio::test]
async fn whoever_may_not_record_damage_says_so_and_reports_it_all_the_same() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    ground.store.delete(&first.chunks[0].key).await.unwrap();
    let refused = Fault::first(Operation::Put, "damage/", Effect::Refuse(ErrorKind::Denied));
    let repository = ground.with_faults(vec![refused]).await;
    let cancel = CancellationToken::new();
    let report = verify(&repository, &options(&[]), &Silent, &cancel).await.unwrap();
    assert_eq!(keys(&report), [&first.chunks[0].key]);
    assert!(
        matches!(&report.damage_record, DamageRecord::NotWritten { reason, .. } if reason.contains("access denied")),
        "{:?}",
        report.damage_record
    );
}

#[tokio::test]
async fn a_byte_lost_on_the_way_is_no_damage_but_a_byte_lost_twice_is() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    for prefix in ["chunks/", "manifests/"] {
        let once = Fault::first(Operation::Get, prefix, Effect::Corrupt);
        for (fault, expected) in [
            (once.clone(), VerifyOutcome::Sound),
            (once.always(), VerifyOutcome::Damaged),
        ] {
            let repository = ground.with_faults(vec![fault]).await;
            let cancel = CancellationToken::new();
            let report = verify(&repository, &options(&[]), &Silent, &cancel).await.unwrap();
            assert_eq!(report.outcome, expected, "{prefix}");
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_no_damage() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    for kind in [ErrorKind::Unavailable, ErrorKind::Denied, ErrorKind::Credentials] {
        let fault = Fault::first(Operation::Get, "chunks/", Effect::Refuse(kind)).after(2);
        let repository = ground.with_faults(vec![fault]).await;
        let cancel = CancellationToken::new();
        let verified = verify(&repository, &options(&[]), &Silent, &cancel).await;
        assert!(matches!(verified, Err(Error::Storage(_))), "{verified:?}");
    }
    assert!(ground.repository.damaged_keys().await.unwrap().is_empty());
}
