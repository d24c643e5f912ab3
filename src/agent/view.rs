//! The repository as an agent sees it: listings each time, and of roots and certificates, which never change, only those
//! not read before.
//!
//! Everything is listed, not only what came after the last one seen: a long run or a clock that was set may put a new
//! backup before an old one, and what has been expired must disappear.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::drift_view::DriftView;
use super::error::Result;
use crate::content::QualifiedName;
use crate::drill::{Certificate, TableComparison};
use crate::http::status::{
    BackupContents, BackupStatus, CertificateStatus, DrillState, DrillStatus, KEPT_LINES, KEPT_TABLES, PhaseStatus,
    RepositoryStatus, TableStatus,
};
use crate::repository::id::BackupId;
use crate::repository::{self, CertificateRef, CertificateState, Repository, StoredManifest};

/// Roots read at the same time; each is at most 64 KiB.
const CONCURRENCY: usize = 16;

/// What has been read so far.
#[derive(Debug, Default)]
pub struct View {
    roots: HashMap<BackupId, BackupContents>,
    drifts: DriftView,
    certificate: Option<(BackupId, CertificateRef, CertificateStatus)>,
}

impl View {
    /// Looks again.
    ///
    /// # Errors
    /// The store's own. A root that cannot be read is part of the view.
    pub async fn refresh(&mut self, repository: &Repository, cluster: Option<&str>) -> Result<RepositoryStatus> {
        let read_at = Timestamp::now();
        let ids = repository.backup_ids().await?;
        let certificates = repository.certificates().await?;
        let accepted = repository.accepted_drifts().await?;
        let listed: HashSet<&BackupId> = ids.iter().collect();
        self.roots.retain(|backup_id, _| listed.contains(backup_id));
        self.drifts.retain(&listed);
        let damage = self.read_roots(repository, &ids).await?;
        let mut backups = Vec::with_capacity(ids.len());
        for backup_id in self.in_order(&ids) {
            let contents = self.roots.get(backup_id);
            let is_wanted = contents.is_none_or(|contents| cluster.is_none_or(|name| contents.cluster == name));
            let is_there = contents.is_some() || damage.contains_key(backup_id);
            if is_there && is_wanted {
                let dreamt = contents.filter(|contents| is_of_the_future(contents.newest_snapshot, read_at));
                let dreamt =
                    dreamt.map(|contents| format!("its snapshot lies in the future: {}", contents.newest_snapshot));
                backups.push(BackupStatus {
                    backup_id: backup_id.to_string(),
                    contents: contents.filter(|_| dreamt.is_none()).cloned(),
                    damage: dreamt.or_else(|| damage.get(backup_id).cloned()),
                    drills: drills(certificates.get(backup_id).map_or(&[], Vec::as_slice)),
                    drift: None,
                });
            }
        }
        let frozen = self.drifts.judge(&mut backups, &accepted);
        self.read_certificate(repository, &backups, &certificates).await?;
        Ok(RepositoryStatus {
            read_at,
            backups,
            frozen,
            newest_certificate: self.certificate.as_ref().map(|(.., status)| status.clone()),
        })
    }

