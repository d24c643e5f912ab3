//! Writing, reusing, healing, committing: over a repository in memory.

use super::*;
use crate::repository::testing::{Ground, draft, next_name, put_all, rows, time, two_tables};
use crate::repository::{CertificateState, Error, StoredManifest, id::BackupId};
use crate::storage::faults::{Effect, Fault, FaultStore, Operation};
use crate::storage::{ErrorKind, ObjectStore as _};

#[tokio::test]
async fn what_was_put_is_read_back() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    for (name, rows) in two_tables() {
        assert_eq!(ground.read_rows(&backup, name).await.unwrap(), rows);
    }
    let archive = &backup.databases[0].head.schema_archive;
    assert_eq!(
        ground.repository.read_segments(&backup, archive).await.unwrap(),
        "a schema archive"
    );
}

#[tokio::test]
async fn an_unchanged_second_backup_stores_nothing_but_its_root() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let first = ground.backup(0, &two_tables()).await;
    let puts = ground.store.stats().puts;
    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.chunks, first.chunks);
    let stats = second.manifest.stats;
    // The records are those of the first backup, so that even the index is found in the store.
    assert_eq!(
        (stats.chunks, stats.new_chunks, stats.reused_chunks, stats.new_bytes),
        (4, 0, 4, 0)
    );
    assert_eq!(ground.store.stats().puts - puts, 2, "the index and the root");
}

#[tokio::test]
async fn only_what_changed_is_stored_again() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let mut tables = two_tables();
    tables[1].1 = rows(5001, 11);
    let stats = ground.backup(1, &tables).await.manifest.stats;
    assert_eq!(
        (stats.new_chunks, stats.reused_chunks),
        (2, 2),
        "the table and the index are new"
    );
    assert!(stats.new_bytes < stats.stored_bytes);
}

#[tokio::test]
async fn the_same_contents_twice_are_one_chunk() {
    let ground = Ground::new().await;
    let writer = Arc::new(ground.writer().await);
    let puts = (0..8).map(|_| {
        let writer = Arc::clone(&writer);
        tokio::spawn(async move {
            writer
                .put(rows(4000, 3), vec![1000, rows(4000, 3).len()])
                .await
                .unwrap()
        })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_eq!(put.await.unwrap(), 0);
    }
    assert_eq!((writer.stats().chunks, writer.stats().new_chunks), (1, 1));
}

/// The root was sent and the store is gone: nobody may say that there is no backup.
#[tokio::test]
async fn a_root_that_nobody_answered_for_may_exist_and_the_error_says_so() {
    use crate::storage::ErrorKind::{Denied, Unavailable};
    for (put, get, exists) in [
        (Effect::FailAfter(Unavailable), Some(Effect::Refuse(Unavailable)), true),
        (Effect::Refuse(Unavailable), Some(Effect::Refuse(Unavailable)), false),
        // On its way still, for all that can be known.
        (Effect::Refuse(Unavailable), None, false),
    ] {
        let ground = Ground::new().await;
        let mut faults = vec![Fault::first(Operation::Put, "manifests/", put)];
        faults.extend(get.map(|get| Fault::first(Operation::Get, "manifests/", get).always()));
        let error = commit_through(&ground, faults).await.unwrap_err();
        assert!(
            matches!(&error, Error::PublishedOrNot { backup_id, .. } if *backup_id == draft(0, &[]).backup_id),
            "{error}"
        );
        assert_eq!(ground.repository.backup_ids().await.unwrap().len(), usize::from(exists));
    }
    let ground = Ground::new().await;
    let lost_answer = vec![Fault::first(
        Operation::Put,
        "manifests/",
        Effect::FailAfter(Unavailable),
    )];
    commit_through(&ground, lost_answer).await.unwrap();
    let ground = Ground::new().await;
    let refused = vec![Fault::first(Operation::Put, "manifests/", Effect::Refuse(Denied))];
    let error = commit_through(&ground, refused).await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)), "{error}");
}

async fn commit_through(ground: &Ground, faults: Vec<Fault>) -> Result<StoredManifest> {
    let repository = ground.with_faults(faults).await;
    let writer = BackupWriter::new(&repository, ReuseIndex::empty(), WriterOptions::default());
    let records = put_all(&writer, &two_tables()).await?;
    writer.commit(draft(0, &two_tables()), records).await
}

