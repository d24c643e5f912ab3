//! The document at `/status`: the newest of what grows with the bucket, and how much of it there is.
//!
//! Whoever can reach the port may ask for it, as often as they like. So its size has a bound, and nothing is copied for it.

use jiff::Timestamp;
use serde::Serialize;

use super::{BackupContents, BackupStatus, CertificateStatus, DriftStatus, DrillStatus, RepositoryStatus, Status};

/// Backups that are listed, the newest, and the newest drills of each.
const BACKUPS: usize = 100;
const DRILLS: usize = 10;

/// A status as it is written.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Shown<'a> {
    /// Which writes nothing of its repository.
    #[serde(flatten)]
    status: &'a Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<ShownRepository<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownRepository<'a> {
    read_at: Timestamp,
    total_backups: usize,
    backups: Vec<ShownBackup<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_certificate: Option<&'a CertificateStatus>,
}

#[derive(Debug, Serialize)]
struct ShownBackup<'a> {
    backup_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<&'a BackupContents>,
    total_drills: usize,
    drills: &'a [DrillStatus],
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<&'a DriftStatus>,
}

impl<'a> Shown<'a> {
    pub(in crate::http) fn of(status: &'a Status) -> Self {
        let repository = status.repository.as_deref();
        Self {
            status,
            repository: repository.map(ShownRepository::of),
        }
    }
}

impl<'a> ShownRepository<'a> {
    fn of(repository: &'a RepositoryStatus) -> Self {
        let newest = newest(&repository.backups, BACKUPS);
        Self {
            read_at: repository.read_at,
            total_backups: repository.backups.len(),
            backups: newest.iter().map(ShownBackup::of).collect(),
            frozen: repository.frozen.as_deref(),
            newest_certificate: repository.newest_certificate.as_ref(),
        }
    }
}

impl<'a> ShownBackup<'a> {
    fn of(backup: &'a BackupStatus) -> Self {
        Self {
            backup_id: &backup.backup_id,
            damage: backup.damage.as_deref(),
            contents: backup.contents.as_ref(),
            total_drills: backup.drills.len(),
            drills: newest(&backup.drills, DRILLS),
            drift: backup.drift.as_ref(),
        }
    }
}

/// The last of a list that is in order of time.
fn newest<T>(all: &[T], limit: usize) -> &[T] {
    &all[all.len().saturating_sub(limit)..]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::sample;
    use crate::http::status::KEPT_TABLES;

    /// Five years of hourly backups would be four times as many.
    fn large() -> Status {
        let mut status = sample::restore_agent();
        let repository = sample::repository_of(&mut status);
        let backup = repository.backups[10].clone();
        repository.backups = vec![backup; 10_000];
        for (number, backup) in repository.backups.iter_mut().enumerate() {
            backup.backup_id = format!("20261115T145830Z-{number:04x}");
            backup.drills = vec![backup.drills[0].clone(); 50];
            backup.drift = Some(sample::drift());
        }
        let certificate = repository.newest_certificate.as_mut().unwrap();
        certificate.tables = vec![certificate.tables[0].clone(); KEPT_TABLES];
        certificate.total_tables = 50_000;
        status
    }

    #[test]
    fn ten_thousand_backups_and_fifty_thousand_tables_are_counted_and_the_newest_are_shown() {
        let status = large();
        let text = serde_json::to_string_pretty(&Shown::of(&status)).unwrap();
        assert!(text.len() < 512 * 1024, "{} bytes", text.len());
        let shown: Value = serde_json::from_str(&text).unwrap();
        let repository = &shown["repository"];
        assert_eq!(repository["total_backups"], 10_000);
        let backups = repository["backups"].as_array().unwrap();
        assert_eq!(backups.len(), BACKUPS);
        assert_eq!(backups[BACKUPS - 1]["backup_id"], "20261115T145830Z-270f");
        assert_eq!(backups[0]["total_drills"], 50);
        assert_eq!(backups[0]["drills"].as_array().unwrap().len(), DRILLS);
        assert_eq!(repository["newest_certificate"]["total_tables"], 50_000);
    }

    #[test]
    fn without_the_bucket_a_status_is_small_however_much_lies_there() {
        let text = serde_json::to_string(&large()).unwrap();
        assert!(text.len() < 8 * 1024 && !text.contains("\"backups\""), "{text}");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let status = sample::backup_agent();
        let text = serde_json::to_string(&Shown::of(&status)).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        let unread = Status {
            repository: None,
            ..status
        };
        let text = serde_json::to_string(&Shown::of(&unread)).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), unread);
    }
}
