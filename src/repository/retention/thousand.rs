//! A thousand backups with fifty thousand chunks: what expiry and prune ask of the store, and what they hold in memory.
//!
//! The repository is made up, object by object, since a thousand real backups would take an hour; it reads like any other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::repository::alone::{alone, measure};
use crate::repository::codec::Sealer;
use crate::repository::id::{BackupId, Blake3Digest, DrillId, Sha256Digest};
use crate::repository::index::{ChunkRecord, Lines};
use crate::repository::layout::Key;
use crate::repository::manifest::{Chunk, Codec, FORMAT_VERSION, Frame, Manifest};
use crate::repository::testing::{Ground, draft};
use crate::repository::{CertificateState, document};
use crate::storage::{MemoryStore, ObjectStore as _, RequestStats};

const BACKUPS: u64 = 1000;
/// New ones in each backup, and all that one refers to: three quarters are reused.
const NEW: u64 = 50;
const EACH: u64 = 200;
const HOURS_BETWEEN: i64 = 6;

fn moment(number: u64) -> Timestamp {
    let hours = HOURS_BETWEEN * i64::try_from(number).unwrap();
    Timestamp::from_second(1_790_000_000 + hours * 3600).unwrap()
}

fn sealed(raw: &[u8]) -> (Chunk, Bytes) {
    let sealed = Sealer::new(1).unwrap().seal(raw, &[raw.len()]).unwrap();
    let stored_sha256 = Sha256Digest::of(&sealed.stored);
    let chunk = Chunk {
        key: Key::Chunk {
            sha256: stored_sha256,
            copy: 0,
        }
        .to_string(),
        codec: Codec::Zstd,
        stored_sha256,
        stored_bytes: sealed.stored.len() as u64,
        raw_blake3: Blake3Digest::of(raw),
        raw_bytes: raw.len() as u64,
        frames: vec![Frame {
            stored_bytes: sealed.stored.len() as u64,
            raw_bytes: raw.len() as u64,
        }],
        locked_until: None,
    };
    (chunk, sealed.stored)
}

async fn put_backup(ground: &Ground, number: u64, chunks: &[Chunk]) {
    let mut lines = Lines::default();
    for chunk in chunks {
        lines.push(&ChunkRecord { chunk }).unwrap();
    }
    let (index, body) = sealed(&lines.last_piece().unwrap());
    ground.store.put_new(&index.key, body).await.unwrap();
    let mut draft = draft(0, &[]);
    draft.databases[0].snapshot_time = moment(number);
    let backup_id = BackupId::new(moment(number), 1);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        kind: draft.kind,
        repository_id: ground.repository.id().clone(),
        backup_id: backup_id.clone(),
        predecessor: None,
        tool_version: draft.tool_version,
        lease_generation: None,
        locked_in: None,
        source: draft.source,
        started: moment(number),
        finished: moment(number),
        databases: draft.databases,
        databases_not_included: Vec::new(),
        stats: draft.stats,
        phases: Vec::new(),
        drift: None,
        index: vec![index],
    };
    let root = document::encode(&manifest).unwrap();
    let key = Key::Manifest(backup_id.clone()).to_string();
    ground.store.put_new(&key, root).await.unwrap();
    let drill_id = DrillId::new(moment(number), 2);
    let certified = ground.repository.put_certificate(
        &backup_id,
        &drill_id,
        CertificateState::Certified,
        Bytes::from_static(b"{}"),
    );
    certified.await.unwrap();
}

async fn thousand() -> Ground {
    let ground = Ground::new().await;
    let mut chunks: Vec<Chunk> = Vec::new();
    for number in 0..BACKUPS {
        ground.store.set_clock(moment(number));
        for new in 0..NEW {
            let (chunk, body) = sealed(&(number * NEW + new).to_le_bytes());
            ground.store.put_new(&chunk.key, body).await.unwrap();
            chunks.push(chunk);
        }
        let from = chunks.len().saturating_sub(usize::try_from(EACH).unwrap());
        put_backup(&ground, number, &chunks[from..]).await;
    }
    ground
}

