//! What a copy brings, what it relies on, and where it stops.

mod damage;
mod holds;
mod lasting;

use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::super::testing::{Ground, backup_id, rows, time, two_tables};
use super::*;
use crate::repository::id::VerifyId;
use crate::repository::layout::{self, Key};
use crate::repository::manifest::Backup;
use crate::repository::{CertificateState, PruneOptions, VerifyOptions, VerifyOutcome, prune, verify};
use crate::storage::faults::{Effect, Fault, FaultStore};
use crate::storage::{ErrorKind, LockPeriod, MemoryStore, Operation, list_all};
use crate::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

const GRACE: Duration = Duration::from_hours(24);

fn options() -> CopyOptions {
    CopyOptions {
        concurrency: 4,
        grace: GRACE,
        policy: Policy::none(),
        known_locks: Arc::default(),
    }
}

async fn empty_copy(ground: &Ground) -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    let to = open_copy(&ground.repository, store.clone()).await.unwrap();
    (store, to)
}

/// A copy of one backup, and after it the next one, which shares the rows of a table with it.
async fn copy_of_one_of_two() -> (Ground, Arc<MemoryStore>, Repository, Backup) {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    store.set_clock(time(10));
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
    let next = [("orders", rows(3000, 7)), ("items", rows(4000, 13))];
    let second = ground.backup(1, &next).await;
    (ground, store, to, second)
}

/// A key that both of them need.
async fn shared_key(to: &Repository, second: &Backup) -> String {
    let first = to.read_backup(&backup_id(0)).await.unwrap();
    let mut shared = second.chunks.iter().filter(|chunk| first.chunks.contains(chunk));
    shared.next_back().unwrap().key.clone()
}

async fn verify_all(to: &Repository, minute: i64) -> VerifyOutcome {
    let options = VerifyOptions {
        verify_id: VerifyId::new(time(minute), 1),
        backups: Vec::new(),
        concurrency: 4,
        record: true,
    };
    let report = verify(to, &options, &Silent, &CancellationToken::new()).await;
    report.unwrap().outcome
}

/// Flips a bit of the chunk `key` over there and has a verification say so.
async fn damage_and_verify(store: &MemoryStore, to: &Repository, key: &str, minute: i64) {
    let mut body = store.get(key).await.unwrap().to_vec();
    body[20] ^= 1;
    store.replace(key, body.into());
    store.set_clock(time(minute));
    assert_eq!(verify_all(to, minute).await, VerifyOutcome::Damaged);
}

async fn run(ground: &Ground, to: &Repository) -> CopyReport {
    copy(&ground.repository, to, &options(), &Silent).await.unwrap()
}

async fn keys(store: &MemoryStore) -> Vec<String> {
    let objects = list_all(store, "", None).await.unwrap();
    objects.into_iter().map(|object| object.key).collect()
}

/// The words from elsewhere that count over there.
async fn verdicts(to: &Repository) -> std::collections::BTreeMap<BackupId, CertificateState> {
    let damaged = to.damaged_backups().await.unwrap();
    to.verdicts_from_elsewhere(&damaged).await.unwrap()
}

#[tokio::test]
async fn a_copy_is_the_same_objects_and_reads_back_as_the_same_backups() {
    let ground = Ground::new().await;
    let first = ground.backup(0, &two_tables()).await;
    let second = ground
        .backup(1, &[("orders", rows(3000, 7)), ("items", rows(4000, 13))])
        .await;
    let hold = Key::Hold {
        backup_id: backup_id(0),
        generation: 1,
    }
    .to_string();
    ground.store.put_new(&hold, Bytes::from_static(b"{}")).await.unwrap();
    let (store, to) = empty_copy(&ground).await;
    let report = run(&ground, &to).await;
    assert_eq!(report.copied, [backup_id(1), backup_id(0)], "the newest first");
    assert_eq!((report.present, report.copied_holds, report.left.len()), (0, 1, 0));
    assert!(report.reused_chunks > 0, "{report:?}");
    assert_eq!(keys(&store).await, keys(&ground.store).await);
    for backup in [first, second] {
        assert_eq!(to.read_backup(&backup.manifest.backup_id).await.unwrap(), backup);
    }
    for key in keys(&store).await {
        assert_eq!(store.get(&key).await.unwrap(), ground.object(&key).await, "{key}");
    }
}

#[tokio::test]
async fn only_what_is_missing_is_brought() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    run(&ground, &to).await;
    let before = store.stats();
    let report = run(&ground, &to).await;
    assert_eq!((report.present, report.copied.len()), (1, 0));
    assert_eq!(store.stats().puts, before.puts, "nothing is written for nothing");

    ground
        .backup(1, &[("orders", rows(3000, 7)), ("items", rows(4000, 13))])
        .await;
    let before = (store.stats(), ground.store.stats());
    let report = run(&ground, &to).await;
    // New are the rows of one table and the index; announcement and root come with them.
    assert_eq!((report.present, report.copied_chunks, report.reused_chunks), (1, 2, 2));
    assert_eq!(store.stats().puts - before.0.puts, 2 + 2);
    assert_eq!(
        ground.store.stats().gets - before.1.gets,
        1 + 1 + 2,
        "root, index, and the two chunks"
    );
}

