//! What a copy leaves where it is because the other place would not keep it, and what proves backups over there.

use bytes::Bytes;

use super::super::testing::{Ground, Rows, backup_id, draft, put_all, rows, time, two_tables};
use super::*;
use crate::repository::drift::{Drift, DriftAcceptance, DriftOutcome};
use crate::repository::id::{Sha256Digest, VerifyId};
use crate::repository::layout::Key;
use crate::repository::manifest::Backup;
use crate::repository::{
    CertificateState, Decision, ExpireOptions, ExpireReport, PlanLine, PruneOptions, VerifyOptions, expire, prune,
    verify,
};
use crate::storage::MemoryStore;
use crate::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

const DAY: i64 = 24 * 60;

fn daily(number: u32) -> Policy {
    Policy {
        keep_daily: number,
        keep_certified: 1,
        ..Policy::none()
    }
}

/// A backup that is made when it says so.
async fn backup_at(ground: &Ground, minute: i64, tables: &[Rows]) -> Backup {
    ground.store.set_clock(time(minute));
    ground.backup(minute, tables).await
}

/// A certified backup a day.
async fn days(number: i64) -> Ground {
    let ground = Ground::new().await;
    for day in 0..number {
        let changing = rows(1000, 100 + 2 * u64::try_from(day).unwrap());
        backup_at(&ground, day * DAY, &[("same", rows(3000, 7)), ("changing", changing)]).await;
        ground
            .verdict(day * DAY, day * DAY + 1, CertificateState::Certified, &[])
            .await;
    }
    ground
}

async fn empty_copy(ground: &Ground, minute: i64) -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    store.set_clock(time(minute));
    let to = open_copy(&ground.repository, store.clone()).await.unwrap();
    (store, to)
}

async fn run(ground: &Ground, to: &Repository, policy: Policy) -> CopyReport {
    let options = CopyOptions {
        concurrency: 4,
        grace: Duration::from_hours(24),
        policy,
        known_locks: Arc::default(),
    };
    copy(&ground.repository, to, &options, &Silent).await.unwrap()
}

async fn let_go(to: &Repository, policy: Policy, dry_run: bool) -> ExpireReport {
    let options = ExpireOptions {
        policy,
        cluster: None,
        dry_run,
    };
    expire(to, &options, &CancellationToken::new()).await.unwrap()
}

async fn plan_of(to: &Repository, policy: Policy) -> Vec<PlanLine> {
    let_go(to, policy, true).await.lines().cloned().collect()
}

fn ids(days: std::ops::Range<i64>) -> Vec<BackupId> {
    days.map(|day| backup_id(day * DAY)).collect()
}

/// The words from elsewhere that count over there.
async fn verdicts(to: &Repository) -> std::collections::BTreeMap<BackupId, CertificateState> {
    let damaged = to.damaged_backups().await.unwrap();
    to.verdicts_from_elsewhere(&damaged).await.unwrap()
}

#[tokio::test]
async fn what_was_let_go_over_there_is_not_brought_back_neither_by_its_tombstone_nor_by_the_rules() {
    let ground = days(5).await;
    let (store, to) = empty_copy(&ground, 5 * DAY).await;
    assert_eq!(run(&ground, &to, Policy::none()).await.copied.len(), 5);
    assert_eq!(let_go(&to, daily(2), false).await.expired, ids(0..3));

    // Without any rule the tombstones alone say so.
    let before = store.stats().puts;
    let report = run(&ground, &to, Policy::none()).await;
    assert_eq!((report.present, report.copied.len(), report.let_go), (2, 0, ids(0..3)));
    assert_eq!(store.stats().puts, before);
    assert_eq!(report.settled.len(), 5, "nothing is missing there");

    store.set_clock(time(9 * DAY));
    let options = PruneOptions {
        grace: Duration::from_hours(24),
        dry_run: false,
    };
    let pruned = prune(&to, &options, &CancellationToken::new()).await.unwrap();
    assert_eq!(
        (pruned.leftovers.tombstones, pruned.leftovers.words_from_elsewhere),
        (3, 3)
    );
    let report = run(&ground, &to, daily(2)).await;
    assert_eq!((report.copied.len(), report.let_go), (0, ids(0..3)));
    assert_eq!(
        run(&ground, &to, daily(4)).await.copied,
        [backup_id(2 * DAY), backup_id(DAY)]
    );
}

