//! Four figures: what would be lost, how long a recovery takes, what is there, and what comes next.

use super::html::Html;
use super::words;
use crate::http::status::{DrillState, Status};
use crate::telemetry::figures;

pub(super) fn write(html: &mut Html, status: &Status) {
    html.tag(
        "section",
        &[("class", &"figures"), ("aria-label", &"Figures")],
        |html| {
            let objectives = status.objectives;
            let certificate = status
                .repository
                .as_ref()
                .and_then(|seen| seen.newest_certificate.as_ref());
            let recovery = certificate.and_then(|certificate| certificate.recovery_seconds);
            against(
                html,
                "Would be lost now",
                status.recovery_point_seconds(),
                objectives.rpo_seconds,
            );
            against(html, "Recovery took", recovery, objectives.rto_seconds);
            kept(html, status);
            next(html, status);
        },
    );
    html.raw("\n");
}

fn figure(html: &mut Html, name: &'static str, value: &str, more: impl FnOnce(&mut Html)) {
    html.tag("div", &[("class", &"figure")], |html| {
        html.tag("p", &[("class", &"name")], |html| html.put(name));
        html.tag("p", &[("class", &"value")], |html| html.put(value));
        more(html);
    });
}

/// A measured time and how much of its objective it takes up.
fn against(html: &mut Html, name: &'static str, seconds: Option<f64>, objective: Option<f64>) {
    let value = seconds.map_or("not known".to_owned(), |seconds| match seconds {
        ..600.0 => figures::seconds(seconds),
        _ => words::span(seconds),
    });
    figure(html, name, &value, |html| {
        let Some(objective) = objective else {
            html.raw("<p class=\"muted\">no objective is set</p>");
            return;
        };
        if let Some(seconds) = seconds {
            let share = (seconds / objective * 100.0).clamp(0.0, 100.0);
            let class = if seconds > objective { "bar bad" } else { "bar good" };
            bar(html, class, share);
        }
        html.tag("p", &[("class", &"muted")], |html| {
            html.raw("objective ").text(words::span(objective));
        });
    });
}

/// A bar filled to `percent`; the words beside it say the same.
pub(super) fn bar(html: &mut Html, class: &'static str, percent: f64) {
    html.tag("div", &[("class", &class), ("aria-hidden", &"true")], |html| {
        html.tag("i", &[("style", &format!("width:{percent:.1}%"))], |_| ());
    });
}

fn kept(html: &mut Html, status: &Status) {
    let Some(repository) = &status.repository else {
        figure(html, "Backups", "not known", |_| ());
        return;
    };
    let readable = repository
        .backups
        .iter()
        .filter(|backup| backup.contents.is_some())
        .count();
    let of = |verdict| {
        let backups = repository.backups.iter();
        backups.filter(|backup| backup.verdict() == Some(verdict)).count()
    };
    figure(html, "Backups", &readable.to_string(), |html| {
        html.tag("p", &[("class", &"muted")], |html| {
            html.text(of(DrillState::Certified)).raw(" certified");
            let failed = of(DrillState::Failed);
            if failed > 0 {
                html.raw(", ").text(failed).raw(" failed");
            }
        });
    });
}

fn next(html: &mut Html, status: &Status) {
    match &status.next_run {
        _ if status.is_queued => figure(html, "Next run", "at once", |html| {
            html.raw("<p class=\"muted\">when this one has ended</p>");
        }),
        None => figure(html, "Next run", "none planned", |_| ()),
        Some(next) => {
            let seconds = words::since(next.at, status.now);
            let value = if seconds < 1.0 {
                "now".to_owned()
            } else {
                format!("in {}", words::span(seconds))
            };
            figure(html, "Next run", &value, |html| {
                html.tag("p", &[("class", &"muted")], |html| {
                    html.time(next.at).raw(", ").text(words::trigger(next.trigger));
                });
            });
        }
    }
}
