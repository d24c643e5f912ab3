//! Statuses as agents have them after some days, with everything in them that there can be: for tests, and for whoever
//! works on the page.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::status::{
    AgentKind, BackupContents, BackupStatus, CertificateStatus, CopyCounts, CopyStatus, Counts, CurrentPace,
    CurrentPhase, CurrentRetention, CurrentRun, DriftStatus, DrillState, DrillStatus, FailedRetention, FinishedRun,
    LeaseStatus, NextRun, Objectives, Outcome, PhaseStatus, RepositoryStatus, RetentionCounts, RetentionStatus, Status,
    StoreCounts, SucceededRetention, TableStatus, Trigger,
};

/// The moment of all samples.
pub const NOW: Timestamp = Timestamp::constant(1_795_254_320, 0);

/// Backups in the bucket, one every six hours; the newest has not been drilled yet.
const BACKUPS: u64 = 24;

/// A backup agent amid a run.
#[must_use]
pub fn backup_agent() -> Status {
    let mut status = empty(AgentKind::BackupAgent);
    status.is_queued = true;
    status.current = Some(CurrentRun {
        number: 9,
        trigger: Trigger::Signal,
        started: ago(94),
        backup_id: None,
        phase: Some(CurrentPhase {
            name: "dump shop".to_owned(),
            started: ago(90),
            done_bytes: 1_420_000_000,
            total_bytes: Some(2_300_000_000),
        }),
        blocked_sessions: Some(0),
        pace: Some(CurrentPace {
            ratio: 0.5,
            paced_seconds: 9.5,
        }),
        snapshot: Some(ago(91)),
    });
    status.next_run = Some(NextRun {
        at: NOW + SignedDuration::from_secs(17_000),
        trigger: Trigger::Schedule,
    });
    status.lease = Some(LeaseStatus {
        is_held: true,
        generation: Some(41),
        is_degraded: false,
    });
    status.runs = vec![
        run(
            8,
            Trigger::Schedule,
            Outcome::Succeeded,
            Some(backup_id(BACKUPS - 1)),
            None,
        ),
        run(
            7,
            Trigger::Schedule,
            Outcome::Yielded,
            None,
            Some("3 sessions waited for the backup's locks for 10 s"),
        ),
    ];
    status.counts.runs = [(Outcome::Succeeded, 7), (Outcome::Yielded, 1)].into();
    status.counts.retention = RetentionCounts {
        runs: 6,
        failed_runs: 1,
        expired_backups: 3,
        deleted_objects: 812,
        deleted_bytes: 1_930_000_000,
    };
    status.retention = RetentionStatus {
        current: Some(CurrentRetention {
            started: ago(95),
            step: "prune".to_owned(),
        }),
        last_succeeded: Some(SucceededRetention {
            started: ago(6 * 3600),
            finished: ago(6 * 3600 - 40),
            expired_backups: 1,
            deleted_objects: 131,
            retained_objects: 0,
            message: None,
        }),
        last_failed: Some(FailedRetention {
            started: ago(12 * 3600),
            finished: ago(12 * 3600 - 10),
            message: "the store answered 503".to_owned(),
        }),
    };
    status.counts.triggers = [(Trigger::Schedule, 7), (Trigger::Signal, 2)].into();
    status.counts.coalesced_signals = 1;
    status.copies = copies();
    status.counts.copies = [("nas".to_owned(), copy_counts())].into();
    status.repository = Some(Arc::new(repository()));
    status
}

/// One that is well, and one that is away.
#[must_use]
pub fn copies() -> Vec<CopyStatus> {
    let nas = CopyStatus {
        name: "nas".to_owned(),
        running_since: Some(ago(5)),
        next_attempt: None,
        last_success: Some(ago(1200)),
        missing: Some(0),
        behind_since: None,
        let_go: Some(3),
        trouble: None,
        retention: RetentionStatus {
            current: Some(CurrentRetention {
                started: ago(4),
                step: "expire".to_owned(),
            }),
            last_succeeded: Some(SucceededRetention {
                started: ago(1200),
                finished: ago(1190),
                expired_backups: 1,
                deleted_objects: 96,
                retained_objects: 0,
                message: None,
            }),
            ..RetentionStatus::default()
        },
    };
    let offsite = CopyStatus {
        name: "offsite".to_owned(),
        running_since: None,
        next_attempt: Some(NOW + SignedDuration::from_secs(900)),
        last_success: Some(ago(7 * 3600)),
        missing: Some(2),
        behind_since: Some(ago(6 * 3600 + 1200)),
        let_go: Some(0),
        trouble: Some("put 'probes/5f': connection refused".to_owned()),
        retention: RetentionStatus::default(),
    };
    vec![nas, offsite]
}

