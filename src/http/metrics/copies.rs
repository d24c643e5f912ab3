//! The copies that a backup agent fills, by their names in the settings.

use super::sheet::{Sheet, unix_seconds};
use crate::http::status::Status;

pub(super) fn write(sheet: &Sheet, status: &Status) {
    for copy in &status.copies {
        let labels = [("copy", copy.name.as_str())];
        let times = [
            ("copy_last_success_timestamp_seconds", copy.last_success),
            ("copy_behind_since_timestamp_seconds", copy.behind_since),
            ("copy_in_progress_since_timestamp_seconds", copy.running_since),
            (
                "copy_retention_in_progress_since_timestamp_seconds",
                copy.retention.current.as_ref().map(|current| current.started),
            ),
        ];
        for (name, time) in times {
            sheet.labelled_gauge(name, &labels, time.map(unix_seconds));
        }
        let succeeded = copy.retention.last_succeeded.as_ref();
        let failed = copy.retention.last_failed.as_ref();
        let ended = [
            ("succeeded", succeeded.map(|last| last.finished)),
            ("failed", failed.map(|last| last.finished)),
        ];
        for (outcome, finished) in ended {
            let labels = [("copy", copy.name.as_str()), ("outcome", outcome)];
            sheet.labelled_time("copy_last_retention_timestamp_seconds", &labels, finished);
        }
        let retained = succeeded.map(|last| last.retained_objects);
        let numbers = [
            ("copy_missing_backups", copy.missing),
            ("copy_let_go_backups", copy.let_go),
            ("copy_retained_objects", retained),
        ];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            sheet.labelled_number(name, &labels, number);
        }
        counts(sheet, status, &copy.name);
    }
}

fn counts(sheet: &Sheet, status: &Status, copy: &str) {
    let counts = status.counts.copies.get(copy).cloned().unwrap_or_default();
    let by = |name: &str, outcomes: &[(&str, u64)]| {
        for (outcome, number) in outcomes {
            sheet.counter(name, &[("copy", copy), ("outcome", outcome)], *number);
        }
    };
    let runs = [
        ("complete", counts.complete),
        ("incomplete", counts.incomplete),
        ("failed", counts.failed),
    ];
    by("copy_runs_total", &runs);
    let labels = [("copy", copy)];
    sheet.counter("copied_backups_total", &labels, counts.copied_backups);
    sheet.counter("copied_bytes_total", &labels, counts.copied_bytes);
    let retention = &counts.retention;
    let runs = [("succeeded", retention.runs), ("failed", retention.failed_runs)];
    by("copy_retention_runs_total", &runs);
    sheet.counter("copy_expired_backups_total", &labels, retention.expired_backups);
    sheet.counter("copy_pruned_bytes_total", &labels, retention.deleted_bytes);
}
