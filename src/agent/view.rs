//! The repository as an agent sees it: listings each time, and of roots and certificates only those not read before, or
//! not as they are now.
//!
//! Everything is listed, not only what came after the last one seen: a long run or a clock that was set may put a new
//! backup before an old one, and what has been expired must disappear. Backups come first and by themselves: when the
//! next one is due does not depend on drills.

mod certificate;

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use self::certificate::describe;
use super::error::Result;
use super::roots::Roots;
use crate::drill;
use crate::http::status::{BackupContents, BackupStatus, CertificateStatus, DrillState, DrillStatus, RepositoryStatus};
use crate::repository::drift::Frozen;
use crate::repository::id::BackupId;
use crate::repository::{CertificateRef, CertificateState, ListedCertificates, ObjectVersion, Repository};

/// What has been read so far.
#[derive(Debug, Default)]
pub struct View {
    roots: Roots,
    /// Large, and moved about with the view.
    certificate: Option<Box<Known>>,
}

/// The newest certificate that judges.
#[derive(Debug)]
struct Known {
    backup_id: BackupId,
    certificate: CertificateRef,
    version: ObjectVersion,
    /// Or why it cannot be read.
    status: std::result::Result<CertificateStatus, String>,
}

impl View {
    /// Looks again, at everything.
    ///
    /// # Errors
    /// The store's own. A root or a certificate that alone cannot be read is part of the view.
    pub async fn refresh(&mut self, repository: &Repository, cluster: Option<&str>) -> Result<RepositoryStatus> {
        self.read_backups(repository).await?;
        self.read_drills(repository, cluster).await
    }

    /// Looks again at the backups.
    ///
    /// # Errors
    /// The store's own, when it gives no root at all.
    pub async fn read_backups(&mut self, repository: &Repository) -> Result<()> {
        self.roots.refresh(repository).await
    }

    /// When the newest backup began, of those read last.
    #[must_use]
    pub fn newest_started(&self, cluster: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let readable = self.roots.in_order().into_iter().filter_map(|(_, root)| root.ok());
        readable
            .filter(|contents| cluster.is_none_or(|name| contents.cluster == name))
            .map(|contents| contents.started)
            .filter(|started| counts_for_the_timer(*started, now))
            .max()
    }

    /// Looks again at the drills of the backups read last.
    ///
    /// # Errors
    /// The store's own.
    pub async fn read_drills(&mut self, repository: &Repository, cluster: Option<&str>) -> Result<RepositoryStatus> {
        let read_at = crate::telemetry::clock::now();
        let certificates = repository.list_certificates().await?;
        let accepted = repository.accepted_drifts().await?;
        let frozen = self.roots.frozen(cluster, &accepted);
        let freezes = |backup_id| {
            frozen
                .iter()
                .flat_map(Frozen::backups)
                .any(|freezing| freezing == backup_id)
        };
        let mut backups = Vec::new();
        let mut in_view = HashSet::new();
        for (backup_id, root) in self.roots.in_order() {
            // Nobody knows whose a backup is that cannot be read.
            if root.is_ok_and(|contents| cluster.is_some_and(|name| contents.cluster != name)) {
                continue;
            }
            in_view.insert(backup_id.clone());
            let listed = certificates.get(backup_id).map_or(&[][..], Vec::as_slice);
            backups.push(BackupStatus {
                drift: self.roots.drift(backup_id, freezes(backup_id)),
                ..backup(backup_id, root, listed, read_at)
            });
        }
        self.read_certificate(repository, &in_view, &certificates).await?;
        let newest = self.certificate.as_ref();
        Ok(RepositoryStatus {
            read_at,
            backups,
            frozen: frozen.map(|frozen| frozen.to_string()),
            newest_certificate: newest.and_then(|known| known.status.as_ref().ok()).cloned(),
        })
    }

