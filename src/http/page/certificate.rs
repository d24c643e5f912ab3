//! The newest certificate: what was compared, table by table, how long each step took, and what was not tested.

use jiff::Timestamp;

use super::html::Html;
use super::words;
use crate::http::status::{CertificateStatus, DrillState, PhaseStatus, TableStatus};
use crate::telemetry::figures;

/// As many tables can be looked through; more are folded.
const UNFOLDED: usize = 25;

pub(super) fn write(html: &mut Html, now: Timestamp, certificate: &CertificateStatus) {
    let (class, verdict) = match certificate.state {
        DrillState::Certified => ("good", "certified"),
        DrillState::Failed => ("bad", "failed"),
        DrillState::Started | DrillState::Unverified => ("warn", "could not be judged"),
    };
    html.raw("<section><h2>Newest certificate</h2>\n");
    html.tag("p", &[], |html| {
        html.tag("span", &[("class", &format!("mark {class}"))], |html| html.put(verdict));
        // The summary begins with the verdict, for whoever has nothing else.
        let (beginning, rest) = certificate.summary.split_once(": ").unwrap_or_default();
        let is_said = beginning.eq_ignore_ascii_case(certificate.state.as_str());
        html.raw(" ").text(if is_said { rest } else { &certificate.summary });
    });
    html.tag("p", &[("class", &"muted")], |html| {
        html.raw("Backup ")
            .tag("code", &[], |html| html.put(&certificate.backup_id));
        html.raw(", drill ")
            .tag("code", &[], |html| html.put(&certificate.drill_id));
        html.raw(", ended ").time(certificate.finished).raw(", ");
        html.text(words::ago(now, certificate.finished)).raw(".");
    });
    if !certificate.reasons.is_empty() {
        html.tag("ul", &[("class", &"findings")], |html| {
            items(html, "bad", &certificate.reasons);
        });
    }
    phases(html, &certificate.phases);
    tables(html, certificate);
    if !certificate.not_tested.is_empty() {
        html.tag("details", &[], |html| {
            html.tag("summary", &[], |html| {
                html.raw("What was not tested (")
                    .text(certificate.total_not_tested)
                    .raw(")");
            });
            html.tag("ul", &[], |html| items(html, "", &certificate.not_tested));
            rest(html, certificate.total_not_tested, certificate.not_tested.len());
        });
    }
    html.raw("</section>\n");
}

fn items(html: &mut Html, class: &'static str, items: &[String]) {
    for item in items {
        html.tag("li", &[("class", &class)], |html| html.put(item));
    }
}

/// Phases that take less of the whole are shown together.
const SMALL: f64 = 0.01;

/// One bar, divided among the phases.
fn phases(html: &mut Html, phases: &[PhaseStatus]) {
    let whole: f64 = phases.iter().map(|phase| phase.seconds).sum();
    if whole <= 0.0 {
        return;
    }
    let (small, large): (Vec<_>, Vec<_>) = phases.iter().partition(|phase| phase.seconds < whole * SMALL);
    let mut parts: Vec<(&str, f64)> = large.iter().map(|phase| (phase.name.as_str(), phase.seconds)).collect();
    if !small.is_empty() {
        parts.push(("the rest", small.iter().map(|phase| phase.seconds).sum()));
    }
    html.tag("div", &[("class", &"phases"), ("aria-hidden", &"true")], |html| {
        for (_, seconds) in &parts {
            let share = seconds / whole * 100.0;
            html.tag("i", &[("style", &format!("width:{share:.2}%"))], |_| ());
        }
    });
    html.tag("ul", &[("class", &"legend phases-legend muted")], |html| {
        for (name, seconds) in &parts {
            html.tag("li", &[], |html| {
                html.raw("<i></i>").text(name).raw(" ").text(figures::seconds(*seconds));
            });
        }
    });
    html.raw("\n");
}

fn tables(html: &mut Html, certificate: &CertificateStatus) {
    let (tables, total, differing) = (
        &certificate.tables,
        certificate.total_tables,
        certificate.differing_tables,
    );
    if tables.is_empty() {
        return;
    }
    let is_open = differing > 0 || tables.len() <= UNFOLDED;
    html.raw(if is_open { "<details open>" } else { "<details>" });
    html.tag("summary", &[], |html| {
        let noun = if total == 1 { " table, " } else { " tables, " };
        html.text(total).raw(noun);
        match differing {
            0 => html.raw("all equal"),
            _ => html.text(differing).raw(" not equal"),
        };
    });
    html.raw("<table class=\"stacked\">");
    html.headings(&[
        ("Table", ""),
        ("Result", ""),
        ("Rows", "number"),
        ("Size", "number"),
        ("Fingerprint at the source", ""),
    ]);
    html.raw("<tbody>\n");
    let databases: std::collections::BTreeSet<&str> = tables.iter().map(|table| table.database.as_str()).collect();
    for table in tables {
        html.tag("tr", &[], |html| row(html, table, databases.len() > 1))
            .raw("\n");
    }
    html.raw("</tbody></table>");
    rest(html, total, tables.len());
    html.raw("</details>\n");
}

/// How many are not shown here, and where they are.
fn rest(html: &mut Html, total: u64, shown: usize) {
    let rest = total.saturating_sub(shown as u64);
    if rest > 0 {
        html.tag("p", &[("class", &"muted")], |html| {
            html.text(rest).raw(" more: <code>kubebackup show</code> has them all.");
        });
    }
}

fn row(html: &mut Html, table: &TableStatus, with_database: bool) {
    html.tag("th", &[("scope", &"row")], |html| {
        if with_database {
            html.tag("span", &[("class", &"muted")], |html| {
                html.text(&table.database).raw(" · ");
            });
        }
        html.text(&table.table);
    });
    html.cell("Result", "", |html| {
        let (class, result) = if table.is_equal {
            ("mark good", "equal")
        } else {
            ("mark bad", "differs")
        };
        html.tag("span", &[("class", &class)], |html| html.put(result));
        if let Some(remark) = &table.remark {
            html.tag("span", &[("class", &"muted small")], |html| html.put(remark));
        }
    });
    html.cell("Rows", "number", |html| html.put(figures::count(table.rows)));
    html.cell("Size", "number", |html| html.put(figures::bytes(table.raw_bytes)));
    html.cell("Fingerprint", "fingerprint", |html| {
        html.tag("code", &[], |html| html.put(&table.fingerprint));
    });
}