#[tokio::test]
async fn an_empty_place_gets_what_its_rules_keep_and_nothing_that_they_would_drop_at_once() {
    let ground = days(5).await;
    let (_, to) = empty_copy(&ground, 5 * DAY).await;
    let report = run(&ground, &to, daily(2)).await;
    assert_eq!(report.copied, [backup_id(4 * DAY), backup_id(3 * DAY)]);
    assert_eq!(report.let_go, ids(0..3));
    assert_eq!(let_go(&to, daily(2), false).await.expired, []);
}

#[tokio::test]
async fn what_a_person_holds_is_brought_whatever_was_let_go() {
    let ground = days(3).await;
    let (_, to) = empty_copy(&ground, 3 * DAY).await;
    run(&ground, &to, Policy::none()).await;
    assert_eq!(let_go(&to, daily(1), false).await.expired, ids(0..2));
    ground.repository.hold(&backup_id(0), "audit", time(0)).await.unwrap();
    let report = run(&ground, &to, daily(1)).await;
    assert_eq!((report.copied, report.let_go), (ids(0..1), ids(1..2)));
    assert_eq!(let_go(&to, daily(1), false).await.expired, []);
}

#[tokio::test]
async fn what_is_held_after_it_was_let_go_there_comes_when_no_prune_can_be_about_to_take_it() {
    let ground = days(3).await;
    let (store, to) = empty_copy(&ground, 3 * DAY).await;
    run(&ground, &to, Policy::none()).await;
    assert_eq!(let_go(&to, daily(1), false).await.expired, ids(0..2));
    ground.repository.hold(&backup_id(0), "audit", time(0)).await.unwrap();
    store.set_clock(time(3 * DAY + 60));
    let report = run(&ground, &to, daily(1)).await;
    assert_eq!((report.copied.len(), report.left.len()), (0, 1), "{report:?}");
    assert!(report.left[0].reason.contains("a prune may be"), "{report:?}");
    store.set_clock(time(4 * DAY + 120));
    assert_eq!(run(&ground, &to, daily(1)).await.copied, ids(0..1));
}

/// A certified backup that says itself that something is missing.
async fn drifted(ground: &Ground, minute: i64) {
    ground.store.set_clock(time(minute));
    let mut drifted = draft(minute, &two_tables());
    drifted.drift = Some(Drift {
        outcome: DriftOutcome::Compared,
        baseline: None,
        passed_over: Vec::new(),
        reason: None,
        total: 1,
        findings: Vec::new(),
    });
    let writer = ground.writer().await;
    let records = put_all(&writer, &two_tables()).await.unwrap();
    writer.commit(drifted, records).await.unwrap();
    ground
        .verdict(minute, minute + 1, CertificateState::Certified, &[])
        .await;
}

#[tokio::test]
async fn drift_brings_nothing_that_the_rules_over_there_would_not_keep() {
    let ground = days(3).await;
    drifted(&ground, 3 * DAY).await;
    let (_, to) = empty_copy(&ground, 4 * DAY).await;
    let report = run(&ground, &to, daily(1)).await;
    assert_eq!(report.let_go, ids(0..2));
    assert_eq!(report.copied, [backup_id(3 * DAY), backup_id(2 * DAY)]);
}