fn copy_counts() -> CopyCounts {
    CopyCounts {
        complete: 8,
        copied_backups: 27,
        copied_bytes: 7_912_345_678,
        ..CopyCounts::default()
    }
}

/// A restore agent that waits for the next backup.
#[must_use]
pub fn restore_agent() -> Status {
    let mut status = empty(AgentKind::RestoreAgent);
    status.next_run = Some(NextRun {
        at: NOW + SignedDuration::from_secs(40_000),
        trigger: Trigger::Reprove,
    });
    status.runs = vec![
        run(2, Trigger::Poll, Outcome::Certified, Some(backup_id(BACKUPS - 2)), None),
        run(
            1,
            Trigger::Poll,
            Outcome::Unverified,
            Some(backup_id(BACKUPS - 2)),
            Some("the target could not be reached"),
        ),
    ];
    status.counts.runs = [(Outcome::Certified, 1), (Outcome::Unverified, 1)].into();
    status.counts.triggers = [(Trigger::Poll, 2)].into();
    status.counts.notifications = 1;
    status.repository = Some(Arc::new(repository()));
    status
}

/// An agent that has just begun and has not seen the bucket yet.
#[must_use]
pub fn empty(agent: AgentKind) -> Status {
    Status {
        agent,
        tool_version: "0.1.0".to_owned(),
        cluster: Some("production".to_owned()),
        started: ago(49 * 3600),
        now: NOW,
        turned: ago(1),
        poll_seconds: 60.0,
        waiting_for: None,
        waits_for_settings: false,
        next_run: None,
        is_queued: false,
        current: None,
        runs: Vec::new(),
        counts: Counts {
            store: StoreCounts {
                requests: [
                    ("put".to_owned(), [("ok".to_owned(), 4210)].into()),
                    (
                        "get".to_owned(),
                        [("ok".to_owned(), 903), ("transient".to_owned(), 2)].into(),
                    ),
                    ("list".to_owned(), [("ok".to_owned(), 2933)].into()),
                ]
                .into(),
                retries: 2,
                bytes_sent: 7_912_345_678,
                bytes_received: 12_345_678,
            },
            ..Counts::default()
        },
        objectives: Objectives {
            rto_seconds: Some(900.0),
            rpo_seconds: Some(8.0 * 3600.0),
        },
        lease: None,
        copies: Vec::new(),
        retention: RetentionStatus::default(),
        repository: None,
    }
}

/// A bucket with two dozen backups: one cannot be read, one drill failed once and was right the second time, the newest
/// backup's drill could not judge.
#[must_use]
pub fn repository() -> RepositoryStatus {
    let mut backups: Vec<BackupStatus> = (0..BACKUPS).map(backup).collect();
    let count = backups.len();
    backups[4] = BackupStatus {
        backup_id: backup_id(4),
        damage: Some("the digest of manifests/20261115T145830Z-7f0c.json differs".to_owned()),
        contents: None,
        drills: Vec::new(),
        drift: None,
    };
    backups[10].drills = vec![
        drill(10, 700, DrillState::Failed),
        drill(10, 900, DrillState::Certified),
    ];
    backups[16].drills = vec![drill(16, 700, DrillState::Failed), drill(16, 900, DrillState::Failed)];
    backups[count - 1].drills = vec![
        drill(BACKUPS - 1, 600, DrillState::Unverified),
        drill(BACKUPS - 1, 1200, DrillState::Started),
    ];
    RepositoryStatus {
        read_at: ago(23),
        backups,
        frozen: None,
        newest_certificate: Some(certificate()),
    }
}

/// What a backup after a `DELETE` without `WHERE` lacks.
#[must_use]
pub fn drift() -> DriftStatus {
    DriftStatus {
        summary: format!("2 findings against {}", backup_id(3)),
        findings: 2,
        is_compared: true,
        lines: vec![
            "table public.<b>notes</b> of shop is gone, with 12 rows (1.2 KiB)".to_owned(),
            "table public.orders of shop fell from 5,210,400 rows (753 MiB) to 0 rows (0 B)".to_owned(),
        ],
        freezes: true,
    }
}

/// What a status says of the bucket, to be changed; empty lists, if it said nothing.
#[must_use]
pub fn repository_of(status: &mut Status) -> &mut RepositoryStatus {
    let unread = || RepositoryStatus {
        read_at: NOW,
        backups: Vec::new(),
        frozen: None,
        newest_certificate: None,
    };
    Arc::make_mut(status.repository.get_or_insert_with(|| Arc::new(unread())))
}