/// Requests since `before`: puts, gets, heads, lists, deletes.
fn asked(store: &Arc<MemoryStore>, before: &RequestStats) -> [u64; 5] {
    let now = store.stats();
    [
        now.puts - before.puts,
        now.gets - before.gets,
        now.heads - before.heads,
        now.lists - before.lists,
        now.deletes - before.deletes,
    ]
}

#[test]
fn a_thousand_backups_expire_and_prune_in_bounded_memory_and_a_counted_number_of_requests() {
    alone(
        module_path!(),
        "a_thousand_backups_expire_and_prune_in_bounded_memory_and_a_counted_number_of_requests",
        expire_and_prune(),
    );
}

async fn expire_and_prune() {
    let ground = thousand().await;
    let cancel = CancellationToken::new();
    let options = ExpireOptions {
        policy: Policy {
            keep_within: Some(Duration::from_hours(7 * 24)),
            keep_weekly: 4,
            keep_monthly: 12,
            ..Policy::none()
        },
        cluster: None,
        dry_run: false,
    };
    let before = ground.store.stats();
    let report = measure("expire", 10, expire(&ground.repository, &options, &cancel))
        .await
        .unwrap();
    let dropped = report.expired.len() as u64;
    let kept = BACKUPS - dropped;
    assert!((38..=42).contains(&kept), "{kept} kept");
    let batches = dropped.div_ceil(100);
    assert_eq!(
        asked(&ground.store, &before),
        [
            // A tombstone and a mark each.
            2 * dropped,
            // Every root for the plan, and once more what goes.
            BACKUPS + dropped,
            // By name, of what goes: a mark of an earlier life, and the next hold, before and after.
            3 * dropped,
            // Manifests, certificates of here and elsewhere, both again with the damage records for what is damaged, holds and
            // accepted drift, again before each batch, and holds once more before its deletion and after it.
            7 + (7 + 2) * batches,
            batches
        ]
    );

    let days = u64::try_from(24 * 3 / HOURS_BETWEEN).unwrap();
    ground.store.set_clock(moment(BACKUPS + days));
    let before = ground.store.stats();
    let options = PruneOptions {
        grace: Duration::from_hours(24),
        dry_run: false,
    };
    let report = measure("prune", 10, prune(&ground.repository, &options, &cancel))
        .await
        .unwrap();
    let chunks = BACKUPS * NEW + BACKUPS;
    assert_eq!(report.referenced.objects + report.deleted.objects, chunks);
    assert_eq!((report.young.objects, report.retained.objects), (0, 0));
    assert_eq!(report.marked, report.referenced.objects);
    assert_eq!((report.manifests, report.leftovers.tombstones), (kept, dropped));
    assert!(report.deleted.objects > 40_000, "{report:?}");
    // Names alone: a few MiB, whatever the backups hold.
    assert!(report.marked_bytes <= 4 << 20, "{report:?}");

    let [puts, gets, heads, lists, deletes] = asked(&ground.store, &before);
    let pages = chunks.div_ceil(1000);
    // What copies bring, manifests and holds in one page each, tombstones and marks in two; looked at once for the marks, once
    // before each page's deletion, and once before what else is left behind goes.
    let looks = (pages + 2) * (3 + (2 * dropped).div_ceil(1000));
    let leftovers = 8;
    assert_eq!((puts, gets), (0, 2 * kept), "a root and an index of each that stays");
    // By name, of what is gone: manifest, tombstone and mark.
    assert_eq!(heads, 3 * dropped);
    // What is proven, since expired backups are about to go: certificates of here and of elsewhere, and records of damage with certificates again.
    let proof = 4;
    // The clock once; proof, for the newest backup that has it; accepted drift at first and before each page's deletion; each page.
    assert_eq!(lists, 1 + 2 * proof + looks + (1 + pages) + pages + leftovers);
    // A page of chunks each; tombstones, marks, certificates.
    assert_eq!(deletes, pages + 3);
}
