//! Which backup a new one is compared with, on repositories in memory.

use super::*;
use crate::repository::drift::{Current, DriftFinding};

/// A backup of that minute which says of itself what `drift` is.
async fn backup(ground: &Ground, minute: i64, says: Option<Drift>) {
    // Other rows each time: the indexes of equal backups would be the same objects.
    let tables = vec![("orders", rows(100, 2 * minute.unsigned_abs()))];
    let writer = ground.writer().await;
    let records = put_all(&writer, &tables).await.unwrap();
    let mut draft = draft(minute, &tables);
    draft.drift = says;
    writer.commit(draft, records).await.unwrap();
}

/// A backup without any table, of the server that drafts are of.
const CURRENT: Current<'static> = Current {
    cluster: "shop",
    system_identifier: "7000000000000000001",
    databases: &[],
    not_included: &[],
};

/// What a backup without any table finds.
async fn drift_now(ground: &Ground) -> Drift {
    ground.repository.drift(CURRENT, RULES).await
}

fn minute_of(drift: &Drift) -> Option<i64> {
    let baseline: Option<&Baseline> = drift.baseline.as_ref();
    let is_it = |minute: &i64| baseline.is_some_and(|baseline| baseline.backup_id == backup_id(*minute));
    (0..20).find(is_it)
}

fn clean() -> Drift {
    Drift {
        outcome: DriftOutcome::Compared,
        ..Drift::without_baseline()
    }
}

fn drifted() -> Drift {
    Drift { total: 2, ..clean() }
}

async fn accept(ground: &Ground, minute: i64) {
    let stored = ground.repository.read_manifest(&backup_id(minute)).await.unwrap();
    let acceptance = DriftAcceptance::new(&stored, time(0), "me".to_owned(), "meant".to_owned());
    assert!(ground.repository.accept_drift(&acceptance).await.unwrap());
    assert!(
        !ground.repository.accept_drift(&acceptance).await.unwrap(),
        "created once"
    );
    let read = ground.repository.drift_acceptance(&backup_id(minute)).await.unwrap();
    assert_eq!(read, Some(acceptance));
}

#[tokio::test]
async fn the_baseline_is_the_newest_certified_backup_and_before_the_first_the_newest() {
    let ground = Ground::new().await;
    assert_eq!(drift_now(&ground).await, Drift::without_baseline());
    for minute in 0..4 {
        backup(&ground, minute, Some(clean())).await;
    }
    assert_eq!(minute_of(&drift_now(&ground).await), Some(3));
    ground.verdict(3, 9, CertificateState::Failed, &[]).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(2));
    ground.verdict(1, 9, CertificateState::Certified, &[]).await;
    let drift = drift_now(&ground).await;
    assert_eq!(minute_of(&drift), Some(1));
    assert!(drift.baseline.unwrap().certified);
    assert_eq!(drift.findings[0].kind, DriftKind::DatabaseLost);
}

/// As in a copy that has taken over; a drill of this place goes before it.
#[tokio::test]
async fn the_word_of_a_drill_elsewhere_makes_a_baseline_and_refutes_one() {
    let ground = Ground::new().await;
    for minute in 0..3 {
        backup(&ground, minute, Some(clean())).await;
    }
    ground.word_from_elsewhere(2, CertificateState::Failed).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(1));
    ground.word_from_elsewhere(0, CertificateState::Certified).await;
    let drift = drift_now(&ground).await;
    assert_eq!(minute_of(&drift), Some(0));
    assert!(drift.baseline.unwrap().certified);
    ground.verdict(2, 9, CertificateState::Certified, &[]).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(2));
}

/// A clone of production that was deployed with production's settings holds the same tables, and is not production.
#[tokio::test]
async fn another_server_under_the_same_name_is_told_first_and_freezes_until_a_person_has_looked() {
    let ground = Ground::new().await;
    backup(&ground, 0, Some(clean())).await;
    ground.verdict(0, 9, CertificateState::Certified, &[]).await;
    let clone = Current {
        system_identifier: "7000000000000000002",
        ..CURRENT
    };
    let drift = ground.repository.drift(clone, RULES).await;
    let finding = &drift.findings[0];
    assert_eq!(finding.kind, DriftKind::ServerChanged);
    assert_eq!(
        finding.to_string(),
        format!(
            "it is another server than the one before: its system identifier was {} (now: 7000000000000000002)",
            CURRENT.system_identifier
        )
    );
    assert_eq!(drift.total, 2, "a database is gone as well");
    assert!(drift.is_alarm());
    assert_eq!(drift_now(&ground).await.total, 1);
}

/// Its bytes may be lost; what it counted at the source is not.
#[tokio::test]
async fn where_every_earlier_backup_is_refuted_the_newest_of_them_is_the_baseline() {
    let ground = Ground::new().await;
    for minute in 0..2 {
        backup(&ground, minute, Some(clean())).await;
        ground.verdict(minute, 9, CertificateState::Failed, &[]).await;
    }
    let drift = drift_now(&ground).await;
    assert_eq!(minute_of(&drift), Some(1));
    assert!(!drift.baseline.as_ref().unwrap().certified);
    assert_eq!(drift.findings[0].kind, DriftKind::DatabaseLost);
    backup(&ground, 2, Some(drifted())).await;
    assert_eq!(
        minute_of(&drift_now(&ground).await),
        Some(1),
        "what nobody has accepted is worse"
    );
}