#[tokio::test]
async fn what_came_before_a_drift_is_brought_by_the_rules_as_if_the_drift_had_not_come() {
    let ground = days(3).await;
    for day in 3..6 {
        drifted(&ground, day * DAY).await;
    }
    // A place that was away since before the drift: those with the loss fill every rule.
    let (_, to) = empty_copy(&ground, 6 * DAY).await;
    let report = run(&ground, &to, daily(1)).await;
    assert_eq!(report.copied, [backup_id(5 * DAY), backup_id(2 * DAY)]);
    assert_eq!(report.let_go, [ids(0..2), ids(3..5)].concat());
    assert_eq!(let_go(&to, daily(1), false).await.expired, [], "frozen there too");

    for day in 3..6 {
        let stored = ground.repository.read_manifest(&backup_id(day * DAY)).await.unwrap();
        let word = DriftAcceptance::new(&stored, time(6 * DAY), "ann".to_owned(), "meant".to_owned());
        ground.repository.accept_drift(&word).await.unwrap();
    }
    let report = run(&ground, &to, daily(1)).await;
    assert_eq!((report.copied.len(), report.present), (0, 2));
    assert_eq!(let_go(&to, daily(1), false).await.expired, ids(2..3));
    let (_, other) = empty_copy(&ground, 6 * DAY).await;
    assert_eq!(run(&ground, &other, daily(1)).await.copied, ids(5..6));
    // The word goes with the backup that it is about.
    for place in [&to, &other] {
        let accepted: Vec<BackupId> = place.accepted_drifts().await.unwrap().into_iter().collect();
        assert_eq!(accepted, ids(5..6));
    }
}

#[tokio::test]
async fn where_a_backup_cannot_be_brought_the_one_that_it_stood_for_comes_in_its_place() {
    let ground = days(1).await;
    let second = backup_at(&ground, 60, &[("items", rows(5000, 11))]).await;
    ground.verdict(60, 61, CertificateState::Certified, &[]).await;
    backup_at(&ground, DAY, &two_tables()).await;
    ground.verdict(DAY, DAY + 1, CertificateState::Certified, &[]).await;
    let (_, to) = empty_copy(&ground, 2 * DAY).await;
    let own = second.manifest.index[0].key.clone();
    let mut body = ground.object(&own).await.to_vec();
    body[20] ^= 1;
    ground.store.replace(&own, body.into());
    let report = run(&ground, &to, daily(2)).await;
    assert_eq!(report.left.len(), 1);
    assert_eq!(report.left[0].backup_id, backup_id(60));
    assert_eq!(
        (report.copied, report.let_go.len()),
        (vec![backup_id(DAY), backup_id(0)], 0)
    );
}

#[tokio::test]
async fn a_copy_that_nobody_drills_lets_go_by_what_drills_of_the_first_place_have_said() {
    let ground = days(3).await;
    let (_, to) = empty_copy(&ground, 3 * DAY).await;
    let report = run(&ground, &to, Policy::none()).await;
    assert_eq!(report.copied_verdicts, 3);
    assert!(
        to.certificates().await.unwrap().is_empty(),
        "no drill has read what lies here"
    );
    let lines = plan_of(&to, daily(1)).await;
    assert!(lines.iter().all(|line| line.is_proof_from_elsewhere), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.decision == Decision::Drop).count(), 2);
    assert_eq!(run(&ground, &to, Policy::none()).await.copied_verdicts, 0);

    // A later word counts, also of a backup that is long there.
    ground
        .verdict(2 * DAY, 2 * DAY + 5, CertificateState::Failed, &[])
        .await;
    assert_eq!(run(&ground, &to, Policy::none()).await.copied_verdicts, 1);
    let lines = plan_of(&to, daily(1)).await;
    assert_eq!(
        lines[1].decision,
        Decision::Keep,
        "the newest that is certified: {lines:?}"
    );
}

