//! The record of what was found damaged, by which the next backup knows what to store anew.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::{DamageRecord, Defect};
use crate::repository::document;
use crate::repository::error::Result;
use crate::repository::id::{BackupId, VerifyId};
use crate::repository::layout::Key;
use crate::repository::manifest::FORMAT_VERSION;
use crate::repository::reader::Repository;

/// `damage/<verify_id>.json`.
#[derive(Serialize)]
struct DamageDocument<'a> {
    format_version: u32,
    verify_id: &'a VerifyId,
    damaged_objects: Vec<&'a String>,
    defects: Vec<DefectEntry<'a>>,
}

#[derive(Serialize)]
struct DefectEntry<'a> {
    key: &'a str,
    problem: &'a str,
    backups: &'a [BackupId],
}

/// Writes `defects` down, unless each is known already, of each backup that needs the object: one that has come since
/// has to be named too. A store that refuses is no error: the findings stand without it.
pub(super) async fn record_damage(
    repository: &Repository,
    verify_id: &VerifyId,
    defects: &BTreeMap<String, Defect>,
) -> Result<DamageRecord> {
    if defects.is_empty() {
        return Ok(DamageRecord::NotNeeded);
    }
    // Whoever may not read the other records writes one more.
    let known = repository.standing_damage().await.unwrap_or_default();
    if defects.values().all(|defect| known.knows(&defect.key, &defect.backups)) {
        return Ok(DamageRecord::AlreadyKnown);
    }
    let key = Key::Damage(verify_id.clone()).to_string();
    let object = document::encode(&DamageDocument {
        format_version: FORMAT_VERSION,
        verify_id,
        damaged_objects: defects.keys().collect(),
        defects: defects.values().map(DefectEntry::of).collect(),
    })?;
    Ok(match repository.store().put_new(&key, object).await {
        Ok(_) => DamageRecord::Written { key },
        Err(error) => DamageRecord::NotWritten {
            reason: error.to_string(),
            key,
        },
    })
}

impl<'a> DefectEntry<'a> {
    fn of(defect: &'a Defect) -> Self {
        Self {
            key: &defect.key,
            problem: &defect.problem,
            backups: &defect.backups,
        }
    }
}