#[tokio::test]
async fn a_drift_that_nobody_accepted_is_no_baseline_though_it_was_certified() {
    let ground = Ground::new().await;
    backup(&ground, 0, None).await;
    backup(&ground, 1, Some(drifted())).await;
    backup(&ground, 2, Some(Drift::not_compared("the store was away"))).await;
    for minute in 0..3 {
        ground.verdict(minute, 9, CertificateState::Certified, &[]).await;
    }
    assert_eq!(minute_of(&drift_now(&ground).await), Some(0));
    let frozen = ground.repository.frozen("shop").await.unwrap().unwrap();
    assert_eq!(frozen.drifted, [backup_id(1)]);
    assert_eq!(frozen.not_compared, [backup_id(2)]);
    accept(&ground, 1).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(1));
    accept(&ground, 2).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(2));
    assert_eq!(ground.repository.frozen("shop").await.unwrap(), None);
    assert_eq!(ground.repository.frozen("another").await.unwrap(), None);
}

#[tokio::test]
async fn an_accepted_backup_is_the_baseline_before_its_drill() {
    let ground = Ground::new().await;
    backup(&ground, 0, None).await;
    ground.verdict(0, 9, CertificateState::Certified, &[]).await;
    backup(&ground, 1, Some(drifted())).await;
    backup(&ground, 2, Some(clean())).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(0));
    accept(&ground, 1).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(1));
    ground.verdict(1, 9, CertificateState::Failed, &[]).await;
    assert_eq!(minute_of(&drift_now(&ground).await), Some(0));
}

#[tokio::test]
async fn a_baseline_that_cannot_be_read_gives_way_to_an_older_one_and_is_named() {
    let ground = Ground::new().await;
    for minute in 0..3 {
        backup(&ground, minute, None).await;
        ground.verdict(minute, 9, CertificateState::Certified, &[]).await;
    }
    // The root of the newest, and the index of the one before it.
    let root = Key::Manifest(backup_id(2)).to_string();
    let index = ground
        .repository
        .read_manifest(&backup_id(1))
        .await
        .unwrap()
        .manifest
        .index;
    for key in [root.as_str(), index[0].key.as_str()] {
        ground.store.replace(key, b"not what was written".as_slice().into());
    }
    let drift = drift_now(&ground).await;
    assert_eq!(minute_of(&drift), Some(0));
    assert_eq!(drift.passed_over, [backup_id(2), backup_id(1)]);
    assert_eq!(drift.outcome, DriftOutcome::Compared);
}

#[tokio::test]
async fn without_any_baseline_that_can_be_read_or_trusted_nothing_is_taken_for_sound() {
    let ground = Ground::new().await;
    backup(&ground, 0, Some(drifted())).await;
    let drift = drift_now(&ground).await;
    assert_eq!(drift.outcome, DriftOutcome::NotCompared);
    assert!(
        drift.to_string().contains("nobody has accepted the drift of backup"),
        "{drift}"
    );

    let ground = Ground::new().await;
    backup(&ground, 0, None).await;
    let root = Key::Manifest(backup_id(0)).to_string();
    ground.store.replace(&root, b"damaged".as_slice().into());
    let drift = drift_now(&ground).await;
    assert_eq!(drift.outcome, DriftOutcome::NotCompared);
    assert!(drift.is_alarm() && drift.to_string().contains("is damaged"), "{drift}");
}

#[tokio::test]
async fn an_alarm_that_would_not_fit_into_the_root_costs_its_list_and_not_the_backup() {
    let ground = Ground::new().await;
    let finding = compared(&[database("shop", &[("t", 1)])], &[], RULES)
        .findings
        .remove(0);
    let long = DriftFinding {
        name: Some("n".repeat(MAX_ROOT_BYTES)),
        ..finding
    };
    let drift = Drift {
        total: 7,
        findings: vec![long],
        ..clean()
    };
    backup(&ground, 0, Some(drift)).await;
    let stored = ground.repository.read_manifest(&backup_id(0)).await.unwrap();
    let drift = stored.manifest.drift.unwrap();
    assert_eq!((drift.total, drift.findings.len()), (7, 0));
}

#[tokio::test]
async fn a_store_that_does_not_answer_costs_the_comparison_and_not_the_backup() {
    let ground = Ground::new().await;
    backup(&ground, 0, None).await;
    let away = Effect::Refuse(ErrorKind::Unavailable);
    for (operation, prefix) in [
        (Operation::List, layout::DRIFT),
        (Operation::List, layout::CERTIFICATES),
        (Operation::List, layout::MANIFESTS),
        (Operation::Get, layout::MANIFESTS),
        (Operation::Get, layout::CHUNKS),
    ] {
        let repository = ground.with_faults(vec![Fault::first(operation, prefix, away)]).await;
        let drift = repository.drift(CURRENT, RULES).await;
        assert_eq!(drift.outcome, DriftOutcome::NotCompared, "{operation:?} {prefix}");
        assert!(drift.reason.is_some_and(|reason| !reason.is_empty()));
    }
    assert_eq!(drift_now(&ground).await.outcome, DriftOutcome::Compared);
}
