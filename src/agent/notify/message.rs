//! A message: what is told, and the two shapes in which it is sent.

use serde::Serialize;
use serde_json::{Value, json};

use super::events::Event;
use crate::config::{NotifyFormat, NotifySettings, Placeholder};
use crate::drill::{Certificate, ObjectiveFacts, RecoveryPoint, Verdict};
use crate::http::status::{BackupStatus, DriftStatus};
use crate::telemetry::figures;

/// Characters of a text that are sent: receivers refuse long ones whole.
const LONGEST: usize = 3000;

/// Everything that a receiver may want to know. `docs/notifications.md` describes it.
#[derive(Clone, Debug, Serialize)]
pub(in crate::agent) struct Message {
    #[serde(serialize_with = "word")]
    pub(in crate::agent) event: Event,
    cluster: String,
    backup_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill_id: Option<String>,
    #[serde(flatten)]
    verdict: Option<Verdict>,
    summary: String,
    reasons: Vec<String>,
    started: jiff::Timestamp,
    finished: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_point: Option<RecoveryPoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objectives: Option<ObjectiveFacts>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn word<S: serde::Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(event.as_str())
}

impl Message {
    /// Of a drill that has ended; `cluster` where the certificate does not know it.
    pub(in crate::agent) fn new(event: Event, certificate: &Certificate, cluster: Option<&str>) -> Self {
        let source = certificate.source.as_ref().map(|source| source.cluster.as_str());
        let summary = match event {
            Event::Digest { drills, since } => format!(
                "{drills} {} certified since {}; the last: {}",
                if drills == 1 { "drill" } else { "drills" },
                figures::time(since),
                certificate.summary
            ),
            _ => certificate.summary.clone(),
        };
        Self {
            event,
            cluster: source.or(cluster).unwrap_or("an unknown cluster").to_owned(),
            backup_id: certificate.backup_id.to_string(),
            drill_id: Some(certificate.drill_id.to_string()),
            verdict: Some(certificate.verdict),
            summary,
            reasons: certificate.reasons.clone(),
            started: certificate.started,
            finished: certificate.finished,
            recovery_seconds: certificate.recovery_seconds,
            recovery_point: certificate.recovery_point,
            objectives: certificate.objectives,
        }
    }

    /// Of a backup that lacks what an earlier one held; no drill has to do with it.
    pub(in crate::agent) fn drifted(backup: &BackupStatus, drift: &DriftStatus, cluster: Option<&str>) -> Self {
        let contents = backup.contents.as_ref();
        let cluster = contents.map(|contents| contents.cluster.as_str()).or(cluster);
        let reasons = drift.lines.join("; ");
        let separator = if reasons.is_empty() { "" } else { ": " };
        let now = jiff::Timestamp::now();
        Self {
            event: Event::Drifted,
            cluster: cluster.unwrap_or("an unknown cluster").to_owned(),
            backup_id: backup.backup_id.clone(),
            drill_id: None,
            verdict: None,
            summary: format!("DELETION IS FROZEN, {}{separator}{reasons}", drift.summary),
            reasons: drift.lines.clone(),
            started: contents.map_or(now, |contents| contents.started),
            finished: contents.map_or(now, |contents| contents.usable_since),
            recovery_seconds: None,
            recovery_point: None,
            objectives: None,
        }
    }

    /// What is sent.
    pub(super) fn body(&self, settings: &NotifySettings) -> Value {
        let text = self.text(settings);
        match settings.format {
            NotifyFormat::Slack => json!({ "text": escape(&text) }),
            NotifyFormat::Generic => {
                let mut body = json!(self);
                body["text"] = text.into();
                body
            }
        }
    }

    fn text(&self, settings: &NotifySettings) -> String {
        let reasons = self.reasons.join("; ");
        let text = settings.text.render(|placeholder| match placeholder {
            Placeholder::Event => self.event.as_str(),
            Placeholder::Cluster => &self.cluster,
            Placeholder::BackupId => &self.backup_id,
            Placeholder::DrillId => self.drill_id.as_deref().unwrap_or_default(),
            Placeholder::Verdict => self.verdict.map_or("", |verdict| verdict.state().as_str()),
            Placeholder::Summary => &self.summary,
            Placeholder::Reasons => &reasons,
        });
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }
}

/// Slack reads `<!channel>` and links in angle brackets; a table may be called so.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn message(reasons: &[&str]) -> Message {
        let time = jiff::Timestamp::UNIX_EPOCH;
        Message {
            event: Event::Failed,
            cluster: "production".to_owned(),
            backup_id: "b".to_owned(),
            drill_id: Some("d".to_owned()),
            verdict: Some(Verdict::Failed),
            summary: "FAILED: table \"<!channel>\" & more".to_owned(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            started: time,
            finished: time,
            recovery_seconds: None,
            recovery_point: None,
            objectives: None,
        }
    }

    fn body(message: &Message, variables: &[(&str, &str)]) -> Value {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        message.body(&config::load(None, variables).unwrap().notify)
    }

    #[test]
    fn names_of_tables_call_nobody() {
        let expected = "failed: backup b of production: FAILED: table \"&lt;!channel&gt;\" &amp; more";
        assert_eq!(body(&message(&[]), &[]), json!({ "text": expected }));
    }

    #[test]
    fn a_program_gets_every_field_and_what_is_not_known_is_absent() {
        let format = ("KUBEBACKUP_NOTIFY_FORMAT", "generic");
        let text = ("KUBEBACKUP_NOTIFY_TEXT", "{verdict}: {reasons}");
        let expected = json!({
            "event": "failed", "cluster": "production", "backup_id": "b", "drill_id": "d", "verdict": "failed",
            "summary": "FAILED: table \"<!channel>\" & more", "reasons": ["one", "two"], "text": "failed: one; two",
            "started": "1970-01-01T00:00:00Z", "finished": "1970-01-01T00:00:00Z",
        });
        assert_eq!(body(&message(&["one", "two"]), &[format, text]), expected);
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "ä".repeat(2 * LONGEST);
        let body = body(&message(&[&long]), &[("KUBEBACKUP_NOTIFY_TEXT", "{reasons}")]);
        assert_eq!(body["text"].as_str().unwrap().chars().count(), LONGEST + "...".len());
    }
}
