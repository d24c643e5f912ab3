//! Expiry and prune on a repository in memory, whose clock the tests set.

mod clocks;
mod damage;
mod hidden;
mod holding;
mod stale;
mod under_way;
mod vanished;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::repository::drift::{Drift, DriftAcceptance, DriftOutcome};
use crate::repository::id::{BackupId, DrillId};
use crate::repository::layout::Key;
use crate::repository::testing::{Ground, Rows, backup_id, draft, put_all, rows, time};
use crate::repository::{
    CertificateState, Error, HoldChange, Repository, StoredManifest, VerifyOptions, VerifyOutcome, id::VerifyId,
    layout, verify,
};
use crate::storage::faults::{Effect, Fault, FaultStore};
use crate::storage::{ErrorKind, ObjectStore, Operation, list_all};

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
const GRACE: Duration = Duration::from_hours(24);

fn last(number: u32) -> ExpireOptions {
    ExpireOptions {
        policy: Policy {
            keep_last: number,
            keep_certified: 1,
            ..Policy::none()
        },
        cluster: None,
        dry_run: false,
    }
}

fn tables(seed: u64) -> Vec<Rows> {
    vec![("same", rows(2000, 7)), ("changing", rows(2000, 1000 + 2 * seed))]
}

impl Ground {
    fn set_minute(&self, minute: i64) {
        self.store.set_clock(time(minute));
    }

    /// A certified backup a day, the first at minute 0; ends an hour after the last.
    async fn with_days(days: i64) -> Self {
        let ground = Self::new().await;
        for day in 0..days {
            ground.set_minute(day * DAY);
            ground.backup(day * DAY, &tables(u64::try_from(day).unwrap())).await;
            ground
                .verdict(day * DAY, day * DAY + 1, CertificateState::Certified, &[])
                .await;
        }
        ground.set_minute((days - 1) * DAY + HOUR);
        ground
    }

    async fn expire(&self, options: &ExpireOptions) -> ExpireReport {
        expire(&self.repository, options, &CancellationToken::new())
            .await
            .unwrap()
    }

    async fn try_prune(&self) -> crate::repository::Result<PruneReport> {
        let options = PruneOptions {
            grace: GRACE,
            dry_run: false,
        };
        prune(&self.repository, &options, &CancellationToken::new()).await
    }

    async fn prune(&self) -> PruneReport {
        self.try_prune().await.unwrap()
    }

    /// A backup that says of itself that it lacks something.
    async fn drifted_backup(&self, minute: i64, tables: &[Rows]) -> StoredManifest {
        let writer = self.writer().await;
        let records = put_all(&writer, tables).await.unwrap();
        let mut draft = draft(minute, tables);
        draft.drift = Some(Drift {
            outcome: DriftOutcome::Compared,
            baseline: None,
            passed_over: Vec::new(),
            reason: None,
            total: 1,
            findings: Vec::new(),
        });
        writer.commit(draft, records).await.unwrap()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let objects = list_all(self.store.as_ref(), prefix, None).await.unwrap();
        objects.into_iter().map(|object| object.key).collect()
    }

    async fn is_sound(&self) -> bool {
        let options = VerifyOptions {
            verify_id: VerifyId::new(time(0), 1),
            backups: Vec::new(),
            concurrency: 4,
            record: false,
        };
        let cancel = CancellationToken::new();
        let report = verify(&self.repository, &options, &crate::telemetry::progress::Silent, &cancel);
        report.await.unwrap().outcome == VerifyOutcome::Sound
    }
}

fn ids(days: impl IntoIterator<Item = i64>) -> Vec<BackupId> {
    days.into_iter().map(|day| backup_id(day * DAY)).collect()
}

#[tokio::test]
async fn what_is_expired_is_pruned_after_the_grace_period_and_the_rest_stays_whole() {
    let ground = Ground::with_days(5).await;
    let before = ground.keys(layout::CHUNKS).await;
    let dry = ground
        .expire(&ExpireOptions {
            dry_run: true,
            ..last(2)
        })
        .await;
    assert_eq!((dry.lines().count(), dry.expired.len()), (5, 0));
    assert_eq!(ground.repository.backup_ids().await.unwrap().len(), 5);

    let report = ground.expire(&last(2)).await;
    assert_eq!(report.expired, ids(0..3));
    assert_eq!(ground.repository.backup_ids().await.unwrap(), ids(3..5));
    assert_eq!(
        ground.keys(layout::TOMBSTONES).await.len(),
        6,
        "a tombstone and a mark each"
    );

    // Within the grace period all chunks are still marked.
    let report = ground.prune().await;
    assert_eq!((report.manifests, report.tombstones), (2, 3));
    assert_eq!((report.deleted.objects, report.young.objects), (0, 0));
    assert_eq!(report.referenced.objects, before.len() as u64);

    ground.set_minute(6 * DAY);
    let report = ground.prune().await;
    // Of each expired backup: the table that changed, and the index.
    assert_eq!((report.deleted.objects, report.retained.objects), (6, 0));
    assert_eq!(report.leftovers.tombstones, 3);
    assert_eq!(report.leftovers.certificates, 3);
    assert_eq!(ground.keys(layout::TOMBSTONES).await, Vec::<String>::new());
    assert_eq!(ground.keys(layout::CHUNKS).await.len(), before.len() - 6);
    assert!(ground.is_sound().await);
    let again = ground.prune().await;
    assert_eq!((again.deleted.objects, again.leftovers), (0, Leftovers::default()));
}

