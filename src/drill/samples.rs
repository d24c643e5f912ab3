//! Certificates to look at in unit tests.

use super::certificate::{
    CERTIFICATE_VERSION, Certificate, DatabaseCertificate, PhaseSeconds, SourceFacts, TargetFacts, Verdict, Versions,
};
use super::check::{Check, CheckName, Findings};
use super::objectives::{ObjectiveFacts, RecoveryPoint};
use super::rows::TableComparison;
use crate::content::{QualifiedName, RowTally};
use crate::postgres::machine::Machine;
use crate::repository::id::{RepositoryId, Sha256Digest};

fn tally(rows: u64) -> RowTally {
    let mut tally = RowTally::default();
    for row in 0..rows {
        tally.add_row(format!("{row}\n").as_bytes());
    }
    tally
}

fn table(name: &str, leaves: usize, expected: u64, found: Option<u64>) -> TableComparison {
    TableComparison {
        name: QualifiedName::new("shop", name),
        leaves,
        expected: tally(expected),
        found: found.map(tally),
        equal: found == Some(expected),
    }
}

/// A database whose checks all passed.
pub(super) fn database(name: &str) -> DatabaseCertificate {
    DatabaseCertificate {
        database: name.to_owned(),
        target_database: format!("{name}_restored"),
        snapshot_time: "2026-11-21T05:51:17Z".parse().unwrap(),
        equal: true,
        phases: vec![
            PhaseSeconds {
                name: "wipe".to_owned(),
                seconds: 0.5,
            },
            PhaseSeconds {
                name: "data".to_owned(),
                seconds: 12.34,
            },
        ],
        stored_bytes: 4096,
        checks: vec![
            Check::passed(CheckName::Inventory, "210 objects with owners and privileges"),
            Check::passed(CheckName::Rows, "3 tables, 6,012 rows"),
            Check::skipped(CheckName::Amcheck, "not asked for"),
        ],
        tables: vec![
            table("customer", 0, 12, Some(12)),
            table("event", 4, 5000, Some(5000)),
            table("order", 0, 1000, Some(1000)),
        ],
        roles_created: vec!["shop_owner".to_owned()],
        tablespaces_left_out: Vec::new(),
        jobs_unknown: false,
        remarks: vec!["subscription s: a restore contacts nothing outside".to_owned()],
    }
}

pub(super) fn certified() -> Certificate {
    Certificate {
        certificate_version: CERTIFICATE_VERSION,
        repository_id: RepositoryId::new(1),
        backup_id: "20261121T055117Z-8f3a2c1d".parse().unwrap(),
        drill_id: "20261121T060000Z-00000001".parse().unwrap(),
        manifest_sha256: Some(Sha256Digest([0xab; 32])),
        verdict: Verdict::Certified,
        summary: "CERTIFIED: shop rebuilt from the bucket alone and equal to the source: 6,012 rows in 3 tables; not \
                  tested: table shop.cache (unlogged)"
            .to_owned(),
        reasons: Vec::new(),
        damaged_objects: Vec::new(),
        older_versions: Vec::new(),
        started: "2026-11-21T06:00:00Z".parse().unwrap(),
        finished: "2026-11-21T06:00:20.5Z".parse().unwrap(),
        source: Some(SourceFacts {
            cluster: "production".to_owned(),
            system_identifier: "7000000000000000001".to_owned(),
            oldest_snapshot: "2026-11-21T05:51:17Z".parse().unwrap(),
            newest_snapshot: "2026-11-21T05:51:17Z".parse().unwrap(),
            usable_since: "2026-11-21T05:52:03Z".parse().unwrap(),
        }),
        target: Some(TargetFacts {
            server: "postgres-test:5432".to_owned(),
            system_identifier: "7000000000000000002".to_owned(),
            machine: Machine {
                fsync: false,
                full_page_writes: true,
                synchronous_commit: "on".to_owned(),
                shared_buffers: "128MB".to_owned(),
                cpus: Some(1.5),
                memory_bytes: Some(2 << 30),
            },
        }),
        versions: Versions {
            tool: "0.1.0".to_owned(),
            backup_tool: "0.1.0".to_owned(),
            source_server: "15.18".to_owned(),
            target_server: "15.18".to_owned(),
            pg_dump: "pg_dump (PostgreSQL) 15.18".to_owned(),
            pg_restore: "pg_restore (PostgreSQL) 15.18".to_owned(),
        },
        recovery_seconds: Some(12.5),
        recovery_point: Some(RecoveryPoint {
            seconds: 523.0,
            is_final: false,
            gap_before_seconds: Some(21_600.5),
        }),
        objectives: Some(ObjectiveFacts {
            rto_seconds: Some(10.0),
            rto_exceeded: Some(true),
            rpo_seconds: Some(28_800.0),
            rpo_exceeded: Some(false),
        }),
        databases: vec![database("shop")],
        not_tested: vec!["table shop.cache (unlogged)".to_owned()],
    }
}

pub(super) fn failed() -> Certificate {
    let mut findings = Findings::new(CheckName::Rows);
    findings.differs("table \"shop\".\"order\"", "1000 rows", "999 rows", "");
    let mut database = database("shop");
    database.equal = false;
    database.checks = findings.finish("");
    database.checks.push(Check::not_run(
        CheckName::Definitions,
        "no scratch database to compare with",
    ));
    database.tables[2] = table("order", 0, 1000, Some(999));
    database.tables.push(table("lost", 0, 3, None));
    Certificate {
        verdict: Verdict::Failed,
        summary: "FAILED: database shop: rows failed: table \"shop\".\"order\"".to_owned(),
        reasons: vec!["database shop: rows failed: table \"shop\".\"order\"".to_owned()],
        damaged_objects: vec!["an object's key".to_owned()],
        databases: vec![database],
        recovery_seconds: None,
        recovery_point: None,
        objectives: None,
        ..certified()
    }
}