#[tokio::test]
async fn a_copy_that_is_cut_off_anywhere_shows_no_half_backup_and_goes_on() {
    for fault in 0.. {
        let ground = Ground::new().await;
        ground.backup(0, &two_tables()).await;
        ground
            .backup(1, &[("orders", rows(3000, 7)), ("items", rows(4000, 13))])
            .await;
        let (store, _) = empty_copy(&ground).await;
        let refused = Fault::first(Operation::Put, "", Effect::Refuse(ErrorKind::Unavailable));
        let faulty = FaultStore::new(store.clone(), vec![refused.after(fault).always()]);
        let to = Repository::open(Arc::new(faulty)).await.unwrap();
        let ended = copy(&ground.repository, &to, &options(), &Silent).await;
        let to = Repository::open(store.clone()).await.unwrap();
        for there in to.backup_ids().await.unwrap() {
            let backup = to.read_backup(&there).await.unwrap();
            for chunk in backup.manifest.index.iter().chain(&backup.chunks) {
                to.read_chunk(chunk).await.unwrap();
            }
        }
        let before = store.stats().puts;
        let again = run(&ground, &to).await;
        assert_eq!(again.present + again.copied.len(), 2, "after {fault} puts");
        assert_eq!(keys(&store).await, keys(&ground.store).await, "after {fault} puts");
        if ended.is_ok() {
            assert_eq!((store.stats().puts, fault > 5), (before, true), "{fault}");
            return;
        }
    }
}

/// A prune that looked in between saw an announcement without an index, and took it for one that was given up.
#[tokio::test]
async fn an_announcement_counts_from_when_its_index_is_there() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    let root = ground.object(&Key::Manifest(backup_id(0)).to_string()).await;
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    store.set_clock(start);
    let announcement = Key::Incoming(backup_id(0)).to_string();
    store.put_new(&announcement, root).await.unwrap();
    store.set_clock(start + Duration::from_mins(1));
    let litter = &backup.chunks[0].key;
    store.put_new(litter, ground.object(litter).await).await.unwrap();
    store.set_clock(start + Duration::from_hours(30));
    let report = run(&ground, &to).await;
    assert!(report.left[0].reason.contains(litter.as_str()), "{report:?}");
    store.set_clock(start + Duration::from_hours(30 + 25));
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
}

#[tokio::test]
async fn an_old_chunk_that_nothing_over_there_refers_to_is_not_relied_on_before_a_grace_period_has_passed() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    let litter = &backup.chunks[0].key;
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    store.set_clock(start);
    store.put_new(litter, ground.object(litter).await).await.unwrap();

    store.set_clock(start + Duration::from_hours(30));
    let report = run(&ground, &to).await;
    assert!(report.left[0].reason.contains(litter.as_str()), "{report:?}");
    assert_eq!(to.backup_ids().await.unwrap(), []);

    store.set_clock(start + Duration::from_hours(30 + 23));
    assert_eq!(
        run(&ground, &to).await.left.len(),
        1,
        "a prune may still be about to delete it"
    );

    store.set_clock(start + Duration::from_hours(30 + 25));
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
    assert_eq!(to.read_backup(&backup_id(0)).await.unwrap(), backup);
}

#[tokio::test]
async fn what_a_prune_deletes_meanwhile_is_brought_again() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    let litter = &backup.chunks[0].key;
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    store.set_clock(start);
    store.put_new(litter, ground.object(litter).await).await.unwrap();
    store.set_clock(start + Duration::from_hours(30));
    assert_eq!(run(&ground, &to).await.left.len(), 1);
    store.delete(litter).await.unwrap();
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
    assert_eq!(keys(&store).await, keys(&ground.store).await);
}

/// Whoever prunes there would take the word for given up before the copy is done; without it nothing protects what was brought.
#[tokio::test]
async fn a_copy_does_not_go_on_under_an_announcement_that_a_prune_is_about_to_remove() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    let announcement = Key::Incoming(backup_id(0)).to_string();
    let root = ground.object(&Key::Manifest(backup_id(0)).to_string()).await;
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    store.set_clock(start);
    store.put_new(&announcement, root).await.unwrap();
    let days = |days: u64| start + Duration::from_hours(days * 24);
    store.set_clock(days(22));
    let report = run(&ground, &to).await;
    assert!(report.left[0].reason.contains(&announcement), "{report:?}");
    assert!(store.head(&announcement).await.is_ok());

    store.set_clock(days(32));
    let options = PruneOptions {
        grace: GRACE,
        dry_run: false,
    };
    let pruned = prune(&to, &options, &CancellationToken::new()).await.unwrap();
    assert_eq!(pruned.leftovers.announcements, 1, "{pruned:?}");
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
}