#[tokio::test]
async fn a_drill_that_found_damaged_objects_has_spoken_of_its_own_place_alone() {
    let ground = days(2).await;
    let lost = Key::Chunk {
        sha256: Sha256Digest::of(b"lost"),
        copy: 0,
    }
    .to_string();
    ground.verdict(DAY, DAY + 5, CertificateState::Failed, &[&lost]).await;
    let (_, to) = empty_copy(&ground, 3 * DAY).await;
    assert_eq!(run(&ground, &to, Policy::none()).await.copied_verdicts, 2);
    let words = verdicts(&to).await;
    assert_eq!(
        words[&backup_id(DAY)],
        CertificateState::Certified,
        "as it was before the damage over there"
    );
}

#[tokio::test]
async fn what_a_drill_or_a_verification_of_the_copy_itself_says_goes_before_the_word_from_elsewhere() {
    let ground = days(3).await;
    let (store, to) = empty_copy(&ground, 3 * DAY).await;
    run(&ground, &to, Policy::none()).await;
    let drill = crate::repository::id::DrillId::new(time(3 * DAY), 7);
    let body = Bytes::from_static(b"{}");
    to.put_certificate(&backup_id(2 * DAY), &drill, CertificateState::Failed, body)
        .await
        .unwrap();
    let lines = plan_of(&to, daily(1)).await;
    let proofs = |lines: &[PlanLine]| -> Vec<String> { lines.iter().map(|line| line.proof.to_string()).collect() };
    assert_eq!(proofs(&lines), ["certified", "certified", "failed"]);
    assert!(!lines[2].is_proof_from_elsewhere);

    // Bytes that rot here are nothing that a drill elsewhere could know.
    let second = to.read_backup(&backup_id(DAY)).await.unwrap();
    let first = to.read_backup(&backup_id(0)).await.unwrap();
    let own = second
        .chunks
        .iter()
        .find(|chunk| !first.chunks.contains(chunk))
        .unwrap();
    let mut body = store.get(&own.key).await.unwrap().to_vec();
    body[20] ^= 1;
    store.replace(&own.key, body.into());
    let options = VerifyOptions {
        verify_id: VerifyId::new(time(3 * DAY), 1),
        backups: Vec::new(),
        concurrency: 4,
        record: true,
    };
    verify(&to, &options, &Silent, &CancellationToken::new()).await.unwrap();
    let lines = plan_of(&to, daily(1)).await;
    assert_eq!(proofs(&lines), ["certified", "unproven", "failed"]);
    assert_eq!(
        lines[0].decision,
        Decision::Keep,
        "the only one that is known to be good: {lines:?}"
    );
}

#[tokio::test]
async fn what_was_let_go_there_and_does_not_come_takes_nobodys_place() {
    let ground = Ground::new().await;
    for minute in [60, DAY] {
        backup_at(&ground, minute, &two_tables()).await;
        ground
            .verdict(minute, minute + 1, CertificateState::Certified, &[])
            .await;
    }
    let (_, to) = empty_copy(&ground, 2 * DAY).await;
    run(&ground, &to, Policy::none()).await;
    assert_eq!(let_go(&to, daily(1), false).await.expired, [backup_id(60)]);
    // One more of the same day, which the newer one would stand for if it came.
    backup_at(&ground, 0, &two_tables()).await;
    ground.verdict(0, 1, CertificateState::Certified, &[]).await;
    let report = run(&ground, &to, daily(2)).await;
    assert_eq!(report.let_go, [backup_id(60)]);
    assert_eq!(report.copied, [backup_id(0)]);
}

#[tokio::test]
async fn a_damage_record_of_the_copy_that_cannot_be_read_may_name_any_backup() {
    let ground = days(2).await;
    let (store, to) = empty_copy(&ground, 3 * DAY).await;
    run(&ground, &to, Policy::none()).await;
    assert_eq!(verdicts(&to).await.len(), 2);
    let record = Key::Damage(VerifyId::new(time(3 * DAY), 1)).to_string();
    store.put_new(&record, Bytes::from_static(b"no record")).await.unwrap();
    assert_eq!(verdicts(&to).await.len(), 0);
}
