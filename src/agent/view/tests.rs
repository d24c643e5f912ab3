//! What is read of a bucket and how often, and what one object that cannot be read does to the rest.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::agent::overview;
use crate::repository::document;
use crate::repository::id::{DrillId, RepositoryId};
use crate::repository::manifest::{BackupKind, BackupStats, DatabaseSummary, Manifest, Source};
use crate::storage::faults::{Effect, Fault, FaultStore, Operation};
use crate::storage::{ErrorKind, MemoryStore, ObjectStore as _};

/// A repository in memory.
struct Ground {
    store: Arc<MemoryStore>,
    repository: Repository,
}

impl Ground {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::open_or_create(store.clone(), RepositoryId::new(1));
        let repository = repository.await.unwrap();
        Self { store, repository }
    }

    /// The same, where the store refuses to give `key` away.
    async fn refusing(&self, operation: Operation, key: &str) -> Repository {
        let refusal = Fault::first(operation, key, Effect::Refuse(ErrorKind::Denied)).always();
        let store = FaultStore::new(self.store.clone(), vec![refusal]);
        Repository::open(Arc::new(store)).await.unwrap()
    }

    async fn put(&self, hour: u32, rows: u64) {
        let object = document::encode(&manifest(hour, rows)).unwrap();
        self.store.put_new(&key(hour), object).await.unwrap();
    }

    async fn with_backups(number: u32) -> Self {
        let ground = Self::new().await;
        for hour in 0..number {
            ground.put(hour, 5).await;
        }
        ground
    }

    async fn certify(&self, hour: u32, drill: u32, seconds: u64) -> String {
        let drill_id = DrillId::new(time(hour) + SignedDuration::from_mins(30), drill);
        let state = CertificateState::Certified;
        let backup_id = backup_id(hour);
        let body = certificate(&backup_id, &drill_id, seconds).into();
        let put = self.repository.put_certificate(&backup_id, &drill_id, state, body);
        put.await.unwrap();
        CertificateRef { drill_id, state }.key(&backup_id)
    }

    /// GETs and listings that `look` takes.
    async fn requests<T>(&self, look: impl Future<Output = T>) -> (T, u64, u64) {
        let before = self.store.stats();
        let seen = look.await;
        let after = self.store.stats();
        (seen, after.gets - before.gets, after.lists - before.lists)
    }
}

fn time(hour: u32) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::from(hour) * 3600).unwrap()
}

fn backup_id(hour: u32) -> BackupId {
    BackupId::new(time(hour), 1)
}

fn key(hour: u32) -> String {
    format!("manifests/{}.json", backup_id(hour))
}

fn manifest(hour: u32, rows: u64) -> Manifest {
    Manifest {
        format_version: 1,
        kind: BackupKind::Logical,
        repository_id: RepositoryId::new(1),
        backup_id: backup_id(hour),
        predecessor: None,
        tool_version: "0.1.0".to_owned(),
        lease_generation: None,
        locked_in: None,
        source: Source {
            cluster: "shop".to_owned(),
            system_identifier: "7000000000000000001".to_owned(),
            server_version_num: 150_018,
            server_version: "15.18".to_owned(),
            in_recovery: false,
            timeline: 1,
            pg_dump_version: "pg_dump (PostgreSQL) 15.18".to_owned(),
        },
        started: time(hour),
        finished: time(hour),
        databases: vec![DatabaseSummary {
            name: "shop".to_owned(),
            snapshot_time: time(hour),
            lsn: "0/1".to_owned(),
            tables: 1,
            rows,
            raw_bytes: 10,
        }],
        databases_not_included: Vec::new(),
        stats: BackupStats {
            rows,
            ..BackupStats::default()
        },
        phases: Vec::new(),
        index: Vec::new(),
        drift: None,
    }
}

