//! The check that an application could log in to the rebuilt database, and read what is its own.

use kubebackup::drill::{Certificate, Check, CheckName, DrillOptions, Outcome, Verdict};
use tokio_util::sync::CancellationToken;

use super::Ground;

const TABLES: &str = "
CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO app_user;
CREATE TABLE mine (a int); ALTER TABLE mine OWNER TO app_user; CREATE TABLE everybodys (a int); GRANT SELECT ON everybodys TO PUBLIC;
CREATE TABLE s.\"my.column\" (a int, b int); GRANT SELECT (b) ON s.\"my.column\" TO app_user; CREATE TABLE others (a int)";

fn logging_in(ground: &Ground) -> DrillOptions {
    DrillOptions {
        login_role: Some("app_user".to_owned()),
        ..ground.options()
    }
}

fn login(certificate: &Certificate) -> &Check {
    let mut checks = certificate.databases[0].checks.iter();
    checks.find(|check| check.name == CheckName::Login).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_reads_what_the_backup_grants_it_passes() {
    let ground = Ground::with(TABLES).await;
    let certificate = ground.drill(&logging_in(&ground)).await;
    assert_eq!(certificate.verdict, Verdict::Certified, "{}", certificate.summary);
    let expected = "logged in; may read 3 of 4 tables, where the backup grants it 3";
    assert_eq!(login(&certificate).detail, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_logs_in_and_cannot_read_what_the_backup_grants_it_fails() {
    let ground = Ground::with(TABLES).await;
    for (harm, readable, table) in [
        ("REVOKE SELECT ON everybodys FROM PUBLIC", 2, "public.everybodys"),
        ("REVOKE USAGE ON SCHEMA s FROM app_user", 2, "s.\"my.column\""),
        (
            "REVOKE ALL ON mine, everybodys FROM app_user, PUBLIC; REVOKE ALL (b) ON s.\"my.column\" FROM app_user",
            0,
            "public.everybodys",
        ),
    ] {
        let do_it = || drop(ground.restored(harm));
        let options = logging_in(&ground);
        let certificate = ground
            .drill_as(&options, "compare", &do_it, &CancellationToken::new())
            .await
            .unwrap();
        let check = login(&certificate);
        assert_eq!(
            (certificate.verdict, check.outcome),
            (Verdict::Failed, Outcome::Failed),
            "{harm}"
        );
        let expected = format!("may read {readable} of 4 tables, where the backup grants it 3; ");
        assert!(
            check.detail.contains(&expected) && check.detail.contains(table),
            "{}",
            check.detail
        );
    }
}
