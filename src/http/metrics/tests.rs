//! What is shown is in the table, and what is in the table is shown once it is known; nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::http::sample;
use crate::http::status::{
    AgentKind, DriftStatus, DrillState, DrillStatus, FailedRetention, RetentionStatus, SucceededRetention,
};

const MEMORY: ProcessMemory = ProcessMemory {
    resident_bytes: Some(31 << 20),
    peak_bytes: Some(230 << 20),
};

fn samples() -> [Status; 2] {
    [sample::backup_agent(), sample::restore_agent()]
}

/// Lines without comments: the series and its value.
fn series(exposition: &str) -> BTreeMap<&str, &str> {
    exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .collect()
}

fn names(exposition: &str) -> BTreeSet<String> {
    let name = |series: &&str| series.split('{').next().unwrap().to_owned();
    series(exposition).keys().map(name).collect()
}

fn value(status: &Status, series_name: &str) -> Option<String> {
    let text = exposition(status, MEMORY);
    series(&text).get(series_name).map(|value| (*value).to_owned())
}

#[test]
fn both_agents_together_show_every_metric_of_the_table_and_each_shows_no_other_than_its_own() {
    let mut shown_by_any = BTreeSet::new();
    for status in samples() {
        let shown = names(&exposition(&status, MEMORY));
        let of_agent = METRICS.iter().filter(|metric| metric.is_of(status.agent));
        let of_agent: BTreeSet<String> = of_agent.map(Metric::full_name).collect();
        let foreign: Vec<_> = shown.difference(&of_agent).collect();
        assert!(foreign.is_empty(), "{:?} shows {foreign:?}", status.agent);
        shown_by_any.extend(shown);
    }
    // The newest backup of the samples is not judged; this shows what there is once it is.
    let mut judged = sample::backup_agent();
    judge_newest(&mut judged, DrillState::Certified);
    shown_by_any.extend(names(&exposition(&judged, MEMORY)));
    let all: BTreeSet<String> = METRICS.iter().map(Metric::full_name).collect();
    let missing: Vec<_> = all.difference(&shown_by_any).collect();
    assert!(missing.is_empty(), "nobody shows {missing:?}");
}

#[test]
fn labels_and_kinds_are_those_of_the_table() {
    for status in samples() {
        let text = exposition(&status, MEMORY);
        for metric in METRICS.iter().filter(|metric| metric.is_of(status.agent)) {
            let name = metric.full_name();
            let kind = if metric.kind == Kind::Counter {
                "counter"
            } else {
                "gauge"
            };
            for series in series(&text)
                .keys()
                .filter(|series| series.split('{').next() == Some(&name))
            {
                assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
                assert!(text.contains(&format!("# HELP {name} {}\n", metric.help)), "{name}");
                let labels: Vec<&str> = series
                    .split(['{', ',', '}'])
                    .filter_map(|label| Some(label.split_once('=')?.0))
                    .collect();
                assert_eq!(labels, metric.labels, "{name}");
            }
        }
    }
}

#[test]
fn before_the_bucket_has_been_read_nothing_is_said_of_it() {
    for agent in [AgentKind::BackupAgent, AgentKind::RestoreAgent] {
        let shown = names(&exposition(&sample::empty(agent), MEMORY));
        for metric in METRICS.iter().filter(|metric| metric.origin == Origin::Bucket) {
            assert!(!shown.contains(&metric.full_name()), "{}", metric.name);
        }
    }
}

#[test]
fn of_an_empty_bucket_only_the_counts_are_known() {
    let mut status = sample::empty(AgentKind::RestoreAgent);
    let mut repository = sample::repository();
    repository.backups.clear();
    repository.newest_certificate = None;
    status.repository = Some(Arc::new(repository));
    let text = exposition(&status, MEMORY);
    let shown = names(&text);
    let of_bucket = METRICS.iter().filter(|metric| metric.origin == Origin::Bucket);
    let known: Vec<&str> = of_bucket
        .filter(|metric| shown.contains(&metric.full_name()))
        .map(|metric| metric.name)
        .collect();
    let counts = [
        "backups",
        "certified_backups",
        "failed_backups",
        "deletion_frozen",
        "drift_findings",
        "uncompared_backups",
        "damaged_manifests",
        "repository_read_timestamp_seconds",
        "drills",
    ];
    assert_eq!(known, counts);
    assert_eq!(series(&text)["kubebackup_backups"], "0");
}