/// `seconds` is the recovery time, which tells two certificates apart.
fn certificate(backup_id: &BackupId, drill_id: &DrillId, seconds: u64) -> Vec<u8> {
    let certificate = json!({
        "certificate_version": 1, "repository_id": RepositoryId::new(1), "backup_id": backup_id, "drill_id": drill_id,
        "manifest_sha256": null, "verdict": "certified", "summary": "CERTIFIED", "reasons": [], "damaged_objects": [],
        "started": time(0), "finished": time(1), "source": null, "target": null,
        "versions": { "tool": "0.1.0" }, "recovery_seconds": seconds, "databases": [], "not_tested": [],
    });
    serde_json::to_vec(&certificate).unwrap()
}

fn rows(seen: &RepositoryStatus) -> Vec<Option<u64>> {
    let contents = seen.backups.iter().map(|backup| backup.contents.as_ref());
    contents
        .map(|contents| contents.map(|contents| contents.rows))
        .collect()
}

fn recovery_seconds(seen: &RepositoryStatus) -> Option<f64> {
    seen.newest_certificate.as_ref()?.recovery_seconds
}

#[tokio::test]
async fn of_ten_thousand_backups_each_root_is_read_once() {
    const BACKUPS: u32 = 10_000;
    let ground = Ground::with_backups(BACKUPS).await;
    ground.certify(7, 1, 60).await;
    let mut view = View::default();
    // Pages of a thousand.
    let pages = u64::from(BACKUPS / 1000);
    let (seen, gets, lists) = ground.requests(view.refresh(&ground.repository, Some("shop"))).await;
    assert_eq!(seen.unwrap().backups.len(), BACKUPS as usize);
    assert_eq!(gets, u64::from(BACKUPS) + 1, "and one certificate");
    assert!(lists <= pages + 2, "{lists}");
    let (seen, gets, lists) = ground.requests(view.refresh(&ground.repository, Some("shop"))).await;
    let seen = seen.unwrap();
    assert_eq!((seen.backups.len(), gets), (BACKUPS as usize, 0));
    assert!(lists <= pages + 2, "{lists}");
    assert_eq!(seen.backups[7].verdict(), Some(DrillState::Certified));
}

#[tokio::test]
async fn what_is_overwritten_is_read_again_and_what_is_gone_is_forgotten() {
    let ground = Ground::with_backups(3).await;
    let certificate_key = ground.certify(1, 1, 60).await;
    let mut view = View::default();
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!((rows(&seen), recovery_seconds(&seen)), (vec![Some(5); 3], Some(60.0)));

    // Of the same size: only the time tells.
    ground.store.delete(&key(0)).await.unwrap();
    ground.put(0, 6).await;
    ground.store.delete(&key(1)).await.unwrap();
    ground.store.put_new(&key(1), "rotten".into()).await.unwrap();
    ground.store.delete(&certificate_key).await.unwrap();
    ground.certify(1, 1, 61).await;
    let (seen, gets, _) = ground.requests(view.refresh(&ground.repository, None)).await;
    let seen = seen.unwrap();
    assert_eq!(rows(&seen), [Some(6), None, Some(5)]);
    assert!(seen.backups[1].damage.is_some());
    assert_eq!(recovery_seconds(&seen), Some(61.0));
    // The rotten one is asked for twice before it is believed.
    assert_eq!(gets, 4);
    let again = View::default().refresh(&ground.repository, None).await.unwrap();
    assert_eq!(
        (&again.backups, &again.newest_certificate),
        (&seen.backups, &seen.newest_certificate)
    );

    ground.store.delete(&key(1)).await.unwrap();
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!((rows(&seen), recovery_seconds(&seen)), (vec![Some(6), Some(5)], None));
}

#[tokio::test]
async fn a_root_that_the_store_keeps_back_is_one_backup_that_cannot_be_read() {
    let ground = Ground::with_backups(3).await;
    let refusing = ground.refusing(Operation::Get, &key(2)).await;
    let mut view = View::default();
    let seen = view.refresh(&refusing, Some("shop")).await.unwrap();
    assert_eq!(rows(&seen), [Some(5), Some(5), None]);
    let damage = seen.backups[2].damage.as_deref().unwrap();
    assert!(damage.contains("access denied"), "{damage}");
    assert_eq!(view.newest_started(Some("shop"), time(3)), Some(time(1)));
    // The listing for people says the same of each.
    let lines = overview(&refusing, Some("shop")).await.unwrap();
    let damages: Vec<bool> = lines.iter().map(|line| line.damage.is_some()).collect();
    assert_eq!(damages, [false, false, true]);
    // It is asked for again: a permission may be given.
    let seen = view.refresh(&ground.repository, Some("shop")).await.unwrap();
    assert_eq!(rows(&seen), [Some(5); 3]);
}