/// Under a key that is gone, say. Where nothing at all is given, nobody may take that for a look.
#[tokio::test]
async fn a_manifest_that_the_store_keeps_back_stays_and_one_that_keeps_back_all_is_an_error() {
    let ground = Ground::with_days(4).await;
    let refuse = |key: String| Fault::first(Operation::Get, key, Effect::Refuse(ErrorKind::Denied)).always();
    let one = ground
        .with_faults(vec![refuse(Key::Manifest(backup_id(DAY)).to_string())])
        .await;
    let (dry, cancel) = (
        ExpireOptions {
            dry_run: true,
            ..last(1)
        },
        CancellationToken::new(),
    );
    let report = expire(&one, &dry, &cancel).await.unwrap();
    let unreadable: Vec<&BackupId> = report
        .lines()
        .filter(|line| line.proof == Proof::Unreadable)
        .map(|line| &line.backup_id)
        .collect();
    assert_eq!(unreadable, [&backup_id(DAY)]);
    let all = ground.with_faults(vec![refuse(layout::MANIFESTS.to_owned())]).await;
    let error = expire(&all, &dry, &cancel).await.unwrap_err();
    assert!(
        matches!(&error, Error::Storage(error) if error.kind == ErrorKind::Denied),
        "{error}"
    );
}

#[tokio::test]
async fn a_held_backup_stays_until_it_is_released() {
    let ground = Ground::with_days(4).await;
    let held = backup_id(0);
    ground.repository.hold(&held, "the auditors", time(0)).await.unwrap();
    let report = ground.expire(&last(1)).await;
    assert_eq!(report.expired, ids(1..3));
    let line = report.lines().next().unwrap();
    assert_eq!(line.reasons, [Reason::Held("the auditors".to_owned())]);
    assert_eq!(
        ground.repository.unhold(&held, time(0)).await.unwrap(),
        HoldChange::Changed
    );
    assert_eq!(ground.expire(&last(1)).await.expired, [held]);
    ground.set_minute(6 * DAY);
    assert_eq!(ground.prune().await.leftovers.holds, 2);
}

#[tokio::test]
async fn a_persons_word_on_drift_goes_with_its_backup_once_that_is_long_gone_and_not_before() {
    let ground = Ground::with_days(1).await;
    let mut accepted = Vec::new();
    for day in 1..4 {
        ground.set_minute(day * DAY);
        let stored = ground
            .drifted_backup(day * DAY, &tables(u64::try_from(day).unwrap()))
            .await;
        ground
            .verdict(day * DAY, day * DAY + 1, CertificateState::Certified, &[])
            .await;
        let word = DriftAcceptance::new(&stored, time(day * DAY), "ann".to_owned(), "meant".to_owned());
        assert!(ground.repository.accept_drift(&word).await.unwrap());
        accepted.push(Key::DriftAcceptance(backup_id(day * DAY)).to_string());
    }
    assert_eq!(ground.expire(&last(1)).await.expired, ids(0..3));
    let pruned = ground.prune().await;
    assert_eq!(pruned.leftovers.acceptances, 0, "within the grace period");
    assert_eq!(ground.keys(layout::DRIFT).await, accepted);

    ground.set_minute(6 * DAY);
    let pruned = ground.prune().await;
    assert_eq!((pruned.outcome, pruned.leftovers.acceptances), (PruneOutcome::Done, 2));
    assert_eq!(
        ground.keys(layout::DRIFT).await,
        accepted[2..],
        "it thaws what is there"
    );
    assert_eq!(ground.prune().await.leftovers.acceptances, 0);
    assert!(ground.is_sound().await);
}

