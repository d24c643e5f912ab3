//! The copies of the repository, and what they lack.

use super::html::Html;
use super::words;
use crate::http::status::{CopyStatus, Status};

pub(super) fn write(html: &mut Html, status: &Status) {
    if status.copies.is_empty() {
        return;
    }
    html.raw("<section><h2>Copies</h2>\n<table class=\"stacked\">");
    html.headings(&[
        ("Copy", ""),
        ("State", ""),
        ("Last complete", ""),
        ("Missing", "number"),
        ("Let go there", "number"),
    ]);
    html.raw("<tbody>\n");
    for copy in &status.copies {
        html.tag("tr", &[], |html| row(html, status, copy)).raw("\n");
    }
    html.raw("</tbody></table></section>\n");
}

fn row(html: &mut Html, status: &Status, copy: &CopyStatus) {
    html.tag("th", &[("scope", &"row")], |html| html.put(&copy.name));
    html.cell("State", "", |html| {
        let (class, state) = state(copy);
        html.tag("span", &[("class", &format!("mark {class}"))], |html| html.put(state));
        if let Some(trouble) = &copy.trouble {
            html.tag("span", &[("class", &"muted small")], |html| html.put(trouble));
        }
    });
    html.cell("Last complete", "", |html| match copy.last_success {
        Some(time) => {
            html.time(time).raw(" ");
            html.put(words::ago(status.now, time));
        }
        None => html.put("not since this agent began"),
    });
    html.cell("Missing", "number", |html| number(html, copy.missing));
    html.cell("Let go there", "number", |html| number(html, copy.let_go));
}

fn state(copy: &CopyStatus) -> (&'static str, &'static str) {
    match (&copy.trouble, copy.running_since, copy.missing) {
        (Some(_), ..) => ("warn", "behind"),
        (None, Some(_), _) => ("unknown", "being filled"),
        (None, None, Some(0)) => ("good", "complete"),
        (None, None, Some(_)) => ("unknown", "waits"),
        (None, None, None) => ("unknown", "not known yet"),
    }
}

fn number(html: &mut Html, number: Option<u64>) {
    match number {
        Some(number) => html.put(number),
        None => html.put("not known"),
    }
}
