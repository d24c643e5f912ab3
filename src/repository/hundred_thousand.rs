//! A backup of a hundred thousand chunks (800 GB of rows at the usual size): what each thing that is done with it takes of
//! memory, by the kernel's count of a process that does nothing else.
//!
//! The rows are made up and tiny; the writer, the index, the root and all that reads them are the real ones.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::alone::{alone, measure};
use super::id::VerifyId;
use super::manifest::{Backup, Record, Segment, Table};
use super::testing::{Ground, backup_id, draft, head, table_of, time};
use super::{
    BackupWriter, CertificateState, ExpireOptions, Policy, PruneOptions, ReuseIndex, VerifyOptions, WriterOptions,
    expire, prune, verify,
};
use crate::telemetry::progress::Silent;

const CHUNKS: u32 = 100_000;

#[test]
fn a_manifest_of_a_hundred_thousand_chunks_is_written_listed_read_verified_and_expired_in_bounded_memory() {
    alone(
        module_path!(),
        "a_manifest_of_a_hundred_thousand_chunks_is_written_listed_read_verified_and_expired_in_bounded_memory",
        live_through_it(),
    );
}

fn rows_of(number: u32) -> Vec<u8> {
    format!("{number}\tone row of chunk {number}\n").into_bytes()
}

/// Puts all chunks, several at a time as the workers of a backup do, and commits.
async fn write(ground: &Ground, minute: i64, reuse: ReuseIndex) -> super::StoredManifest {
    ground.store.set_clock(time(minute));
    let writer = Arc::new(BackupWriter::new(&ground.repository, reuse, WriterOptions::default()));
    let put = |number: u32| {
        let writer = Arc::clone(&writer);
        async move {
            let rows = rows_of(number);
            let end = rows.len();
            writer.put(rows, vec![end]).await
        }
    };
    let chunks: Vec<u32> = stream::iter(0..CHUNKS)
        .map(put)
        .buffered(8)
        .try_collect()
        .await
        .unwrap();
    let schema = Segment {
        chunk: writer.put(b"a schema archive".to_vec(), vec![16]).await.unwrap(),
        frame: 0,
        rows: 0,
    };
    let table = large_table(&chunks);
    let records = vec![Record::Database(Box::new(head(vec![schema]))), Record::Table(table)];
    let writer = Arc::into_inner(writer).unwrap();
    writer.commit(draft(minute, &[]), records).await.unwrap()
}

fn large_table(chunks: &[u32]) -> Table {
    let rows: Vec<u8> = (0..CHUNKS).flat_map(rows_of).collect();
    let segments = chunks.iter().map(|chunk| Segment {
        chunk: *chunk,
        frame: 0,
        rows: 1,
    });
    Table {
        segments: segments.collect(),
        ..table_of("large", &rows, 0)
    }
}

async fn live_through_it() {
    let ground = Ground::new().await;
    let repository = &ground.repository;
    let first = measure(
        "write, with the store that it fills",
        190,
        write(&ground, 1, ReuseIndex::empty()),
    )
    .await;
    assert_eq!(
        first.manifest.stats.new_chunks,
        u64::from(CHUNKS) + 1 + first.manifest.index.len() as u64
    );
    let listed = measure("list", 2, repository.previous_backup("shop")).await;
    assert_eq!(listed.unwrap().map(|stored| stored.sha256), Some(first.sha256));
    let read = measure("read", 160, repository.read_backup(&first.manifest.backup_id)).await;
    assert_holds_everything(&read.unwrap());
    let reuse = measure("load for reuse", 150, ReuseIndex::load(repository, &first))
        .await
        .unwrap();
    let second = measure("write again, all of it reused", 80, write(&ground, 2, reuse)).await;
    assert!(second.manifest.stats.reused_chunks > u64::from(CHUNKS));
    let reuse = ReuseIndex::load(repository, &second).await.unwrap();
    let third = write(&ground, 3, reuse).await;
    assert_eq!(third.manifest.stats.reused_chunks, second.manifest.stats.reused_chunks);
    let options = VerifyOptions {
        verify_id: VerifyId::new(time(3), 1),
        backups: Vec::new(),
        concurrency: 4,
        record: false,
    };
    let cancel = CancellationToken::new();
    let verified = measure("verify", 180, verify(repository, &options, &Silent, &cancel)).await;
    let verified = verified.unwrap();
    assert!(
        verified.defects.is_empty() && verified.objects > u64::from(CHUNKS),
        "{verified:?}"
    );
    // Two certified ones stay whatever the rules say.
    for backup in [1, 2, 3] {
        ground.verdict(backup, 4, CertificateState::Certified, &[]).await;
    }
    let options = ExpireOptions {
        policy: Policy {
            keep_last: 1,
            ..Policy::none()
        },
        cluster: None,
        dry_run: false,
    };
    let expired = measure("expire", 4, expire(repository, &options, &cancel))
        .await
        .unwrap();
    assert_eq!(expired.expired.len(), 1);
    let options = PruneOptions {
        grace: Duration::from_hours(24),
        dry_run: false,
    };
    let pruned = measure("prune", 220, prune(repository, &options, &cancel))
        .await
        .unwrap();
    assert!(pruned.referenced.objects >= u64::from(CHUNKS), "{pruned:?}");
    assert!(repository.has_backup(&backup_id(3)).await.unwrap());
}

fn assert_holds_everything(backup: &Backup) {
    assert_eq!(backup.databases[0].tables[0].segments.len(), CHUNKS as usize);
    assert_eq!(backup.chunks.len(), CHUNKS as usize + 1);
}
