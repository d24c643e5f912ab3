//! A message: what is told, and the two shapes in which it is sent.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::events::Event;
use crate::config::{NotifyFormat, NotifySettings, Placeholder};
use crate::drill::{Cause, Certificate, ObjectiveFacts, RecoveryPoint, Verdict};
use crate::http::status::{BackupStatus, DriftStatus, DrillState, DrillStatus};
use crate::telemetry::figures;

/// Characters of a text that are sent: receivers refuse long ones whole.
const LONGEST: usize = 3000;

/// Everything that a receiver may want to know. `docs/notifications.md` describes it.
#[derive(Clone, Debug, Serialize)]
pub(in crate::agent) struct Message {
    #[serde(serialize_with = "word")]
    pub(in crate::agent) event: Event,
    cluster: String,
    #[serde(flatten)]
    subject: Subject,
}

/// What a message is about: a drill, or a backup that no drill could say anything about. What is not known is absent.
#[derive(Clone, Debug, Serialize)]
pub(in crate::agent) struct Subject {
    pub(in crate::agent) backup_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<DrillState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    summary: String,
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
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

impl Subject {
    /// A drill that left a certificate.
    pub(in crate::agent) fn of(certificate: &Certificate) -> Self {
        let (verdict, cause) = match certificate.verdict {
            Verdict::Certified => (DrillState::Certified, None),
            Verdict::Failed => (DrillState::Failed, None),
            Verdict::Unverified(cause) => (DrillState::Unverified, Some(cause)),
        };
        Self {
            drill_id: Some(certificate.drill_id.to_string()),
            cause,
            reasons: certificate.reasons.clone(),
            started: Some(certificate.started),
            finished: Some(certificate.finished),
            recovery_seconds: certificate.recovery_seconds,
            recovery_point: certificate.recovery_point,
            objectives: certificate.objectives,
            ..Self::bare(certificate.backup_id.to_string(), verdict, certificate.summary.clone())
        }
    }

    /// A drill of which only the record is known.
    pub(in crate::agent) fn of_record(backup_id: &str, drill: &DrillStatus, summary: String) -> Self {
        Self {
            drill_id: Some(drill.drill_id.clone()),
            started: Some(drill.started),
            ..Self::bare(backup_id.to_owned(), drill.state, summary)
        }
    }

    /// A backup whose drills left no record, or none that is known.
    pub(in crate::agent) fn without_record(backup_id: &str, summary: String) -> Self {
        Self::bare(backup_id.to_owned(), DrillState::Unverified, summary)
    }

    /// A backup that lacks what an earlier one held; no drill has to do with it.
    pub(in crate::agent) fn of_drift(backup: &BackupStatus, drift: &DriftStatus) -> Self {
        let lines = drift.lines.join("; ");
        let separator = if lines.is_empty() { "" } else { ": " };
        let contents = backup.contents.as_ref();
        Self {
            verdict: None,
            reasons: drift.lines.clone(),
            started: contents.map(|contents| contents.started),
            finished: contents.map(|contents| contents.usable_since),
            ..Self::without_record(
                &backup.backup_id,
                format!("DELETION IS FROZEN, {}{separator}{lines}", drift.summary),
            )
        }
    }

    fn bare(backup_id: String, verdict: DrillState, summary: String) -> Self {
        Self {
            backup_id,
            drill_id: None,
            verdict: Some(verdict),
            cause: None,
            summary,
            reasons: Vec::new(),
            started: None,
            finished: None,
            recovery_seconds: None,
            recovery_point: None,
            objectives: None,
        }
    }
}

impl Message {
    /// `cluster` is that of the backup, where it is known.
    pub(in crate::agent) fn new(event: Event, mut subject: Subject, cluster: Option<&str>) -> Self {
        if let Event::Digest { drills, since } = event {
            let drills = format!("{drills} {}", if drills == 1 { "drill" } else { "drills" });
            let since = figures::time(since);
            subject.summary = format!("{drills} certified since {since}; the last: {}", subject.summary);
        }
        Self {
            event,
            cluster: cluster.unwrap_or("an unknown cluster").to_owned(),
            subject,
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
        let subject = &self.subject;
        let reasons = subject.reasons.join("; ");
        let text = settings.text.render(|placeholder| match placeholder {
            Placeholder::Event => self.event.as_str(),
            Placeholder::Cluster => &self.cluster,
            Placeholder::BackupId => &subject.backup_id,
            Placeholder::DrillId => subject.drill_id.as_deref().unwrap_or_default(),
            Placeholder::Verdict => subject.verdict.map_or("", DrillState::as_str),
            Placeholder::Summary => &subject.summary,
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
        let subject = Subject {
            drill_id: Some("d".to_owned()),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            started: Some(Timestamp::UNIX_EPOCH),
            ..Subject::bare(
                "b".to_owned(),
                DrillState::Failed,
                "FAILED: table \"<!channel>\" & more".to_owned(),
            )
        };
        Message::new(Event::Failed, subject, Some("production"))
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
            "started": "1970-01-01T00:00:00Z",
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