/// Then it is not the backups that are damaged, and a bucket that only seems to be empty would have everything stored anew.
#[tokio::test]
async fn a_store_that_keeps_every_root_back_has_shown_nothing() {
    let ground = Ground::with_backups(2).await;
    let refusing = ground.refusing(Operation::Get, "manifests/").await;
    let error = View::default().refresh(&refusing, None).await.unwrap_err();
    assert!(error.is_refused_by_store(), "{error}");
}

#[tokio::test]
async fn a_certificate_that_the_store_keeps_back_leaves_everything_else_known() {
    let ground = Ground::with_backups(2).await;
    ground.certify(0, 1, 60).await;
    let newest = ground.certify(1, 2, 70).await;
    let mut view = View::default();
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!(recovery_seconds(&seen), Some(70.0));
    // Another process, which has not read it before.
    let refusing = ground.refusing(Operation::Get, &newest).await;
    let mut view = View::default();
    let seen = view.refresh(&refusing, None).await.unwrap();
    assert_eq!(rows(&seen), [Some(5); 2]);
    assert_eq!(seen.backups[1].verdict(), Some(DrillState::Certified));
    // An older one is not taken for it.
    assert_eq!(seen.newest_certificate, None);
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!(recovery_seconds(&seen), Some(70.0));
}

#[tokio::test]
async fn when_the_next_backup_is_due_is_known_although_no_drill_can_be_seen() {
    let ground = Ground::with_backups(2).await;
    let refusing = ground.refusing(Operation::List, "certificates/").await;
    let mut view = View::default();
    view.read_backups(&refusing).await.unwrap();
    assert_eq!(view.newest_started(Some("shop"), time(3)), Some(time(1)));
    assert_eq!(view.newest_started(Some("other"), time(3)), None);
    // One that began in the future counts for nothing.
    let long_ago = time(0) - SignedDuration::from_hours(20);
    assert_eq!(view.newest_started(Some("shop"), long_ago), None);
    assert!(
        view.read_drills(&refusing, Some("shop"))
            .await
            .unwrap_err()
            .is_refused_by_store()
    );
}

/// Such a backup is not shown before its time, but it was made: without it the next would be due at once, for ever.
#[tokio::test]
async fn a_backup_of_a_server_whose_clock_is_ahead_counts_from_when_the_agent_began_it() {
    let ground = Ground::with_backups(1).await;
    let mut ahead = manifest(3, 5);
    ahead.started = time(1);
    ground
        .store
        .put_new(&key(3), document::encode(&ahead).unwrap())
        .await
        .unwrap();
    let mut view = View::default();
    view.read_backups(&ground.repository).await.unwrap();
    assert_eq!(view.newest_started(Some("shop"), time(1)), Some(time(1)));
}

#[tokio::test]
async fn a_backup_of_a_long_run_that_comes_after_a_newer_one_is_seen() {
    let ground = Ground::new().await;
    let mut view = View::default();
    let ids = |seen: &RepositoryStatus| -> Vec<String> {
        let ids = seen.backups.iter().map(|backup| backup.backup_id.clone());
        ids.collect()
    };
    ground.put(5, 5).await;
    ground.certify(5, 1, 10).await;
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!(ids(&seen), [backup_id(5).to_string()]);
    ground.put(1, 5).await;
    let seen = view.refresh(&ground.repository, None).await.unwrap();
    assert_eq!(ids(&seen), [backup_id(1).to_string(), backup_id(5).to_string()]);
    assert_eq!(seen.backups[0].verdict(), None);
}
