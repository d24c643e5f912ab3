//! From a certificate to what people are told of it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::agent::notify::{Drilled, Message, Notifier, Wanted, events};
use crate::config::NotifySettings;
use crate::drill::{Certificate, Verdict};
use crate::http::status::{DrillState, RepositoryStatus};

/// Tells of backups that lack something, each once. One with a drill was seen before, by this agent or another: what is
/// newest is drilled as soon as it is seen. Rather twice than never, where an agent ends in between.
#[derive(Debug, Default)]
pub(super) struct DriftTeller {
    told: HashSet<String>,
}

impl DriftTeller {
    pub(super) fn tell(
        &mut self,
        notifier: &Notifier,
        settings: &Arc<NotifySettings>,
        seen: &RepositoryStatus,
        cluster: Option<&str>,
    ) {
        self.told
            .retain(|told| seen.backups.iter().any(|backup| backup.backup_id == *told));
        for backup in &seen.backups {
            let Some(drift) = backup.drift.as_ref().filter(|drift| drift.freezes) else {
                continue;
            };
            if self.told.insert(backup.backup_id.clone()) && backup.drills.is_empty() {
                notifier.tell(settings, Message::drifted(backup, drift, cluster));
            }
        }
    }
}

/// Hands over what is due; `seen` as it was before the drill, or while it ran.
pub(super) fn tell(
    notifier: &Notifier,
    settings: &Arc<NotifySettings>,
    seen: &RepositoryStatus,
    certificate: &Certificate,
    cluster: Option<&str>,
) {
    let (backup_id, drill_id) = (certificate.backup_id.to_string(), certificate.drill_id.to_string());
    let drilled = Drilled {
        backup_id: &backup_id,
        drill_id: &drill_id,
        started: certificate.drill_id.time(),
        state: match certificate.verdict {
            Verdict::Certified => DrillState::Certified,
            Verdict::Failed => DrillState::Failed,
            Verdict::Unverified(_) => DrillState::Unverified,
        },
    };
    let wanted = Wanted {
        unverified_after: settings.unverified_after.0,
        success: settings.success,
    };
    for event in events(seen, drilled, wanted) {
        notifier.tell(settings, Message::new(event, certificate, cluster));
    }
}
