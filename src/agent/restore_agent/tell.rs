//! From a certificate to what people are told of it.

use std::sync::Arc;

use crate::agent::notify::{Drilled, Message, Notifier, Wanted, events};
use crate::config::NotifySettings;
use crate::drill::{Certificate, Verdict};
use crate::http::status::{DrillState, RepositoryStatus};

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