#[tokio::test]
async fn another_repository_is_never_written_into() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let store = Arc::new(MemoryStore::new());
    let other = Repository::open_or_create(store.clone(), super::super::id::RepositoryId::new(2))
        .await
        .unwrap();
    for refused in [
        open_copy(&ground.repository, store.clone()).await.map(|_| ()),
        copy(&ground.repository, &other, &options(), &Silent).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::OtherRepository { .. })), "{refused:?}");
    }
    assert_eq!(keys(&store).await, ["repository.json"]);
}

#[tokio::test]
async fn without_the_right_to_delete_the_announcement_stays_and_all_is_well() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (store, _) = empty_copy(&ground).await;
    let denied = Fault::first(Operation::Delete, "", Effect::Refuse(ErrorKind::Denied)).always();
    let to = Repository::open(Arc::new(FaultStore::new(store.clone(), vec![denied])))
        .await
        .unwrap();
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
    assert!(store.head(&Key::Incoming(backup_id(0)).to_string()).await.is_ok());
    assert_eq!(run(&ground, &to).await.present, 1);
}

#[tokio::test]
async fn what_waits_has_brought_its_index_and_keeps_no_prune_from_its_work() {
    let ground = Ground::new().await;
    let backup = ground.backup(0, &two_tables()).await;
    let (store, to) = empty_copy(&ground).await;
    let litter = &backup.chunks[0].key;
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    store.set_clock(start);
    store.put_new(litter, ground.object(litter).await).await.unwrap();
    store.set_clock(start + Duration::from_hours(30));
    assert_eq!(run(&ground, &to).await.left.len(), 1);
    let index = &backup.manifest.index[0].key;
    assert!(
        store.head(index).await.is_ok(),
        "whoever marks over there can read what was announced"
    );

    // However long it waits, what was announced is marked, and nothing that it needs goes.
    for hours in [31, 50, 56, 80] {
        store.set_clock(start + Duration::from_hours(hours));
        let options = PruneOptions {
            grace: GRACE,
            dry_run: false,
        };
        let pruned = prune(&to, &options, &CancellationToken::new()).await.unwrap();
        assert_eq!(pruned.deleted.objects, 0, "after {hours} hours: {pruned:?}");
    }
    assert_eq!(run(&ground, &to).await.copied, [backup_id(0)]);
}

/// A copy of the older one was killed before its root. The newer one comes first, and shares rows with it.
#[tokio::test]
async fn what_could_not_rely_on_a_chunk_is_tried_again_once_its_neighbour_is_there() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let (store, _) = empty_copy(&ground).await;
    store.set_clock(time(10));
    let killed = Fault::first(
        Operation::Put,
        layout::MANIFESTS,
        Effect::Refuse(ErrorKind::Unavailable),
    );
    let to = Repository::open(Arc::new(FaultStore::new(store.clone(), vec![killed])))
        .await
        .unwrap();
    copy(&ground.repository, &to, &options(), &Silent).await.unwrap_err();
    let next = [("orders", rows(3000, 7)), ("items", rows(4000, 13))];
    ground.backup(1, &next).await;
    // Longer ago than a grace period: what was announced then may be relied on, what is announced now not yet.
    store.set_clock(time(10 + 30 * 60));
    let report = run(&ground, &to).await;
    assert_eq!(
        (report.copied, report.left.len()),
        (vec![backup_id(0), backup_id(1)], 0)
    );
    assert_eq!(verify_all(&to, 10 + 30 * 60).await, VerifyOutcome::Sound);
}

/// Chunks alone, since this was asked last: every copy gives its place's name a lock again.
fn locked_again(store: &MemoryStore) -> Vec<String> {
    let (names, chunks): (Vec<String>, Vec<String>) = store
        .take_locked_again()
        .into_iter()
        .partition(|key| *key == Key::Repository.to_string());
    assert!(!names.is_empty());
    chunks
}

#[tokio::test]
async fn what_a_copy_reuses_is_locked_again_over_there() {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let period = LockPeriod {
        promised: Duration::from_hours(24),
        given: Duration::from_hours(48),
    };
    let store = Arc::new(MemoryStore::with_locks(period));
    let to = open_copy(&ground.repository, store.clone()).await.unwrap();
    run(&ground, &to).await;
    assert_eq!(locked_again(&store), Vec::<String>::new(), "each was locked as it came");
    let second = ground
        .backup(1, &[("orders", rows(3000, 7)), ("items", rows(4000, 13))])
        .await;
    let report = run(&ground, &to).await;
    let again = locked_again(&store);
    assert_eq!(again.len() as u64, report.reused_chunks);
    assert!(
        again
            .iter()
            .all(|key| second.chunks.iter().any(|chunk| chunk.key == *key)),
        "{again:?}"
    );
}

