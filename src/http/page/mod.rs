//! The page for people: one document without script and without anything from elsewhere, light or dark, wide or narrow.
//!
//! It begins with what matters, whether there is a backup that is known to restore, and what is wrong in plain words; then
//! figures, then evidence. All that came from outside passes through [`html::Html::text`], which escapes it.

mod certificate;
mod chart;
mod copies;
mod figures;
mod findings;
mod headline;
mod html;
mod runs;
mod timeline;
mod words;

use super::status::{AgentKind, Status};
use html::Html;

/// Written for this page alone, so it stands in the page.
const STYLE: &str = include_str!("style.css");

/// The page of this moment.
#[must_use]
pub fn page(status: &Status) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.tag("title", &[], |html| {
        html.text(headline::title(status)).raw(" · KubeBackup");
    });
    html.raw("\n<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    header(&mut html, status);
    html.raw("<main>\n");
    headline::write(&mut html, status);
    figures::write(&mut html, status);
    runs::write_current(&mut html, status);
    runs::write_retention(&mut html, status);
    if let Some(repository) = &status.repository {
        timeline::write(&mut html, status.now, repository);
        if let Some(certificate) = &repository.newest_certificate {
            certificate::write(&mut html, status.now, certificate);
        }
    }
    copies::write(&mut html, status);
    runs::write_ended(&mut html, status);
    html.raw("</main>\n");
    footer(&mut html, status);
    html.raw("</body>\n</html>\n");
    html.into_string()
}

fn header(html: &mut Html, status: &Status) {
    let agent = match status.agent {
        AgentKind::BackupAgent => "backup agent",
        AgentKind::RestoreAgent => "restore agent",
    };
    html.tag("header", &[], |html| {
        html.raw("<p class=\"brand\">KubeBackup</p>");
        html.tag("p", &[("class", &"muted")], |html| {
            if let Some(cluster) = &status.cluster {
                html.tag("strong", &[], |html| html.put(cluster)).raw(" · ");
            }
            html.text(agent);
        });
    });
}

fn footer(html: &mut Html, status: &Status) {
    html.tag("footer", &[], |html| {
        html.tag("p", &[], |html| {
            html.raw("As of ").time(status.now).raw(". All times are UTC. ");
            if let Some(repository) = &status.repository {
                html.raw("The bucket was read ");
                html.text(words::ago(status.now, repository.read_at)).raw(". ");
            }
            html.raw("This agent, version ")
                .text(&status.tool_version)
                .raw(", began ");
            html.text(words::ago(status.now, status.started)).raw(".");
        });
        html.raw("<p><a href=\"/\">Look again</a> · <a href=\"/status\">Status as JSON</a> · ");
        html.raw("<a href=\"/metrics\">Metrics</a></p>");
    });
}

#[cfg(test)]
mod tests;
