//! From what drills found to what people are told of it.

use std::collections::HashSet;

use jiff::Timestamp;

use super::attempt::Ended;
use crate::agent::live::Live;
use crate::agent::notify::{Drilled, Event, Message, Notifier, Subject, Wanted, again, events, overdue};
use crate::config::{NotifySettings, Settings};
use crate::drill::{Certificate, Verdict};
use crate::http::status::{DrillState, RepositoryStatus};
use crate::telemetry::figures;

/// Who tells, and what it has told.
#[derive(Debug)]
pub(super) struct Teller {
    notifier: Notifier,
    settings: NotifySettings,
    cluster: Option<String>,
    /// What the process before this one told last has not been looked at yet.
    is_new: bool,
    /// A verdict is known that the bucket has not been looked at for.
    is_ahead: bool,
    /// Since when nobody could judge, as it was told.
    told_since: Option<Timestamp>,
    /// How the last drill ended that could not judge.
    last: Option<Subject>,
    /// Backups whose drift was told, or was there before this process; none before the first look.
    drifted: Option<HashSet<String>>,
}

impl Teller {
    pub(super) fn new(settings: &Settings, live: Live) -> Self {
        Self {
            notifier: Notifier::start(settings.notify.clone(), live),
            settings: settings.notify.clone(),
            cluster: settings.cluster.clone(),
            is_new: true,
            is_ahead: false,
            told_since: None,
            last: None,
            drifted: None,
        }
    }

    pub(super) fn apply(&mut self, settings: &Settings) {
        self.settings = settings.notify.clone();
        self.cluster.clone_from(&settings.cluster);
        self.notifier.apply(settings.notify.clone());
    }

    pub(super) async fn end(self) {
        self.notifier.end().await;
    }

    /// The bucket was looked at, perhaps while a drill runs: tells of backups that lack something, each once, whoever has
    /// drilled them. A process that begins does not know what was told, and tells of the newest: rather twice than never.
    pub(super) fn see(&mut self, seen: &RepositoryStatus) {
        let frozen = seen.backups.iter().filter_map(|backup| {
            let drift = backup.drift.as_ref().filter(|drift| drift.freezes)?;
            Some((backup, drift))
        });
        let known = self.drifted.take();
        let is_first = known.is_none();
        let known = known.unwrap_or_default();
        let mut fresh = Vec::new();
        let mut drifted = HashSet::new();
        for (backup, drift) in frozen {
            if !known.contains(&backup.backup_id) {
                fresh.push((backup, drift));
            }
            drifted.insert(backup.backup_id.clone());
        }
        self.drifted = Some(drifted);
        let old = if is_first { fresh.len().saturating_sub(1) } else { 0 };
        for (backup, drift) in fresh.into_iter().skip(old) {
            self.tell(Event::Drifted, Subject::of_drift(backup, drift), seen);
        }
    }

    /// The bucket was looked at, and shows every drill of this process.
    pub(super) fn looked(&mut self, seen: &RepositoryStatus) {
        self.is_ahead = false;
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        if let Some((event, backup_id, drill)) = again(seen, self.wanted()) {
            let known = seen.newest_certificate.as_ref();
            let known = known.filter(|certificate| certificate.drill_id == drill.drill_id);
            let summary = known.map_or_else(
                || {
                    format!(
                        "{}, says the drill of {}",
                        drill.state.as_str(),
                        figures::time(drill.started)
                    )
                },
                |certificate| certificate.summary.clone(),
            );
            let subject = Subject::of_record(backup_id, drill, summary);
            self.tell(event, subject, seen);
        }
    }

    /// A drill has ended; `seen` as it was before, or while it ran.
    pub(super) fn drilled(&mut self, backup_id: &str, ended: &Ended, seen: Option<&RepositoryStatus>) {
        let Ended::Certificate(certificate) = ended else {
            if !matches!(ended, Ended::Interrupted) {
                let (_, message) = ended.told();
                self.last = Some(Subject::without_record(backup_id, message));
            }
            return;
        };
        let subject = Subject::of(certificate);
        if matches!(certificate.verdict, Verdict::Unverified(_)) {
            self.last = Some(subject);
            return;
        }
        if let Some(seen) = seen {
            let ids = (certificate.backup_id.to_string(), certificate.drill_id.to_string());
            for event in events(seen, drilled(certificate, &ids), self.wanted()) {
                self.tell(event, subject.clone(), seen);
            }
        }
        (self.is_ahead, self.told_since, self.last) = (true, None, None);
    }

    /// No drill runs: has nobody been able to judge for too long?
    pub(super) fn idle(&mut self, seen: &RepositoryStatus, now: Timestamp) {
        if self.is_ahead {
            return;
        }
        let Some(overdue) = overdue(seen, self.settings.unverified_after.0, now) else {
            return;
        };
        if self.told_since.replace(overdue.since) == Some(overdue.since) {
            return;
        }
        let last = self.last.clone().filter(|last| last.backup_id == overdue.backup_id);
        let subject = last.unwrap_or_else(|| {
            let summary = format!("UNVERIFIED: no drill has judged since {}", figures::time(overdue.since));
            Subject::without_record(&overdue.backup_id, summary)
        });
        self.tell(Event::Unverified, subject, seen);
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            unverified_after: self.settings.unverified_after.0,
            success: self.settings.success,
            has_told_unverified: self.told_since.is_some(),
        }
    }

    fn tell(&self, event: Event, subject: Subject, seen: &RepositoryStatus) {
        let backup = seen.backups.iter().find(|backup| backup.backup_id == subject.backup_id);
        let contents = backup.and_then(|backup| backup.contents.as_ref());
        let cluster = contents
            .map(|contents| contents.cluster.as_str())
            .or(self.cluster.as_deref());
        self.notifier.tell(Message::new(event, subject, cluster));
    }
}

fn drilled<'a>(certificate: &Certificate, ids: &'a (String, String)) -> Drilled<'a> {
    Drilled {
        backup_id: &ids.0,
        drill_id: &ids.1,
        started: certificate.drill_id.time(),
        state: match certificate.verdict {
            Verdict::Certified => DrillState::Certified,
            Verdict::Failed => DrillState::Failed,
            Verdict::Unverified(_) => DrillState::Unverified,
        },
    }
}