/// As a chunk of rows: what was stored as the index may be gone by the time that the root is written.
#[tokio::test]
async fn an_index_that_is_gone_before_the_root_is_written_leaves_no_backup() {
    let ground = Ground::new().await;
    let slow = Effect::Slow(std::time::Duration::from_millis(20));
    let faults = FaultStore::new(
        ground.store.clone(),
        vec![Fault::first(Operation::Head, "chunks/", slow).always()],
    );
    let mut struck = faults.struck();
    let repository = Repository::open(Arc::new(faults)).await.unwrap();
    let writer = BackupWriter::new(&repository, ReuseIndex::empty(), WriterOptions::default());
    let records = put_all(&writer, &two_tables()).await.unwrap();
    let before = *struck.borrow();
    let rows = chunk_keys(&ground).await;
    let loses_its_index = async {
        struck.wait_for(|struck| *struck > before).await.unwrap();
        let index = chunk_keys(&ground).await.into_iter().find(|key| !rows.contains(key));
        let index = index.expect("an index");
        ground.store.delete(&index).await.unwrap();
        index
    };
    let (committed, index) = tokio::join!(writer.commit(draft(0, &two_tables()), records), loses_its_index);
    let error = committed.unwrap_err();
    assert!(
        matches!(&error, Error::LostChunk { key, .. } if *key == index),
        "{error}"
    );
    assert_eq!(ground.repository.backup_ids().await.unwrap(), Vec::<BackupId>::new());
}

async fn chunk_keys(ground: &Ground) -> Vec<String> {
    let objects = crate::storage::list_all(ground.store.as_ref(), "chunks/", None);
    objects.await.unwrap().into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn the_same_contents_divided_differently_are_another_chunk() {
    let ground = Ground::new().await;
    let writer = ground.writer().await;
    let raw = rows(100, 3);
    let whole = writer.put(raw.clone(), vec![raw.len()]).await.unwrap();
    let divided = writer.put(raw.clone(), vec![10, raw.len()]).await.unwrap();
    assert_ne!(whole, divided);
}

#[tokio::test]
async fn what_an_interrupted_run_left_is_found_and_used() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    put_all(&ground.writer().await, &two_tables()).await.unwrap();
    assert_eq!(ground.repository.backup_ids().await.unwrap(), Vec::<BackupId>::new());
    let stats = ground.backup(0, &two_tables()).await.manifest.stats;
    assert_eq!((stats.new_chunks, stats.reused_chunks), (1, 3));
}

#[tokio::test]
async fn a_name_is_taken_again_for_some_hours_and_then_never() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let put = async || -> Vec<String> {
        put_all(&ground.writer().await, &two_tables()).await.unwrap();
        let objects = crate::storage::list_all(ground.store.as_ref(), "chunks/", None)
            .await
            .unwrap();
        objects.into_iter().map(|object| object.key).collect()
    };
    let first = put().await;
    assert_eq!(put().await, first);
    ground.store.set_clock(time(7 * 60));
    let all = put().await;
    assert_eq!(all.len(), 2 * first.len(), "each under one more name: {all:?}");
    for key in &first {
        ground.store.delete(key).await.unwrap();
    }
    let second = put().await;
    assert!(
        second.len() == first.len() && first.iter().all(|key| !second.contains(key)),
        "{second:?}"
    );
}

#[tokio::test]
async fn a_chunk_that_a_failed_certificate_names_is_stored_beside_it() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let first = ground.backup(0, &two_tables()).await;
    let rotten = first.chunks[1].key.clone();
    let mut body = ground.object(&rotten).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(&rotten, body.into());
    ground.verdict(0, 5, CertificateState::Failed, &[&rotten]).await;

    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.chunks[1].key, next_name(&rotten));
    assert_eq!(second.manifest.stats.healed_chunks, 1);
    assert_eq!(ground.read_rows(&second, "orders").await.unwrap(), two_tables()[0].1);
    // The copy is what later backups reuse.
    let third = ground.backup(2, &two_tables()).await;
    assert_eq!(third.chunks, second.chunks);
    assert_eq!(third.manifest.stats.new_chunks, 0);
}

