//! Drills that fail: damage in the bucket, rows lost on the way, and a target that somebody touched.

use kubebackup::content::QualifiedName;
use kubebackup::drill::{DrillOptions, Verdict};
use kubebackup::repository::CertificateState;
use kubebackup::restore::LoadFault;
use tokio_util::sync::CancellationToken;

use super::Ground;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_fails_the_drill_and_is_named_with_its_table() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    let key = ground.chunk_of("t").await;
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(certificate.verdict, Verdict::Failed);
    assert_eq!(certificate.damaged_objects, std::slice::from_ref(&key));
    let reasons = certificate.reasons.join("\n");
    assert!(
        reasons.contains(&key) && reasons.contains("table \"public\".\"t\""),
        "{reasons}"
    );
    assert!(
        ground.repository.damaged_keys().await.unwrap().contains(&key),
        "the next backup does not reuse it"
    );
    assert_eq!(
        ground.states().await,
        [CertificateState::Started, CertificateState::Failed]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_index_is_damaged_fails_and_names_the_object() {
    let ground = Ground::with("CREATE TABLE t (a int)").await;
    let stored = ground.repository.read_manifest(&ground.backup_id).await.unwrap();
    let key = stored.manifest.index[0].key.clone();
    ground.flip_a_byte(&key).await;
    let certificate = ground.drill(&ground.options()).await;
    assert_eq!(
        (certificate.verdict, certificate.damaged_objects),
        (Verdict::Failed, vec![key])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_lost_while_loading_fails_the_comparison_and_names_the_table() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n; CREATE TABLE u (a int)").await;
    let options = DrillOptions {
        fault: Some(LoadFault::DropRow(QualifiedName::new("public", "t"))),
        ..ground.options()
    };
    let certificate = ground.drill(&options).await;
    assert_eq!(certificate.verdict, Verdict::Failed);
    let differing: Vec<_> = certificate.databases[0]
        .tables
        .iter()
        .filter(|table| !table.equal)
        .collect();
    assert_eq!(differing.len(), 1);
    let found = differing[0].found.unwrap();
    assert_eq!(
        (differing[0].name.name.as_str(), differing[0].expected.rows, found.rows),
        ("t", 100, 99)
    );
    assert!(
        certificate.summary.contains("rows failed: table \"public\".\"t\""),
        "{}",
        certificate.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_the_restored_database_before_the_comparison_is_found() {
    let ground = Ground::with("CREATE TABLE t AS SELECT generate_series(1, 100) AS n").await;
    let touch = || drop(ground.restored("UPDATE t SET n = 0 WHERE n = 50"));
    let certificate = ground
        .drill_and("compare", &touch, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(certificate.verdict, Verdict::Failed);
    assert!(
        certificate.summary.contains("rows failed: table \"public\".\"t\""),
        "{}",
        certificate.summary
    );
}