    /// The newest certificate that judges, of the backups in view.
    async fn read_certificate(
        &mut self,
        repository: &Repository,
        in_view: &HashSet<BackupId>,
        certificates: &BTreeMap<BackupId, ListedCertificates>,
    ) -> Result<()> {
        let newest = certificates
            .iter()
            .filter(|(backup_id, _)| in_view.contains(*backup_id))
            .flat_map(|(backup_id, of_backup)| of_backup.iter().map(move |listed| (listed, backup_id)))
            .filter(|((certificate, _), _)| judges(certificate.state))
            .max_by_key(|((certificate, _), backup_id)| (certificate, *backup_id));
        let Some(((certificate, version), backup_id)) = newest else {
            self.certificate = None;
            return Ok(());
        };
        let before = self.certificate.take().filter(|known| {
            (&known.backup_id, &known.certificate, &known.version) == (backup_id, certificate, version)
        });
        let (is_read, reason_before) = match &before {
            Some(known) => (known.status.is_ok(), known.status.as_ref().err().cloned()),
            None => (false, None),
        };
        if is_read {
            self.certificate = before;
            return Ok(());
        }
        let status = read(repository, backup_id, certificate).await?;
        if let Err(reason) = &status
            && reason_before.as_ref() != Some(reason)
        {
            tracing::warn!(%backup_id, drill_id = %certificate.drill_id, reason, "certificate cannot be read");
        }
        self.certificate = Some(Box::new(Known {
            backup_id: backup_id.clone(),
            certificate: certificate.clone(),
            version: *version,
            status,
        }));
        Ok(())
    }
}

/// A certificate, or why it alone cannot be read.
async fn read(
    repository: &Repository,
    backup_id: &BackupId,
    certificate: &CertificateRef,
) -> Result<std::result::Result<CertificateStatus, String>> {
    let read = repository.read_certificate(backup_id, certificate, drill::read_certificate);
    match read.await {
        Ok(read) => Ok(Ok(describe(read, state(certificate.state)))),
        Err(error) if error.is_unreadable_object() || error.is_refused_object() => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn backup(
    backup_id: &BackupId,
    root: std::result::Result<&BackupContents, &str>,
    certificates: &[(CertificateRef, ObjectVersion)],
    now: Timestamp,
) -> BackupStatus {
    let root = root.map_err(str::to_owned).and_then(|contents| {
        if is_of_the_future(contents.newest_snapshot, now) {
            return Err(format!("its snapshot lies in the future: {}", contents.newest_snapshot));
        }
        Ok(contents.clone())
    });
    let (contents, damage) = match root {
        Ok(contents) => (Some(contents), None),
        Err(damage) => (None, Some(damage)),
    };
    BackupStatus {
        backup_id: backup_id.to_string(),
        contents,
        damage,
        drills: drills(certificates),
        drift: None,
    }
}

/// A server whose clock was wrong once must not stand before all later backups for years.
fn is_of_the_future(time: Timestamp, now: Timestamp) -> bool {
    const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);
    time.duration_since(now) > TOLERANCE
}

/// A clock that was wrong once must not keep the timer still until that time. It is the agent's own clock that counts: a
/// backup of a server whose clock is ahead was made all the same, and without it the next would be due at once, for ever.
pub(super) fn counts_for_the_timer(started: Timestamp, now: Timestamp) -> bool {
    !is_of_the_future(started, now)
}

fn judges(state: CertificateState) -> bool {
    matches!(state, CertificateState::Certified | CertificateState::Failed)
}

/// One entry a drill: the start marker counts only where nothing came after it.
fn drills(certificates: &[(CertificateRef, ObjectVersion)]) -> Vec<DrillStatus> {
    let mut drills: Vec<DrillStatus> = Vec::new();
    for (certificate, _) in certificates {
        let status = DrillStatus {
            drill_id: certificate.drill_id.to_string(),
            started: certificate.drill_id.time(),
            state: state(certificate.state),
        };
        match drills.last_mut() {
            // Sorted by drill, then by state, and `Started` is the least.
            Some(last) if last.drill_id == status.drill_id => *last = status,
            _ => drills.push(status),
        }
    }
    drills
}

fn state(state: CertificateState) -> DrillState {
    match state {
        CertificateState::Started => DrillState::Started,
        CertificateState::Certified => DrillState::Certified,
        CertificateState::Failed => DrillState::Failed,
        CertificateState::Unverified => DrillState::Unverified,
    }
}

#[cfg(test)]
mod tests;