/// Refuses the request number `after` of an expiry and every one from there on, as a kill at that point would.
#[tokio::test]
async fn an_expiry_that_ends_anywhere_is_finished_by_the_next_and_loses_nothing() {
    for operation in [Operation::Put, Operation::Delete] {
        for after in 0..4 {
            let ground = Ground::with_days(5).await;
            let broken = Fault::first(operation, "", Effect::Refuse(ErrorKind::Unavailable));
            let repository = ground.with_faults(vec![broken.after(after).always()]).await;
            let ended = expire(&repository, &last(2), &CancellationToken::new()).await;
            assert!(ended.is_err() || after == 3, "{operation:?} {after}: {ended:?}");
            assert!(ground.is_sound().await);
            // Prune between the two must not take what a half expired backup had.
            ground.set_minute(10 * DAY);
            ground.prune().await;
            assert!(ground.is_sound().await, "{operation:?} {after}");
            ground.expire(&last(2)).await;
            assert_eq!(ground.repository.backup_ids().await.unwrap(), ids(3..5));
            ground.set_minute(12 * DAY);
            ground.prune().await;
            ground.set_minute(14 * DAY);
            ground.prune().await;
            assert_eq!(ground.keys(layout::TOMBSTONES).await, Vec::<String>::new());
            assert_eq!(ground.keys(layout::CHUNKS).await.len(), 2 + 4, "{operation:?} {after}");
            assert!(ground.is_sound().await);
        }
    }
}

#[tokio::test]
async fn the_grace_period_counts_from_when_the_manifest_is_known_to_be_gone() {
    let ground = Ground::with_days(3).await;
    // Killed after the deletion, before the mark.
    let broken = Fault::first(Operation::Put, "", Effect::Refuse(ErrorKind::Unavailable));
    let repository = ground.with_faults(vec![broken.after(2).always()]).await;
    expire(&repository, &last(1), &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(ground.repository.backup_ids().await.unwrap(), ids(2..3));
    ground.set_minute(30 * DAY);
    let report = ground.prune().await;
    assert_eq!(
        (report.tombstones, report.deleted.objects),
        (2, 0),
        "the marks are written only now"
    );
    ground.set_minute(31 * DAY + 1);
    assert_eq!(ground.prune().await.deleted.objects, 4);
}

#[tokio::test]
async fn a_store_that_refuses_to_delete_keeps_everything_and_is_no_error() {
    let ground = Ground::with_days(4).await;
    let denied = |key: &str| Fault::first(Operation::Delete, key, Effect::Refuse(ErrorKind::Denied)).always();
    let repository = ground.with_faults(vec![denied(layout::MANIFESTS)]).await;
    let report = expire(&repository, &last(1), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.expired.len(), report.retained.len()), (0, 3));
    assert_eq!(ground.repository.backup_ids().await.unwrap().len(), 4);

    ground.expire(&last(1)).await;
    ground.set_minute(10 * DAY);
    let repository = ground
        .with_faults(vec![denied(layout::CHUNKS), denied(layout::CERTIFICATES)])
        .await;
    let options = PruneOptions {
        grace: GRACE,
        dry_run: false,
    };
    let report = prune(&repository, &options, &CancellationToken::new()).await.unwrap();
    assert_eq!((report.deleted.objects, report.retained.objects), (0, 6));
    assert_eq!(report.leftovers.retained, 3);
    assert!(ground.is_sound().await);
    assert_eq!(ground.prune().await.deleted.objects, 6);
}