#[test]
fn a_backup_that_lacks_something_freezes_deletion_until_it_is_accepted() {
    let mut status = sample::backup_agent();
    let figures = |status: &Status| {
        ["deletion_frozen", "drift_findings", "uncompared_backups"]
            .map(|name| value(status, &format!("kubebackup_{name}")).unwrap())
    };
    assert_eq!(figures(&status), ["0", "0", "0"]);
    let repository = sample::repository_of(&mut status);
    repository.frozen = Some("backup b holds less than before".to_owned());
    repository.backups[20].drift = Some(sample::drift());
    repository.backups[3].drift = Some(DriftStatus {
        findings: 0,
        is_compared: false,
        ..sample::drift()
    });
    assert_eq!(figures(&status), ["1", "2", "1"]);
    let repository = sample::repository_of(&mut status);
    repository.frozen = None;
    for backup in &mut repository.backups {
        if let Some(drift) = &mut backup.drift {
            drift.freezes = false;
        }
    }
    assert_eq!(figures(&status), ["0", "0", "1"]);
}

#[test]
fn a_process_that_has_just_begun_says_of_the_bucket_what_the_one_before_it_said() {
    let before = sample::backup_agent();
    let mut after = sample::empty(AgentKind::BackupAgent);
    after.repository.clone_from(&before.repository);
    let of_bucket = |status: &Status| -> BTreeMap<String, String> {
        let text = exposition(status, MEMORY);
        let is_of_bucket = |series: &str| {
            let name = series.split('{').next().unwrap();
            METRICS
                .iter()
                .any(|metric| metric.origin == Origin::Bucket && metric.full_name() == name)
        };
        let series = series(&text).into_iter().filter(|(series, _)| is_of_bucket(series));
        series
            .map(|(series, value)| (series.to_owned(), value.to_owned()))
            .collect()
    };
    assert_eq!(of_bucket(&before), of_bucket(&after));
    assert!(of_bucket(&after).len() > 30);
}

#[test]
fn a_backup_that_a_drill_found_wrong_is_no_recovery_point() {
    let mut status = sample::backup_agent();
    let age = value(&status, "kubebackup_recovery_point_seconds").unwrap();
    judge_newest(&mut status, DrillState::Failed);
    let without_newest = value(&status, "kubebackup_recovery_point_seconds").unwrap();
    assert_eq!((age, without_newest), ("3600".to_owned(), "25200".to_owned()));
    assert_eq!(
        value(&status, "kubebackup_newest_backup_verdict{verdict=\"failed\"}"),
        Some("1".to_owned())
    );
    assert_eq!(
        value(&status, "kubebackup_newest_backup_verdict{verdict=\"certified\"}"),
        Some("0".to_owned())
    );
    assert_eq!(value(&status, "kubebackup_unverified_since_timestamp_seconds"), None);
}

#[test]
fn a_verdict_is_waited_for_although_no_drill_has_left_a_record() {
    let mut status = sample::restore_agent();
    let backups = &mut sample::repository_of(&mut status).backups;
    let newest = backups.last_mut().unwrap();
    newest.drills.clear();
    let usable = newest.contents.as_ref().unwrap().usable_since.as_second();
    assert_eq!(
        value(&status, "kubebackup_unverified_since_timestamp_seconds"),
        Some(usable.to_string())
    );
}

#[test]
fn a_backup_counts_as_failed_while_the_last_word_on_it_is_that_it_is_wrong() {
    let mut status = sample::restore_agent();
    // One failed twice; one failed first and was certified after.
    assert_eq!(value(&status, "kubebackup_failed_backups"), Some("1".to_owned()));
    let backups = &mut sample::repository_of(&mut status).backups;
    let mut again = backups[16].drills[1].clone();
    // What cannot judge changes nothing.
    again.state = DrillState::Unverified;
    backups[16].drills.push(again.clone());
    backups[10].drills.push(DrillStatus {
        state: DrillState::Failed,
        ..again
    });
    assert_eq!(value(&status, "kubebackup_failed_backups"), Some("2".to_owned()));
}

