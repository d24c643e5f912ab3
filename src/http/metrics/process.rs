//! What the process tells about itself: what it does now, and what it has counted since it began.

use std::collections::BTreeMap;

use super::sheet::{ProcessMemory, Sheet};
use crate::http::status::{AgentKind, Counts, CurrentRun, Outcome, RetentionStatus, Status, StoreCounts, Trigger};

/// How an agent's runs can end. All are shown from the beginning, since what has been counted is known to be 0, and
/// Prometheus sees an increase only between two values.
const fn outcomes(agent: AgentKind) -> &'static [Outcome] {
    use Outcome::{Certified, Failed, Interrupted, Skipped, Succeeded, Unverified, Yielded};
    match agent {
        AgentKind::BackupAgent => &[Succeeded, Failed, Yielded, Skipped, Interrupted],
        AgentKind::RestoreAgent => &[Certified, Failed, Unverified, Skipped, Interrupted],
    }
}

/// What can make an agent's runs begin.
const fn triggers(agent: AgentKind) -> &'static [Trigger] {
    use Trigger::{CatchUp, Poll, Reprove, Retry, Schedule, Signal};
    match agent {
        AgentKind::BackupAgent => &[Schedule, CatchUp, Signal, Retry],
        AgentKind::RestoreAgent => &[Poll, Signal, Retry, Reprove],
    }
}

pub(super) fn write(sheet: &Sheet, status: &Status, memory: ProcessMemory) {
    let labels = [
        ("version", status.tool_version.as_str()),
        ("agent", status.agent.as_str()),
    ];
    sheet.labelled_gauge("build_info", &labels, 1.0);
    sheet.time("process_start_time_seconds", status.started);
    sheet.number("process_resident_memory_bytes", memory.resident_bytes);
    sheet.number("process_peak_memory_bytes", memory.peak_bytes);
    sheet.time("loop_turned_timestamp_seconds", status.turned);
    sheet.flag("waiting", status.waiting_for.is_some());
    sheet.flag("waiting_for_settings", status.waits_for_settings);
    sheet.flag("run_queued", status.is_queued);
    sheet.time(
        "next_run_timestamp_seconds",
        status.next_run.as_ref().map(|next| next.at),
    );
    if let Some(lease) = &status.lease {
        sheet.flag("lease_held", lease.is_held);
        sheet.flag("lease_degraded", lease.is_degraded);
    }
    if let Some(run) = &status.current {
        current(sheet, run, status);
    }
    sheet.time("last_attempt_timestamp_seconds", last_attempt(status));
    counts(sheet, &status.counts);
    retention(sheet, &status.retention);
    store(sheet, &status.counts.store);
}

fn current(sheet: &Sheet, run: &CurrentRun, status: &Status) {
    sheet.time("run_in_progress_since_timestamp_seconds", run.started);
    if let Some(phase) = &run.phase {
        sheet.number("run_done_bytes", phase.done_bytes);
        sheet.number("run_total_bytes", phase.total_bytes);
    }
    sheet.number("blocked_sessions", run.blocked_sessions);
    sheet.gauge("run_pace_ratio", run.pace.map(|pace| pace.ratio));
    sheet.gauge("run_paced_seconds", run.pace.map(|pace| pace.paced_seconds));
    let age = run.snapshot.map(|taken| status.now.duration_since(taken).as_secs_f64());
    sheet.gauge("snapshot_age_seconds", age);
}

/// When this agent last began to do what it is for. The bucket remembers what this process did not live to see; it does
/// not remember a backup that failed.
fn last_attempt(status: &Status) -> Option<jiff::Timestamp> {
    let own = status
        .runs
        .iter()
        .filter(|run| run.outcome != Outcome::Skipped)
        .map(|run| run.started);
    let backups = || {
        status
            .repository
            .as_deref()
            .into_iter()
            .flat_map(|repository| &repository.backups)
    };
    let kept: Option<jiff::Timestamp> = match status.agent {
        AgentKind::BackupAgent => backups()
            .filter_map(|backup| Some(backup.contents.as_ref()?.started))
            .max(),
        AgentKind::RestoreAgent => backups()
            .flat_map(|backup| &backup.drills)
            .map(|drill| drill.started)
            .max(),
    };
    let current = status.current.as_ref().map(|run| run.started);
    own.chain(kept).chain(current).max()
}

fn counts(sheet: &Sheet, counts: &Counts) {
    let of = |ended: &BTreeMap<Outcome, u64>, outcome| ended.get(&outcome).copied().unwrap_or_default();
    for outcome in outcomes(sheet.agent) {
        sheet.counter(
            "runs_total",
            &[("outcome", outcome.as_str())],
            of(&counts.runs, *outcome),
        );
    }
    for trigger in triggers(sheet.agent) {
        let begun = counts.triggers.get(trigger).copied().unwrap_or_default();
        sheet.counter("triggers_total", &[("source", trigger.as_str())], begun);
    }
    sheet.counter("coalesced_signals_total", &[], counts.coalesced_signals);
    sheet.counter("reloads_total", &[("outcome", "accepted")], counts.reloads);
    sheet.counter("reloads_total", &[("outcome", "refused")], counts.refused_reloads);
    sheet.counter("failed_polls_total", &[], counts.failed_polls);
    if sheet.agent == AgentKind::BackupAgent {
        let retention = &counts.retention;
        sheet.counter("retention_runs_total", &[("outcome", "succeeded")], retention.runs);
        sheet.counter("retention_runs_total", &[("outcome", "failed")], retention.failed_runs);
        sheet.counter("expired_backups_total", &[], retention.expired_backups);
        sheet.counter("pruned_objects_total", &[], retention.deleted_objects);
        sheet.counter("pruned_bytes_total", &[], retention.deleted_bytes);
    }
    if sheet.agent == AgentKind::RestoreAgent {
        sheet.counter("notifications_total", &[("outcome", "sent")], counts.notifications);
        sheet.counter(
            "notifications_total",
            &[("outcome", "failed")],
            counts.failed_notifications,
        );
    }
}

fn retention(sheet: &Sheet, retention: &RetentionStatus) {
    let current = retention.current.as_ref();
    sheet.time(
        "retention_in_progress_since_timestamp_seconds",
        current.map(|current| current.started),
    );
    let succeeded = retention.last_succeeded.as_ref();
    let failed = retention.last_failed.as_ref();
    let ends = [
        ("succeeded", succeeded.map(|last| last.finished)),
        ("failed", failed.map(|last| last.finished)),
    ];
    for (outcome, finished) in ends {
        sheet.labelled_time("last_retention_timestamp_seconds", &[("outcome", outcome)], finished);
    }
    sheet.number("retained_objects", succeeded.map(|last| last.retained_objects));
}

fn store(sheet: &Sheet, store: &StoreCounts) {
    for (operation, outcomes) in &store.requests {
        for (outcome, requests) in outcomes {
            let labels = [("operation", operation.as_str()), ("outcome", outcome.as_str())];
            sheet.counter("store_requests_total", &labels, *requests);
        }
    }
    sheet.counter("store_retries_total", &[], store.retries);
    sheet.counter("store_sent_bytes_total", &[], store.bytes_sent);
    sheet.counter("store_received_bytes_total", &[], store.bytes_received);
}