    /// By the newest snapshot; ids tell the second alone, and that of the oldest one. They must do for a damaged root.
    fn in_order<'a>(&self, ids: &'a [BackupId]) -> Vec<&'a BackupId> {
        let time = |backup_id: &BackupId| match self.roots.get(backup_id) {
            Some(contents) => contents.newest_snapshot,
            None => backup_id.time(),
        };
        let mut ordered: Vec<&BackupId> = ids.iter().collect();
        ordered.sort_by_key(|backup_id| time(backup_id));
        ordered
    }

    /// Reads the roots not known yet, and returns why some cannot be read.
    async fn read_roots(&mut self, repository: &Repository, ids: &[BackupId]) -> Result<HashMap<BackupId, String>> {
        let unknown = ids.iter().filter(|id| !self.roots.contains_key(*id)).cloned();
        // Owned ids: a future that borrows them could not be sent to another thread.
        let unknown: Vec<BackupId> = unknown.collect();
        let mut read = stream::iter(unknown)
            .map(async |backup_id: BackupId| (repository.read_manifest(&backup_id).await, backup_id))
            .buffer_unordered(CONCURRENCY);
        let mut damage = HashMap::new();
        while let Some((root, backup_id)) = read.next().await {
            match root {
                Ok(stored) => {
                    self.drifts.insert(&stored.manifest);
                    self.roots.insert(backup_id, contents(stored));
                }
                // Expired since it was listed.
                Err(repository::Error::NoSuchBackup(_)) => {}
                Err(error @ (repository::Error::Damaged { .. } | repository::Error::UnknownFormat { .. })) => {
                    damage.insert(backup_id, error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(damage)
    }

    /// The newest certificate that judges, of the backups in view.
    async fn read_certificate(
        &mut self,
        repository: &Repository,
        backups: &[BackupStatus],
        certificates: &BTreeMap<BackupId, Vec<CertificateRef>>,
    ) -> Result<()> {
        let in_view: HashSet<&str> = backups.iter().map(|backup| backup.backup_id.as_str()).collect();
        let in_view = |backup_id: &BackupId| in_view.contains(backup_id.to_string().as_str());
        let newest = certificates
            .iter()
            .filter(|(backup_id, _)| in_view(backup_id))
            .flat_map(|(backup_id, of_backup)| of_backup.iter().map(move |certificate| (certificate, backup_id)))
            .filter(|(certificate, _)| judges(certificate.state))
            .max();
        let Some((certificate, backup_id)) = newest else {
            self.certificate = None;
            return Ok(());
        };
        if let Some((known_backup, known, _)) = &self.certificate
            && (known_backup, known) == (backup_id, certificate)
        {
            return Ok(());
        }
        let body = repository.read_certificate(backup_id, certificate).await?;
        match serde_json::from_slice::<Certificate>(&body) {
            Ok(read) => {
                let status = describe(read, certificate.state);
                self.certificate = Some((backup_id.clone(), certificate.clone(), status));
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%backup_id, drill_id = %certificate.drill_id, error, "certificate cannot be read");
            }
        }
        Ok(())
    }
}

/// A server whose clock was wrong once must not stand before all later backups for years.
pub(super) fn is_of_the_future(time: Timestamp, now: Timestamp) -> bool {
    const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);
    time.duration_since(now) > TOLERANCE
}

fn judges(state: CertificateState) -> bool {
    matches!(state, CertificateState::Certified | CertificateState::Failed)
}

/// One entry a drill: the start marker counts only where nothing came after it.
fn drills(certificates: &[CertificateRef]) -> Vec<DrillStatus> {
    let mut drills: Vec<DrillStatus> = Vec::new();
    for certificate in certificates {
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

fn contents(stored: StoredManifest) -> BackupContents {
    let manifest = stored.manifest;
    let stats = manifest.stats;
    let times = || manifest.databases.iter().map(|database| database.snapshot_time);
    BackupContents {
        oldest_snapshot: times().min().unwrap_or(manifest.started),
        newest_snapshot: times().max().unwrap_or(manifest.started),
        started: manifest.started,
        usable_since: manifest.finished,
        databases: manifest
            .databases
            .iter()
            .map(|database| database.name.clone())
            .collect(),
        databases_not_included: manifest.databases_not_included,
        cluster: manifest.source.cluster,
        tables: stats.tables,
        rows: stats.rows,
        raw_bytes: stats.raw_bytes,
        stored_bytes: stats.stored_bytes,
        new_bytes: stats.new_bytes,
        chunks: stats.chunks,
        reused_chunks: stats.reused_chunks,
        healed_chunks: stats.healed_chunks,
        duration_seconds: stats.duration_seconds,
        phases: manifest
            .phases
            .into_iter()
            .map(|phase| PhaseStatus {
                name: phase.name,
                seconds: phase.seconds,
            })
            .collect(),
    }
}

fn describe(certificate: Certificate, judged: CertificateState) -> CertificateStatus {
    let mut phases: Vec<PhaseStatus> = Vec::new();
    let mut tables = Vec::new();
    for database in certificate.databases {
        for phase in database.phases {
            match phases.iter_mut().find(|known| known.name == phase.name) {
                Some(known) => known.seconds += phase.seconds,
                None => phases.push(PhaseStatus {
                    name: phase.name,
                    seconds: phase.seconds,
                }),
            }
        }
        for table in database.tables {
            tables.push(table_status(&database.database, &table));
        }
    }
    let (total_tables, differing_tables) = count_tables(&tables);
    // In a stable order: what differs first, else as the certificate has it.
    tables.sort_by_key(|table| table.is_equal);
    tables.truncate(KEPT_TABLES);
    let total_not_tested = certificate.not_tested.len() as u64;
    let mut not_tested = certificate.not_tested;
    not_tested.truncate(KEPT_LINES);
    CertificateStatus {
        backup_id: certificate.backup_id.to_string(),
        drill_id: certificate.drill_id.to_string(),
        state: state(judged),
        summary: certificate.summary,
        reasons: kept_reasons(certificate.reasons),
        started: certificate.started,
        finished: certificate.finished,
        oldest_snapshot: certificate.source.map(|source| source.oldest_snapshot),
        recovery_seconds: certificate.recovery_seconds,
        phases,
        tables,
        total_tables,
        differing_tables,
        not_tested,
        total_not_tested,
    }
}

/// All, and those that differ.
fn count_tables(tables: &[TableStatus]) -> (u64, u64) {
    let differing = tables.iter().filter(|table| !table.is_equal);
    (tables.len() as u64, differing.count() as u64)
}

fn kept_reasons(mut reasons: Vec<String>) -> Vec<String> {
    let more = reasons.len().saturating_sub(KEPT_LINES);
    if more > 0 {
        reasons.truncate(KEPT_LINES);
        reasons.push(format!("{more} more reasons: the certificate has them all"));
    }
    reasons
}

fn table_status(database: &str, table: &TableComparison) -> TableStatus {
    TableStatus {
        database: database.to_owned(),
        table: plain(&table.name),
        rows: table.expected.rows,
        raw_bytes: table.expected.raw_bytes,
        fingerprint: table.expected.fingerprint.to_string(),
        is_equal: table.equal,
        remark: table_remark(table),
    }
}

/// `public.orders`; in quotes only what needs them.
fn plain(name: &QualifiedName) -> String {
    let is_plain = |part: &str| {
        let mut characters = part.chars();
        let begins = characters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == '_');
        begins && characters.all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
    };
    if is_plain(&name.schema) && is_plain(&name.name) {
        format!("{}.{}", name.schema, name.name)
    } else {
        name.to_string()
    }
}

fn table_remark(table: &TableComparison) -> Option<String> {
    match table.found {
        _ if table.equal => None,
        None => Some("could not be read".to_owned()),
        Some(found) if found.rows != table.expected.rows => Some(format!("{} rows were rebuilt", found.rows)),
        Some(_) => Some("the rows' contents differ".to_owned()),
    }
}
