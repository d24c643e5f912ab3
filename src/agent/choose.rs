//! Which backup and which of its databases are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use futures_util::{StreamExt as _, stream};

use super::error::{Error, Result};
use crate::repository::drift::DriftState;
use crate::repository::id::BackupId;
use crate::repository::manifest::{Backup, Database, Manifest};
use crate::repository::{self, Repository, StoredManifest};

/// Roots read at the same time; each is at most 64 KiB.
const CONCURRENCY: usize = 16;

/// How a caller names a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupChoice {
    Latest,
    /// The newest whose last verdict, of this place or where there is none of another, is that it equals its source.
    Certified,
    /// The newest of those that lacks nothing of an earlier one, or nothing that a person has not accepted.
    Trusted,
    Id(BackupId),
    /// The newest whose databases are all as of this time or older.
    At(jiff::Timestamp),
}

impl FromStr for BackupChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "certified" => Ok(Self::Certified),
            "trusted" => Ok(Self::Trusted),
            id => id.parse().map(Self::Id).map_err(|_| {
                "give 'latest', 'certified', 'trusted' or an id such as 20261121T055117Z-8f3a2c1d".to_owned()
            }),
        }
    }
}

/// Finds the backup, among those of `cluster` when one is given. A root that cannot be read (damaged, or of a newer
/// format) is passed over where a readable one is newer; where it could be the one that is meant, nothing else is taken
/// in its place.
///
/// What is passed over is said in the log alone: it changes nothing about the backup that was chosen, and `list` and
/// `verify --all` name every such root in their JSON.
///
/// # Errors
/// When there is none, or the clusters leave it open which is meant; `Damaged` or `UnknownFormat` for a root that could
/// be it.
pub async fn choose_backup(
    repository: &Repository,
    choice: &BackupChoice,
    cluster: Option<&str>,
) -> Result<StoredManifest> {
    if let BackupChoice::Id(backup_id) = choice {
        return Ok(repository.read_manifest(backup_id).await?);
    }
    let mut ids = repository.backup_ids().await?;
    let mut certified = BTreeMap::new();
    if matches!(choice, BackupChoice::Certified | BackupChoice::Trusted) {
        certified = repository.certified_backups().await?;
        ids.retain(|backup_id| certified.contains_key(backup_id));
        if ids.is_empty() {
            return Err(Error::NoneCertified);
        }
    }
    let mut read = stream::iter(&ids)
        .map(async |backup_id| (backup_id, repository.read_manifest(backup_id).await))
        .buffered(CONCURRENCY);
    let (mut roots, mut unreadable) = (Vec::new(), None);
    while let Some((backup_id, root)) = read.next().await {
        match root {
            Ok(root) => roots.push(root),
            // Expired since it was listed.
            Err(repository::Error::NoSuchBackup(_)) => {}
            // Ids rise: the newest one that could be meant is kept.
            Err(error) if error.is_unreadable_object() => {
                if can_be_meant(backup_id, choice) {
                    unreadable = Some((backup_id, error));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if *choice == BackupChoice::Trusted {
        let accepted = repository.accepted_drifts().await?;
        roots.retain(|root| !is_open(root) || accepted.contains(&root.manifest.backup_id));
        if roots.is_empty() && unreadable.is_none() {
            return Err(Error::NoneTrusted);
        }
    }
    let chosen = choose(roots, choice, cluster);
    if let Ok(root) = &chosen {
        if certified.get(&root.manifest.backup_id) == Some(&true) {
            let backup_id = &root.manifest.backup_id;
            tracing::info!(%backup_id, "certified in another place: no drill has read what lies here");
        }
        if *choice == BackupChoice::Certified {
            say_what_it_lacks(repository, root).await;
        }
    }
    match (unreadable, &chosen) {
        // Ids tell the second: of two in the same one either may be the newer.
        (Some((backup_id, error)), Ok(root)) if backup_id.time() < root.manifest.backup_id.time() => {
            tracing::warn!(%backup_id, %error, "backup passed over, a newer one is meant");
            chosen
        }
        (Some((_, error)), Ok(_) | Err(Error::NoBackup { .. } | Error::NoBackupAt { .. })) => Err(error.into()),
        _ => chosen,
    }
}

/// Whether a person should look at what it lacks of an earlier one, or nobody knows that.
fn is_open(root: &StoredManifest) -> bool {
    match DriftState::of(root.manifest.drift.as_ref()) {
        DriftState::Unjudged => false,
        DriftState::Compared(findings) => findings > 0,
        DriftState::NotCompared => true,
    }
}

/// A drill proves that a backup equals its source, also where the source had lost its rows.
async fn say_what_it_lacks(repository: &Repository, root: &StoredManifest) {
    let backup_id = &root.manifest.backup_id;
    // Where it cannot be told, rather once too often.
    let is_accepted = async || {
        repository
            .accepted_drifts()
            .await
            .is_ok_and(|all| all.contains(backup_id))
    };
    if is_open(root) && !is_accepted().await {
        tracing::warn!(
            %backup_id,
            drift = root.manifest.drift.as_ref().map(tracing::field::display),
            "certified, but it lacks something of an earlier one, or was not compared with one, and nobody has accepted that: \
             look at 'show'; 'trusted' is the newest certified backup of which that is not so"
        );
    }
}

/// A root that cannot be read tells no more than its id.
fn can_be_meant(backup_id: &BackupId, choice: &BackupChoice) -> bool {
    match choice {
        BackupChoice::At(time) => backup_id.time() <= *time,
        BackupChoice::Latest | BackupChoice::Certified | BackupChoice::Trusted | BackupChoice::Id(_) => true,
    }
}

fn choose(mut roots: Vec<StoredManifest>, choice: &BackupChoice, cluster: Option<&str>) -> Result<StoredManifest> {
    if let Some(cluster) = cluster {
        roots.retain(|root| root.manifest.source.cluster == cluster);
    }
    let clusters: BTreeSet<&str> = roots.iter().map(|root| root.manifest.source.cluster.as_str()).collect();
    if clusters.len() > 1 {
        return Err(Error::SeveralClusters(
            clusters.into_iter().map(str::to_owned).collect(),
        ));
    }
    let oldest = roots.iter().map(|root| newest_snapshot(&root.manifest)).min();
    if let BackupChoice::At(time) = choice {
        roots.retain(|root| newest_snapshot(&root.manifest) <= *time);
    }
    // A tie of times is settled by the id, the same way every time.
    let latest = roots
        .into_iter()
        .max_by(|one, other| place(&one.manifest).cmp(&place(&other.manifest)));
    match (latest, choice, oldest) {
        (Some(latest), ..) => Ok(latest),
        (None, BackupChoice::At(time), Some(oldest)) => Err(Error::NoBackupAt { time: *time, oldest }),
        (None, ..) => Err(Error::NoBackup {
            cluster: cluster.map(str::to_owned),
        }),
    }
}

fn place(manifest: &Manifest) -> (jiff::Timestamp, &BackupId) {
    (newest_snapshot(manifest), &manifest.backup_id)
}

/// Several databases have their own snapshots; the newest says as of when the backup can be complete (fact 27).
fn newest_snapshot(manifest: &Manifest) -> jiff::Timestamp {
    let times = manifest.databases.iter().map(|database| database.snapshot_time);
    times.max().unwrap_or(manifest.started)
}

/// The databases named, or all when none is named.
///
/// # Errors
/// `NoSuchDatabase` naming those that are there.
pub fn choose_databases<'a>(backup: &'a Backup, names: &[String]) -> Result<Vec<&'a Database>> {
    if names.is_empty() {
        return Ok(backup.databases.iter().collect());
    }
    let find = |name: &String| {
        let is_it = |database: &&Database| database.head.properties.name == *name;
        backup
            .databases
            .iter()
            .find(is_it)
            .ok_or_else(|| Error::NoSuchDatabase {
                backup_id: backup.manifest.backup_id.clone(),
                name: name.clone(),
                present: database_names(backup),
            })
    };
    names.iter().map(find).collect()
}

/// The one database that is meant: the named one, or the only one.
///
/// # Errors
/// `SeveralDatabases` when none is named and there are more.
pub fn choose_database<'a>(backup: &'a Backup, name: Option<&String>) -> Result<&'a Database> {
    let chosen = choose_databases(backup, name.map_or(&[], std::slice::from_ref))?;
    match chosen.as_slice() {
        [database] => Ok(database),
        _ => Err(Error::SeveralDatabases {
            backup_id: backup.manifest.backup_id.clone(),
            present: database_names(backup),
        }),
    }
}

