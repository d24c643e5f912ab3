//! What the agent does now, and what it did since it began.

use super::figures::bar;
use super::html::Html;
use super::words;
use crate::http::status::{AgentKind, CurrentPhase, CurrentRetention, CurrentRun, FinishedRun, Status};
use crate::telemetry::figures;

pub(super) fn write_current(html: &mut Html, status: &Status) {
    let Some(run) = &status.current else { return };
    let doing = match status.agent {
        AgentKind::BackupAgent => "A backup goes on",
        AgentKind::RestoreAgent => "A drill goes on",
    };
    html.tag("section", &[("class", &"current")], |html| {
        html.tag("h2", &[], |html| html.put(doing));
        html.tag("p", &[], |html| said(html, status, run));
        if let Some(phase) = &run.phase {
            progress(html, phase);
        }
    });
    html.raw("\n");
}

/// Expiry and prune, which go on beside a backup, here and in each copy.
pub(super) fn write_retention(html: &mut Html, status: &Status) {
    if let Some(current) = &status.retention.current {
        letting_go(html, status, current, None);
    }
    for copy in &status.copies {
        if let Some(current) = &copy.retention.current {
            letting_go(html, status, current, Some(&copy.name));
        }
    }
}

fn letting_go(html: &mut Html, status: &Status, current: &CurrentRetention, copy: Option<&str>) {
    html.tag("section", &[("class", &"current")], |html| {
        html.tag("h2", &[], |html| {
            html.raw("Old backups are let go");
            if let Some(name) = copy {
                html.raw(" in the copy '").text(name).raw("'");
            }
        });
        html.tag("p", &[], |html| {
            html.raw("Begun ").text(words::ago(status.now, current.started));
            html.raw(", at ").tag("strong", &[], |html| html.put(&current.step));
            html.raw(".");
        });
    });
    html.raw("\n");
}

fn said(html: &mut Html, status: &Status, run: &CurrentRun) {
    html.raw("Begun ")
        .text(words::ago(status.now, run.started))
        .raw(", ")
        .text(words::trigger(run.trigger));
    if let Some(backup_id) = &run.backup_id {
        html.raw(", backup ").tag("code", &[], |html| html.put(backup_id));
    }
    if let Some(taken) = run.snapshot {
        html.raw(", snapshot taken ").text(words::ago(status.now, taken));
    }
    if run.blocked_sessions == Some(0) {
        html.raw(", nobody waits for its locks");
    }
    if let Some(pace) = run.pace.filter(|pace| pace.ratio < 1.0) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share below 1")]
        let percent = (pace.ratio * 100.0) as u64;
        html.raw(", held back to ")
            .text(percent)
            .raw(" % of full speed for production");
    }
    html.raw(".");
}

fn progress(html: &mut Html, phase: &CurrentPhase) {
    let total = phase.total_bytes.filter(|total| *total > 0);
    // An estimate may be too low.
    let percent = total.map(|total| (phase.done_bytes.saturating_mul(100) / total).min(100));
    if let Some(percent) = percent {
        bar(html, "bar busy", f64::from(u8::try_from(percent).unwrap_or(100)));
    }
    html.tag("p", &[("class", &"muted")], |html| {
        html.tag("strong", &[], |html| html.put(&phase.name));
        html.raw(": ").text(figures::bytes(phase.done_bytes));
        if let Some((total, percent)) = Option::zip(total, percent) {
            html.raw(" of about ")
                .text(figures::bytes(total))
                .raw(", ")
                .text(percent)
                .raw(" %");
        }
    });
}

pub(super) fn write_ended(html: &mut Html, status: &Status) {
    if status.runs.is_empty() {
        return;
    }
    html.raw("<section><h2>Last runs of this agent</h2>\n<table class=\"stacked\">");
    html.headings(&[
        ("Ended", ""),
        ("Outcome", ""),
        ("Began", ""),
        ("Took", "number"),
        ("Backup", ""),
    ]);
    html.raw("<tbody>\n");
    for run in &status.runs {
        html.tag("tr", &[], |html| row(html, status, run)).raw("\n");
    }
    html.raw("</tbody></table></section>\n");
}

fn row(html: &mut Html, status: &Status, run: &FinishedRun) {
    let (class, outcome) = words::outcome(run.outcome);
    html.tag("th", &[("scope", &"row")], |html| {
        html.time(run.finished);
        html.tag("span", &[("class", &"muted")], |html| {
            html.raw(" ").text(words::ago(status.now, run.finished));
        });
    });
    html.cell("Outcome", "", |html| {
        html.tag("span", &[("class", &format!("mark {class}"))], |html| html.put(outcome));
        if let Some(message) = &run.message {
            html.tag("span", &[("class", &"muted small")], |html| html.put(message));
        }
    });
    html.cell("Began", "", |html| html.put(words::trigger(run.trigger)));
    html.cell("Took", "number", |html| {
        html.put(figures::seconds(words::since(run.finished, run.started).max(0.0)));
    });
    html.cell("Backup", "", |html| match &run.backup_id {
        Some(backup_id) => {
            html.tag("code", &[], |html| html.put(backup_id));
        }
        None => html.put("none"),
    });
}
