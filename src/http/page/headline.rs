//! The first thing to see: how old the newest backup is that is known to restore, and whether all is well.

use super::findings::{Level, findings};
use super::html::Html;
use super::words;
use crate::http::status::{BackupContents, BackupStatus, Status};

/// For the tab of a browser.
pub(super) fn title(status: &Status) -> String {
    format!("{}: {}", level_text(worst(status)), sentence(status))
}

pub(super) fn write(html: &mut Html, status: &Status) {
    let level = worst(status);
    let class = class(level);
    html.tag("section", &[("class", &format!("headline {class}"))], |html| {
        html.tag("p", &[("class", &"badge"), ("id", &"verdict")], |html| {
            html.raw(icon(level)).text(level_text(level));
        });
        html.tag("h1", &[], |html| html.put(sentence(status)));
        if let Some((backup, contents)) = certified(status) {
            html.tag("p", &[("class", &"lead")], |html| proof(html, backup, contents));
        }
        let found = findings(status);
        if !found.is_empty() {
            html.tag("ul", &[("class", &"findings")], |html| {
                for finding in found {
                    html.tag("li", &[("class", &self::class(finding.level))], |html| {
                        html.put(finding.text);
                    });
                }
            });
        }
    });
    html.raw("\n");
}

fn proof(html: &mut Html, backup: &BackupStatus, contents: &BackupContents) {
    html.raw("Backup ").tag("code", &[], |html| html.put(&backup.backup_id));
    html.raw(" was rebuilt from the bucket alone and found equal to production as it was on ");
    html.time(contents.oldest_snapshot).raw(".");
}

fn certified(status: &Status) -> Option<(&BackupStatus, &BackupContents)> {
    status.repository.as_ref()?.newest_certified()
}

fn sentence(status: &Status) -> String {
    match (certified(status), &status.repository) {
        (Some((_, contents)), _) => {
            let age = words::span(words::since(status.now, contents.oldest_snapshot));
            format!("The newest certified backup is {age} old")
        }
        (None, Some(repository)) if repository.backups.is_empty() => "There is no backup yet".to_owned(),
        (None, Some(_)) => "No backup is certified".to_owned(),
        (None, None) => "Nothing is known yet".to_owned(),
    }
}

fn worst(status: &Status) -> Level {
    findings(status).first().map_or(Level::Good, |finding| finding.level)
}

const fn level_text(level: Level) -> &'static str {
    match level {
        Level::Good => "All is well",
        Level::Unknown => "Not known yet",
        Level::Warn => "Attention",
        Level::Bad => "Act now",
    }
}

const fn class(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Unknown => "idle",
        Level::Warn => "warn",
        Level::Bad => "bad",
    }
}

/// Shapes as well as colours, for whoever cannot tell these apart.
const fn icon(level: Level) -> &'static str {
    match level {
        Level::Good => {
            "<svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><circle cx=\"10\" cy=\"10\" r=\"9\"/>\
             <path d=\"M5.5 10.5l3 3 6-7\"/></svg>"
        }
        Level::Unknown => {
            "<svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><circle cx=\"10\" cy=\"10\" r=\"9\"/>\
             <path d=\"M6 10h8\"/></svg>"
        }
        Level::Warn => {
            "<svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><path class=\"fill\" d=\"M10 1.5l9 16.5H1z\"/>\
             <path d=\"M10 7v5M10 14.6v.6\"/></svg>"
        }
        Level::Bad => {
            "<svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><circle cx=\"10\" cy=\"10\" r=\"9\"/>\
             <path d=\"M6.5 6.5l7 7M13.5 6.5l-7 7\"/></svg>"
        }
    }
}