#[tokio::test]
async fn a_damaged_copy_is_healed_by_another_copy() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let key = ground.backup(0, &two_tables()).await.chunks[1].key.clone();
    let copy = next_name(&key);
    ground.verdict(0, 5, CertificateState::Failed, &[&key, &copy]).await;
    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.chunks[1].key, next_name(&copy));
}

#[tokio::test]
async fn a_truncated_chunk_is_noticed_without_any_record_and_stored_beside_it() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let first = ground.backup(0, &two_tables()).await;
    let key = &first.chunks[2].key;
    let short = ground.object(key).await.slice(..100);
    ground.store.replace(key, short);
    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.chunks[2].key, next_name(key));
    assert_eq!(second.manifest.stats.healed_chunks, 1);
    assert_eq!(ground.read_rows(&second, "items").await.unwrap(), two_tables()[1].1);
}

#[tokio::test]
async fn a_chunk_that_vanished_between_two_backups_is_stored_again() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let first = ground.backup(0, &two_tables()).await;
    ground.store.delete(&first.chunks[1].key).await.unwrap();
    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.chunks, first.chunks);
    assert_eq!(ground.read_rows(&first, "orders").await.unwrap(), two_tables()[0].1);
}

#[tokio::test]
async fn a_backup_whose_reused_chunk_vanishes_before_its_end_does_not_come_to_exist() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    ground.store.delete(&first.chunks[2].key).await.unwrap();
    let refused = writer.commit(draft(1, &two_tables()), records).await.unwrap_err();
    assert!(
        matches!(&refused, Error::LostChunk { key, .. } if *key == first.chunks[2].key),
        "{refused}"
    );
    assert_eq!(ground.repository.backup_ids().await.unwrap().len(), 1);
    // The next run heals it.
    ground.backup(2, &two_tables()).await;
}

#[tokio::test]
async fn a_damaged_index_of_the_previous_backup_does_not_stop_the_next() {
    let ground = Ground::new().await;
    ground.store.set_clock(time(0));
    let first = ground.backup(0, &two_tables()).await;
    ground.store.delete(&first.manifest.index[0].key).await.unwrap();
    let second = ground.backup(1, &two_tables()).await;
    assert_eq!(second.manifest.stats.reused_chunks, 3, "found in the store one by one");
}

#[tokio::test]
async fn a_run_that_ends_before_its_commit_leaves_no_backup() {
    let ground = Ground::new().await;
    let writer = ground.writer().await;
    put_all(&writer, &two_tables()).await.unwrap();
    drop(writer);
    assert!(ground.repository.backup_ids().await.unwrap().is_empty());
    assert!(ground.repository.previous_backup("shop").await.unwrap().is_none());
}

#[tokio::test]
async fn a_second_backup_of_the_same_id_is_a_conflict_and_the_same_root_is_not() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let mut other = draft(0, &two_tables());
    other.tool_version = "other".to_owned();
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    assert!(matches!(
        writer.commit(other, records).await,
        Err(Error::Conflict { .. })
    ));

    let again = || async {
        let writer = ground.writer().await;
        let records = put_all(&writer, &two_tables()).await.unwrap();
        writer.commit(draft(1, &two_tables()), records).await.unwrap()
    };
    // As after a root whose answer was lost.
    assert_eq!(again().await.sha256, again().await.sha256);
}

#[tokio::test]
async fn a_chunk_that_nothing_refers_to_is_a_lost_segment() {
    let ground = Ground::new().await;
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    writer.put(rows(10, 1), vec![rows(10, 1).len()]).await.unwrap();
    let refused = writer.commit(draft(0, &two_tables()), records).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid { reason } if reason.contains("nothing refers")),
        "{refused}"
    );
}