/// Does something when chunks begin to come or a backup has ended.
struct Meanwhile<F: Fn() + Send + Sync>(&'static str, F);

impl<F: Fn() + Send + Sync> Progress for Meanwhile<F> {
    fn begin(&self, _phase: &str, total_bytes: Option<u64>) {
        if self.0 == "chunks" && total_bytes.is_some() {
            self.1();
        }
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {
        if self.0 == "backup" {
            self.1();
        }
    }
}

#[tokio::test]
async fn a_backup_that_expires_during_a_long_copying_is_not_relied_on_for_ever() {
    let ground = Ground::new().await;
    let (orders, items) = (("orders", rows(3000, 7)), ("items", rows(4000, 13)));
    ground.backup(0, std::slice::from_ref(&orders)).await;
    let (store, to) = empty_copy(&ground).await;
    store.set_clock(time(0));
    run(&ground, &to).await;
    ground.backup(1, &[orders]).await;
    ground.backup(2, &[items]).await;
    store.set_clock(time(60));
    // The newest comes first. Then half a day has passed, and the backup whose rows the other one needs is gone over there.
    let expire = || {
        store.set_clock(time(60 + 13 * 60));
        let root = Key::Manifest(backup_id(0)).to_string();
        store.delete(&root).now_or_never().unwrap().unwrap();
    };
    let meanwhile = Meanwhile("backup", expire);
    let report = copy(&ground.repository, &to, &options(), &meanwhile).await.unwrap();
    assert_eq!(report.copied, [backup_id(2)]);
    assert_eq!(report.left[0].backup_id, backup_id(1));
    assert!(report.left[0].reason.contains("a prune may be"), "{report:?}");
}

/// A ground and a copy of its first backup whose objects are locked.
async fn locked_copy() -> (Ground, Arc<MemoryStore>, Repository, CopyOptions) {
    let ground = Ground::new().await;
    ground.backup(0, &two_tables()).await;
    let period = LockPeriod {
        promised: Duration::from_hours(24),
        given: Duration::from_hours(48),
    };
    let store = Arc::new(MemoryStore::with_locks(period));
    store.set_clock(time(0));
    let to = open_copy(&ground.repository, store.clone()).await.unwrap();
    let options = options();
    copy(&ground.repository, &to, &options, &Silent).await.unwrap();
    (ground, store, to, options)
}

#[tokio::test]
async fn a_lock_that_is_known_to_last_is_not_given_again() {
    let (ground, store, to, options) = locked_copy().await;
    for (hours, seed, is_short) in [(12, 13, false), (25, 15, true), (26, 17, false)] {
        store.set_clock(time(hours * 60));
        ground
            .backup(hours * 60, &[("orders", rows(3000, 7)), ("items", rows(4000, seed))])
            .await;
        let report = copy(&ground.repository, &to, &options, &Silent).await.unwrap();
        assert_eq!((report.copied.len(), report.reused_chunks), (1, 2));
        let locked = locked_again(&store);
        assert_eq!(
            locked.len(),
            if is_short { 2 } else { 0 },
            "after {hours} hours: {locked:?}"
        );
    }
}

#[tokio::test]
async fn what_was_put_over_a_chunk_of_the_copy_is_not_taken_for_it_when_its_lock_is_given_again() {
    let (ground, store, to, options) = locked_copy().await;
    let second = ground.backup(1, &[("orders", rows(3000, 7))]).await;
    let key = shared_key(&to, &second).await;
    let size = store.get(&key).await.unwrap().len();
    store.delete(&key).await.unwrap();
    store.put_new(&key, vec![0; size].into()).await.unwrap();
    store.set_clock(time(25 * 60));
    let report = copy(&ground.repository, &to, &options, &Silent).await.unwrap();
    let reason = &report.left[0].reason;
    assert!(reason.contains(&key) && reason.contains("replaced"), "{reason}");
    assert_eq!(to.backup_ids().await.unwrap(), [backup_id(0)]);
}

#[tokio::test]
async fn a_backup_that_is_not_whole_over_there_is_not_settled() {
    let (ground, store, to, second) = copy_of_one_of_two().await;
    run(&ground, &to).await;
    let key = shared_key(&to, &second).await;
    damage_and_verify(&store, &to, &key, 20).await;
    for place in [&store, &ground.store] {
        place.delete(&key).await.unwrap();
    }
    let report = run(&ground, &to).await;
    assert_eq!(report.left[0].backup_id, backup_id(1), "{report:?}");
    assert!(!report.settled.contains(&backup_id(1)));
}