/// The certificate of the newest certified backup.
#[must_use]
pub fn certificate() -> CertificateStatus {
    let position = BACKUPS - 2;
    let table = |name: &str, rows: u64, raw_bytes: u64| TableStatus {
        database: "shop".to_owned(),
        table: name.to_owned(),
        rows,
        raw_bytes,
        fingerprint: format!(
            "{:032x}",
            u128::from(rows + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        ),
        is_equal: true,
        remark: None,
    };
    CertificateStatus {
        backup_id: backup_id(position),
        drill_id: "20261121T004512Z-51aa".to_owned(),
        state: DrillState::Certified,
        summary: "CERTIFIED: shop rebuilt from the bucket alone and equal to the source: 18,402,113 rows in 6 tables"
            .to_owned(),
        reasons: Vec::new(),
        started: at(position) + SignedDuration::from_secs(600),
        finished: at(position) + SignedDuration::from_secs(1014),
        oldest_snapshot: Some(at(position)),
        recovery_seconds: Some(287.4),
        phases: phases(&[
            ("wipe", 1.8),
            ("pre-data", 2.1),
            ("data", 212.0),
            ("post-data", 69.3),
            ("properties", 0.1),
            ("compare", 121.7),
        ]),
        tables: vec![
            table("public.customers", 412_000, 81_000_000),
            table("public.orders", 5_210_400, 790_000_000),
            table("public.order_lines", 12_707_211, 1_310_000_000),
            table("public.products", 8_412, 2_100_000),
            table("public.settings", 90, 4_100),
            table("audit.\"Events <2026>\"", 64_000, 12_000_000),
        ],
        total_tables: 6,
        differing_tables: 0,
        total_not_tested: 2,
        older_versions: 0,
        not_tested: vec![
            "tablespaces: the target has none of production's".to_owned(),
            "passwords of roles".to_owned(),
        ],
    }
}

fn backup(position: u64) -> BackupStatus {
    let wave = (position * 7 % 5) * 1_700_000;
    let raw_bytes = 2_000_000_000 + position * 11_000_000;
    BackupStatus {
        backup_id: backup_id(position),
        damage: None,
        contents: Some(BackupContents {
            cluster: "production".to_owned(),
            oldest_snapshot: at(position),
            newest_snapshot: at(position) + SignedDuration::from_secs(2),
            started: at(position) - SignedDuration::from_secs(3),
            usable_since: at(position) + SignedDuration::from_secs(140),
            databases: vec!["shop".to_owned()],
            databases_not_included: vec!["scratch".to_owned()],
            tables: 6,
            rows: 18_000_000 + position * 20_000,
            raw_bytes,
            stored_bytes: raw_bytes / 4 + wave,
            new_bytes: if position == 0 {
                raw_bytes / 4
            } else {
                21_000_000 + wave * 6
            },
            chunks: 131,
            reused_chunks: if position == 0 { 0 } else { 117 + position % 9 },
            healed_chunks: u64::from(position == 5),
            duration_seconds: [121.0, 134.5, 128.0, 140.2, 119.7]
                [usize::from(position % 5 == 2) + usize::from(position % 3 == 1) * 2],
            paced_seconds: Some(14.0),
            phases: phases(&[("snapshot", 3.0), ("dump", 131.0)]),
        }),
        drills: vec![drill(position, 600, DrillState::Certified)],
        drift: None,
    }
}

fn phases(phases: &[(&str, f64)]) -> Vec<PhaseStatus> {
    let phase = |(name, seconds): &(&str, f64)| PhaseStatus {
        name: (*name).to_owned(),
        seconds: *seconds,
    };
    phases.iter().map(phase).collect()
}

fn drill(position: u64, seconds_later: i64, state: DrillState) -> DrillStatus {
    let started = at(position) + SignedDuration::from_secs(seconds_later);
    DrillStatus {
        drill_id: format!("{}-51aa", started.strftime("%Y%m%dT%H%M%SZ")),
        started,
        state,
    }
}

fn run(
    number: u64,
    trigger: Trigger,
    outcome: Outcome,
    backup_id: Option<String>,
    message: Option<&str>,
) -> FinishedRun {
    let hours_ago = i64::try_from(9 - number).expect("small") * 3;
    FinishedRun {
        number,
        trigger,
        started: ago(hours_ago * 3600 + 160),
        finished: ago(hours_ago * 3600),
        outcome,
        backup_id,
        message: message.map(str::to_owned),
    }
}

fn backup_id(position: u64) -> String {
    format!("{}-7f0c", at(position).strftime("%Y%m%dT%H%M%SZ"))
}

/// The oldest snapshot of a backup.
fn at(position: u64) -> Timestamp {
    let hours = i64::try_from((BACKUPS - 1 - position) * 6 + 1).expect("some days");
    ago(hours * 3600)
}

fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}