#[test]
fn a_drill_of_an_older_backup_is_the_last_drill_too() {
    let mut status = sample::restore_agent();
    let repository = sample::repository_of(&mut status);
    let mut drill = repository.backups[2].drills[0].clone();
    drill.state = DrillState::Failed;
    drill.started = sample::NOW;
    repository.backups[2].drills.push(drill);
    assert_eq!(
        value(&status, "kubebackup_last_drill_verdict{verdict=\"failed\"}"),
        Some("1".to_owned())
    );
    assert_eq!(
        value(&status, "kubebackup_last_drill_timestamp_seconds"),
        Some(sample::NOW.as_second().to_string())
    );
}

#[test]
fn what_goes_on_has_no_lines_once_it_has_ended() {
    let mut status = sample::backup_agent();
    status.current = None;
    let shown = names(&exposition(&status, MEMORY));
    for name in [
        "run_in_progress_since_timestamp_seconds",
        "run_done_bytes",
        "run_total_bytes",
        "snapshot_age_seconds",
        "blocked_sessions",
        "run_pace_ratio",
        "run_paced_seconds",
    ] {
        assert!(!shown.contains(&format!("kubebackup_{name}")), "{name}");
    }
}

#[test]
fn how_retention_of_each_copy_ended_has_a_time_by_its_name() {
    let mut status = sample::backup_agent();
    let named = |copy: &str, outcome: &str| {
        format!("kubebackup_copy_last_retention_timestamp_seconds{{copy=\"{copy}\",outcome=\"{outcome}\"}}")
    };
    for (number, outcome) in (0..).zip(["succeeded", "failed"]) {
        let finished = sample::NOW - jiff::SignedDuration::from_mins(number);
        let retention = &mut status.copies[1].retention;
        *retention = RetentionStatus::default();
        assert_eq!(value(&status, &named("offsite", outcome)), None);
        let retained = "kubebackup_copy_retained_objects{copy=\"offsite\"}";
        assert_eq!(value(&status, retained), None, "nothing was asked of the store yet");
        let retention = &mut status.copies[1].retention;
        if outcome == "succeeded" {
            retention.last_succeeded = Some(SucceededRetention {
                started: finished,
                finished,
                expired_backups: 0,
                deleted_objects: 0,
                retained_objects: 0,
                message: None,
            });
        } else {
            retention.last_failed = Some(FailedRetention {
                started: finished,
                finished,
                message: "denied".to_owned(),
            });
        }
        let told = value(&status, &named("offsite", outcome));
        assert_eq!(told, Some(finished.as_second().to_string()), "{outcome}");
        assert_eq!(value(&status, &named("nobody", outcome)), None);
    }
}

#[test]
fn a_retention_that_goes_on_has_its_beginning_in_each_place_and_none_where_none_does() {
    let status = sample::backup_agent();
    let since =
        |copy: &str| format!("kubebackup_copy_retention_in_progress_since_timestamp_seconds{{copy=\"{copy}\"}}");
    let begun = status.copies[0].retention.current.as_ref().unwrap().started;
    assert_eq!(value(&status, &since("nas")), Some(begun.as_second().to_string()));
    assert_eq!(value(&status, &since("offsite")), None);
}

#[test]
fn a_label_from_the_bucket_cannot_end_its_line() {
    let mut status = sample::backup_agent();
    let repository = sample::repository_of(&mut status);
    let newest = repository.backups.last_mut().unwrap().contents.as_mut().unwrap();
    newest.phases[0].name = "a\"} 1\n\nkubebackup_backups 7\\".to_owned();
    let text = exposition(&status, MEMORY);
    assert!(text.contains(r#"phase="a\"} 1\n\nkubebackup_backups 7\\""#), "{text}");
    assert!(!text.contains("\nkubebackup_backups 7"));
}

fn judge_newest(status: &mut Status, verdict: DrillState) {
    let repository = sample::repository_of(status);
    let drills = &mut repository.backups.last_mut().unwrap().drills;
    drills.last_mut().unwrap().state = verdict;
}