#[tokio::test]
async fn segments_that_do_not_add_up_are_not_committed() {
    let ground = Ground::new().await;
    for spoil in [
        (|table| table.segments[0].rows -= 1) as fn(&mut crate::repository::manifest::Table),
        |table| table.segments[0].chunk = 99,
        |table| table.segments[0].frame = 1,
        |table| table.tally.raw_bytes += 1,
        |table| table.segments.clear(),
    ] {
        let writer = ground.writer().await;
        let mut records = put_all(&writer, &two_tables()).await.unwrap();
        if let Some(crate::repository::manifest::Record::Table(table)) = records.last_mut() {
            spoil(table);
        }
        let refused = writer.commit(draft(0, &two_tables()), records).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert!(ground.repository.backup_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_root_beyond_its_limit_is_refused_with_the_remedy() {
    let ground = Ground::new().await;
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    let mut draft = draft(0, &two_tables());
    draft.databases_not_included = (0..5000).map(|number| format!("database {number}")).collect();
    let refused = writer.commit(draft, records).await.unwrap_err().to_string();
    assert!(refused.contains("back up fewer databases"), "{refused}");
}

#[tokio::test]
async fn a_large_index_is_cut_into_pieces_and_read_back() {
    let ground = Ground::new().await;
    let writer = ground.writer().await;
    let mut records = put_all(&writer, &two_tables()).await.unwrap();
    let object = |number: u32| crate::content::CatalogueObject {
        object_type: "function".to_owned(),
        identity: format!("public.function_{number}({})", "integer, ".repeat(20)),
        owner: None,
        acl: Vec::new(),
    };
    records.extend((0..25_000).map(|number| crate::repository::manifest::Record::Object(object(number))));
    let stored = writer.commit(draft(0, &two_tables()), records).await.unwrap();
    assert!(stored.manifest.index.len() >= 2, "{}", stored.manifest.index.len());
    let backup = ground.repository.read_backup(&stored.manifest.backup_id).await.unwrap();
    assert_eq!(backup.databases[0].inventory[24_999], object(24_999));
}

/// A commit over a store where putting the root goes wrong like this.
async fn commit_with_root_fault(ground: &Ground, effect: Effect) -> Result<crate::repository::StoredManifest> {
    let repository = ground
        .with_faults(vec![Fault::first(Operation::Put, "manifests/", effect)])
        .await;
    let writer = BackupWriter::new(&repository, ReuseIndex::empty(), WriterOptions::default());
    let records = put_all(&writer, &two_tables()).await.unwrap();
    writer.commit(draft(0, &two_tables()), records).await
}

#[tokio::test]
async fn a_root_that_was_stored_though_the_answer_was_lost_is_a_backup() {
    let ground = Ground::new().await;
    let effect = Effect::FailAfter(ErrorKind::Unavailable);
    let stored = commit_with_root_fault(&ground, effect).await.unwrap();
    let backup_id = &stored.manifest.backup_id;
    assert_eq!(ground.repository.read_manifest(backup_id).await.unwrap(), stored);
}

#[tokio::test]
async fn a_root_that_is_refused_is_no_backup() {
    let ground = Ground::new().await;
    let refused = commit_with_root_fault(&ground, Effect::Refuse(ErrorKind::Denied)).await;
    assert!(
        matches!(&refused, Err(Error::Storage(error)) if error.kind == ErrorKind::Denied),
        "{refused:?}"
    );
    assert!(ground.repository.backup_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_fails_gives_no_number_and_no_figures() {
    let ground = Ground::new().await;
    let fault = Fault::first(Operation::Put, "chunks/", Effect::Refuse(ErrorKind::Unavailable));
    let repository = ground.with_faults(vec![fault]).await;
    let writer = BackupWriter::new(&repository, ReuseIndex::empty(), WriterOptions::default());
    assert!(writer.put(rows(10, 1), vec![rows(10, 1).len()]).await.is_err());
    assert_eq!(writer.stats(), WriterStats::default());
    assert_eq!(writer.put(rows(10, 1), vec![rows(10, 1).len()]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_took_longer_by_the_stores_clock_than_it_may_is_no_backup() {
    let ground = Ground::new().await;
    for (minutes, is_late) in [(59, false), (61, true)] {
        ground.store.set_clock(time(0));
        let options = WriterOptions {
            max_duration: Some(std::time::Duration::from_hours(1)),
            ..WriterOptions::default()
        };
        let writer = BackupWriter::new(&ground.repository, ReuseIndex::empty(), options);
        let records = put_all(&writer, &two_tables()).await.unwrap();
        // The machine slept, and so did its timers.
        ground.store.set_clock(time(minutes));
        let committed = writer.commit(draft(minutes, &two_tables()), records).await;
        assert_eq!(
            matches!(committed, Err(Error::TooLate { .. })),
            is_late,
            "{committed:?}"
        );
    }
    assert_eq!(
        ground.repository.backup_ids().await.unwrap(),
        [BackupId::new(time(59), 1)]
    );
}