fn database_names(backup: &Backup) -> Vec<String> {
    let names = backup.databases.iter().map(|database| &database.head.properties.name);
    names.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::id::{RepositoryId, Sha256Digest};
    use crate::repository::manifest::{BackupKind, BackupStats, DatabaseSummary, FORMAT_VERSION, Source};

    fn root(cluster: &str, times: &[&str]) -> StoredManifest {
        let times: Vec<jiff::Timestamp> = times.iter().map(|time| time.parse().unwrap()).collect();
        let summary = |time: &jiff::Timestamp| DatabaseSummary {
            name: "d".to_owned(),
            snapshot_time: *time,
            lsn: "0/0".to_owned(),
            tables: 0,
            rows: 0,
            raw_bytes: 0,
        };
        StoredManifest {
            sha256: Sha256Digest::of(b""),
            manifest: Manifest {
                format_version: FORMAT_VERSION,
                kind: BackupKind::Logical,
                repository_id: RepositoryId::new(1),
                backup_id: BackupId::new(*times.iter().min().unwrap(), 7),
                predecessor: None,
                tool_version: String::new(),
                lease_generation: None,
                locked_in: None,
                source: Source {
                    cluster: cluster.to_owned(),
                    system_identifier: "1".to_owned(),
                    server_version_num: 150_000,
                    server_version: "15".to_owned(),
                    in_recovery: false,
                    timeline: 1,
                    pg_dump_version: String::new(),
                },
                started: times[0],
                finished: times[0],
                databases: times.iter().map(summary).collect(),
                databases_not_included: Vec::new(),
                phases: Vec::new(),
                stats: BackupStats::default(),
                index: Vec::new(),
                drift: None,
            },
        }
    }

    const EARLY: &str = "2026-11-21T05:00:00Z";
    const MIDDLE: &str = "2026-11-21T05:30:00Z";
    const LATE: &str = "2026-11-21T06:00:00Z";

    fn at(time: &str) -> BackupChoice {
        BackupChoice::At(time.parse().unwrap())
    }

    #[test]
    fn at_counts_the_newest_snapshot_of_a_backup() {
        let roots = vec![root("a", &[EARLY]), root("a", &[MIDDLE, LATE])];
        let chosen = |choice: &BackupChoice| choose(roots.clone(), choice, None).unwrap();
        assert_eq!(chosen(&at(LATE)), roots[1]);
        assert_eq!(chosen(&BackupChoice::Latest), roots[1]);
        // The second backup's other database is not yet there at that time.
        assert_eq!(chosen(&at("2026-11-21T05:45:00Z")), roots[0]);
        let refused = choose(roots, &at("2026-11-20T00:00:00Z"), None)
            .unwrap_err()
            .to_string();
        assert!(refused.contains(EARLY), "{refused}");
    }

    #[test]
    fn latest_of_several_clusters_needs_a_name() {
        let roots = vec![root("a", &[EARLY]), root("b", &[LATE])];
        assert_eq!(
            choose(roots.clone(), &BackupChoice::Latest, Some("a")).unwrap(),
            roots[0]
        );
        let refused = choose(roots.clone(), &BackupChoice::Latest, None)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("a, b"), "{refused}");
        let refused = choose(roots, &BackupChoice::Latest, Some("c")).unwrap_err().to_string();
        assert_eq!(refused, "the repository holds no backup of cluster 'c'");
    }

    #[test]
    fn a_choice_is_latest_or_an_id() {
        assert_eq!("latest".parse(), Ok(BackupChoice::Latest));
        assert!(matches!("20261121T055117Z-8f3a2c1d".parse(), Ok(BackupChoice::Id(_))));
        assert!("newest".parse::<BackupChoice>().is_err());
    }
}