#[tokio::test]
async fn whoever_may_write_no_tombstone_expires_nothing() {
    let ground = Ground::with_days(4).await;
    let denied = Fault::first(Operation::Put, layout::TOMBSTONES, Effect::Refuse(ErrorKind::Denied)).always();
    let repository = ground.with_faults(vec![denied]).await;
    let report = expire(&repository, &last(1), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.expired.len(), report.retained.len()), (0, 3));
    assert_eq!(ground.repository.backup_ids().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_manifest_or_an_index_that_cannot_be_read_stops_the_prune_before_it_deletes() {
    for what in ["manifest", "index", "newer format"] {
        let ground = Ground::with_days(4).await;
        let kept = ground
            .repository
            .read_manifest(&backup_id(3 * DAY))
            .await
            .unwrap()
            .manifest;
        ground.expire(&last(1)).await;
        ground.set_minute(10 * DAY);
        let manifest = format!("{}{}.json", layout::MANIFESTS, backup_id(3 * DAY));
        match what {
            "manifest" => ground.store.replace(&manifest, b"{}".as_slice().into()),
            "index" => ground.store.delete(&kept.index[0].key).await.unwrap(),
            _ => {
                let newer = crate::repository::document::encode(&serde_json::json!({"format_version": 2})).unwrap();
                ground.store.replace(&manifest, newer);
            }
        }
        let before = ground.keys("").await.len();
        let error = ground.try_prune().await.unwrap_err();
        assert!(matches!(error, Error::Unmarked { .. }), "{what}: {error}");
        assert!(error.to_string().contains(backup_id(3 * DAY).as_str()), "{error}");
        assert_eq!(ground.keys("").await.len(), before, "{what}");
    }
}

/// A killed run's chunks belong to no manifest: they go once they are old, and not before.
#[tokio::test]
async fn leftovers_of_a_killed_run_go_once_they_are_old() {
    let ground = Ground::with_days(1).await;
    let writer = ground.writer().await;
    let orphan = rows(3000, 99);
    writer.put(orphan.clone(), vec![orphan.len()]).await.unwrap();
    drop(writer);
    ground.store.put_new("probes/left", bytes::Bytes::new()).await.unwrap();
    ground.set_minute(12 * HOUR);
    let report = ground.prune().await;
    assert_eq!(
        (report.young.objects, report.deleted.objects, report.leftovers.probes),
        (1, 0, 0)
    );
    ground.set_minute(26 * HOUR);
    let report = ground.prune().await;
    assert_eq!(
        (report.young.objects, report.deleted.objects, report.leftovers.probes),
        (0, 1, 1)
    );
    assert!(ground.is_sound().await);
}

/// As if the manifest had been put back by hand: the next expiry must not rely on the old mark.
#[tokio::test]
async fn a_backup_that_came_back_is_expired_with_a_grace_period_of_its_own() {
    let ground = Ground::with_days(3).await;
    let key = format!("{}{}.json", layout::MANIFESTS, backup_id(0));
    let manifest = ground.object(&key).await;
    ground.expire(&last(1)).await;
    ground.store.put_new(&key, manifest).await.unwrap();
    ground.set_minute(20 * DAY);
    assert!(ground.expire(&last(1)).await.expired.contains(&backup_id(0)));
    let report = ground.prune().await;
    assert_eq!(report.tombstones, 1, "{report:?}");
    assert_eq!(report.deleted.objects, 2, "those of the other expired backup alone");
}

#[tokio::test]
async fn clusters_are_planned_each_for_itself_and_the_others_are_left_alone() {
    let ground = Ground::with_days(2).await;
    for minute in [2 * DAY, 3 * DAY] {
        let writer = ground.writer().await;
        let records = put_all(&writer, &tables(50)).await.unwrap();
        let mut other = draft(minute, &tables(50));
        other.source.cluster = "other".to_owned();
        writer.commit(other, records).await.unwrap();
    }
    ground.set_minute(4 * DAY);
    let all = ground.expire(&last(1)).await;
    // Nothing of the other cluster is certified.
    assert_eq!(all.clusters.len(), 2);
    assert_eq!(all.expired, ids(0..1));
}

#[tokio::test]
async fn while_a_backup_lacks_what_nobody_has_let_go_nothing_is_deleted() {
    let ground = Ground::with_days(4).await;
    assert_eq!(ground.expire(&last(2)).await.expired, ids(0..2));
    ground.set_minute(4 * DAY);
    let drifted = ground.drifted_backup(4 * DAY, &tables(4)).await;
    ground
        .verdict(4 * DAY, 4 * DAY + 1, CertificateState::Certified, &[])
        .await;
    let before = ground.keys("").await;
    let report = ground.expire(&last(1)).await;
    assert!(report.expired.is_empty(), "{report:?}");
    let is_frozen = |line: &PlanLine| line.reasons.iter().any(|reason| matches!(reason, Reason::Frozen(_)));
    assert!(report.lines().any(is_frozen), "{report:?}");
    // What had expired before stays too, however long it takes.
    ground.set_minute(30 * DAY);
    let pruned = ground.prune().await;
    assert_eq!(pruned.outcome, PruneOutcome::Frozen);
    assert!(pruned.frozen.unwrap().contains(&backup_id(4 * DAY).to_string()));
    assert_eq!(ground.keys("").await, before);

    let accepted = DriftAcceptance::new(&drifted, time(30 * DAY), "ada".to_owned(), "an archive".to_owned());
    assert!(ground.repository.accept_drift(&accepted).await.unwrap());
    assert_eq!(ground.expire(&last(1)).await.expired, ids(2..4));
    assert_eq!(ground.prune().await.outcome, PruneOutcome::Done);
    assert!(ground.keys("").await.len() < before.len());
}

#[tokio::test]
async fn an_interrupted_prune_says_so_and_a_dry_one_changes_nothing() {
    let ground = Ground::with_days(4).await;
    ground.expire(&last(1)).await;
    ground.set_minute(10 * DAY);
    let before = ground.keys("").await;
    let cancel = CancellationToken::new();
    let dry = PruneOptions {
        grace: GRACE,
        dry_run: true,
    };
    let report = prune(&ground.repository, &dry, &cancel).await.unwrap();
    assert_eq!((report.outcome, report.deleted.objects), (PruneOutcome::Done, 6));
    cancel.cancel();
    let real = PruneOptions { dry_run: false, ..dry };
    let report = prune(&ground.repository, &real, &cancel).await.unwrap();
    assert_eq!((report.outcome, report.deleted.objects), (PruneOutcome::Interrupted, 0));
    assert_eq!(ground.keys("").await, before);
}
