//! The backups in the bucket: a strip of marks, three small charts, and a table of the newest.

use jiff::Timestamp;

use super::chart;
use super::html::Html;
use super::words::{self, Mark};
use crate::http::status::{BackupContents, BackupStatus, RepositoryStatus};
use crate::telemetry::figures;

/// Marks in the strip and bars in a chart.
const DRAWN: usize = 60;
/// Rows that are seen at once; as many again as [`FOLDED`] can be unfolded.
const SHOWN: usize = 8;
const FOLDED: usize = 200;

pub(super) fn write(html: &mut Html, now: Timestamp, repository: &RepositoryStatus) {
    if repository.backups.is_empty() {
        return;
    }
    html.raw("<section><h2>Backups</h2>\n");
    let drawn = &repository.backups[repository.backups.len().saturating_sub(DRAWN)..];
    strip(html, drawn);
    charts(html, drawn);
    let newest_first: Vec<&BackupStatus> = repository.backups.iter().rev().collect();
    let (shown, folded) = newest_first.split_at(newest_first.len().min(SHOWN));
    table(html, now, shown);
    if !folded.is_empty() {
        html.tag("details", &[], |html| {
            let (seen, rest) = folded.split_at(folded.len().min(FOLDED));
            html.tag("summary", &[], |html| {
                html.text(seen.len()).raw(if seen.len() == 1 {
                    " older backup"
                } else {
                    " older backups"
                });
            });
            table(html, now, seen);
            if !rest.is_empty() {
                html.tag("p", &[("class", &"muted")], |html| {
                    html.text(rest.len())
                        .raw(" more: <code>kubebackup list</code> shows them.");
                });
            }
        });
    }
    html.raw("</section>\n");
}

/// One mark a backup, the newest at the right.
fn strip(html: &mut Html, backups: &[BackupStatus]) {
    html.tag(
        "ol",
        &[("class", &"strip"), ("aria-label", &"Backups, oldest first")],
        |html| {
            for backup in backups {
                let mark = Mark::of(backup);
                let said = format!("{}: {}", backup.backup_id, mark.text());
                html.tag("li", &[("class", &mark.class()), ("title", &said)], |html| {
                    html.tag("span", &[("class", &"unseen")], |html| html.put(&said));
                });
            }
        },
    );
    html.raw(
        "<p class=\"legend muted\" aria-hidden=\"true\"><span><i class=\"good\"></i>certified</span>\
         <span><i class=\"idle\"></i>not yet judged</span><span><i class=\"warn\"></i>could not be judged</span>\
         <span><i class=\"bad\"></i>failed or unreadable</span></p>\n",
    );
}

fn charts(html: &mut Html, backups: &[BackupStatus]) {
    let contents: Vec<&BackupContents> = backups.iter().filter_map(|backup| backup.contents.as_ref()).collect();
    if contents.len() < 2 {
        return;
    }
    let of = |value: fn(&BackupContents) -> f64| contents.iter().map(|contents| value(contents)).collect::<Vec<f64>>();
    let bytes = |value: f64| figures::bytes(chart::whole(value));
    html.tag("div", &[("class", &"charts")], |html| {
        chart::bars(
            html,
            "Stored size",
            &of(|contents| chart::float(contents.stored_bytes)),
            &bytes,
        );
        chart::bars(
            html,
            "New in the bucket",
            &of(|contents| chart::float(contents.new_bytes)),
            &bytes,
        );
        chart::bars(
            html,
            "Duration",
            &of(|contents| contents.duration_seconds),
            &figures::seconds,
        );
    });
    html.raw("\n");
}

fn table(html: &mut Html, now: Timestamp, backups: &[&BackupStatus]) {
    html.raw("<table class=\"stacked\">");
    html.headings(&[
        ("Snapshot", ""),
        ("Verdict", ""),
        ("Stored", "number"),
        ("New", "number"),
        ("Reused", "number"),
        ("Rows", "number"),
        ("Duration", "number"),
    ]);
    html.raw("<tbody>\n");
    for backup in backups {
        html.tag("tr", &[], |html| row(html, now, backup)).raw("\n");
    }
    html.raw("</tbody></table>\n");
}

fn row(html: &mut Html, now: Timestamp, backup: &BackupStatus) {
    let mark = Mark::of(backup);
    html.tag("th", &[("scope", &"row")], |html| {
        if let Some(contents) = &backup.contents {
            html.time(contents.oldest_snapshot);
            html.tag("span", &[("class", &"muted")], |html| {
                html.raw(" ").text(words::ago(now, contents.oldest_snapshot));
            });
        }
        html.tag("code", &[("class", &"id")], |html| html.put(&backup.backup_id));
    });
    html.cell("Verdict", "", |html| {
        html.tag("span", &[("class", &format!("mark {}", mark.class()))], |html| {
            html.put(mark.text());
        });
        if let Some(damage) = &backup.damage {
            html.tag("span", &[("class", &"muted small")], |html| html.put(damage));
        } else if backup.drills.len() > 1 {
            html.tag("span", &[("class", &"muted small")], |html| {
                html.text(backup.drills.len()).raw(" drills");
            });
        }
    });
    let Some(contents) = &backup.contents else {
        html.raw("<td colspan=\"5\" class=\"gap\"></td>");
        return;
    };
    html.cell("Stored", "number", |html| {
        html.put(figures::bytes(contents.stored_bytes));
    });
    html.cell("New", "number", |html| html.put(figures::bytes(contents.new_bytes)));
    html.cell("Reused", "number", |html| {
        html.put(figures::share(contents.reused_chunks, contents.chunks));
    });
    html.cell("Rows", "number", |html| html.put(figures::count(contents.rows)));
    html.cell("Duration", "number", |html| {
        html.put(figures::seconds(contents.duration_seconds));
    });
}
