//! Which backups a place would not keep if they were brought: what an expiry there has let go, and what the rules there
//! would let go at once. A copy leaves them where they are.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::plan::{Candidate, plan};
use super::policy::Policy;
use super::survey::Surveyor;
use crate::repository::error::Result;
use crate::repository::id::BackupId;
use crate::repository::reader::Repository;

/// Asks as often as it is asked. Roots never change, so each is read once.
#[derive(Debug)]
pub(in crate::repository) struct Declining<'a> {
    from: &'a Repository,
    to: &'a Repository,
    policy: &'a Policy,
    here: Surveyor,
    there: Surveyor,
}

impl<'a> Declining<'a> {
    pub(in crate::repository) fn new(from: &'a Repository, to: &'a Repository, policy: &'a Policy) -> Self {
        Self {
            from,
            to,
            policy,
            here: Surveyor::default(),
            there: Surveyor::default(),
        }
    }

    /// Those of `missing` that are not to be brought. What a person holds here is, whatever was let go there.
    pub(in crate::repository) async fn of(&mut self, missing: &BTreeSet<BackupId>) -> Result<BTreeSet<BackupId>> {
        if missing.is_empty() {
            return Ok(BTreeSet::new());
        }
        let buried = self.to.tombstones().await?;
        let mut declined: BTreeSet<BackupId> = missing.iter().filter(|id| buried.contains_key(*id)).cloned().collect();
        if !declined.is_empty() {
            let held = self.from.holds().await?;
            declined.retain(|backup_id| !held.contains_key(backup_id));
        }
        let open: Vec<BackupId> = missing.difference(&declined).cloned().collect();
        let newest = self.from.backup_ids().await?.pop();
        // The newest backup stays under any rules.
        if self.policy.is_set() && open.iter().any(|backup_id| Some(backup_id) != newest.as_ref()) {
            let dropped = self.dropped(open).await?;
            declined.extend(dropped);
        }
        Ok(declined)
    }

    /// Those of `open` that the rules drop when all there is over there and all that would come is looked at together.
    /// What was let go there and does not come takes nobody's place.
    async fn dropped(&mut self, open: Vec<BackupId>) -> Result<BTreeSet<BackupId>> {
        let mut all = self.there.survey(self.to).await?;
        all.was_brought_in_time();
        let coming: BTreeSet<BackupId> = open.into_iter().collect();
        all.join(self.here.survey_of(self.from, &coming).await?);
        let now = self.to.store().now();
        let mut dropped = BTreeSet::new();
        for cluster in all.clusters.into_values() {
            // Not to bring a backup deletes nothing: what freezes deletion does not bring everything.
            let mut drops: BTreeSet<BackupId> = self.drops(&cluster.backups, now);
            // But those that lack something take no place from those before them, which a place that was here all along
            // would have kept.
            let before_drift = cluster.before_drift();
            if before_drift.len() < cluster.backups.len() {
                let wanted_before = self.keeps(&before_drift, now);
                drops.retain(|backup_id| !wanted_before.contains(backup_id));
            }
            dropped.extend(drops.into_iter().filter(|backup_id| coming.contains(backup_id)));
        }
        Ok(dropped)
    }

    fn drops(&self, backups: &[Candidate], now: Timestamp) -> BTreeSet<BackupId> {
        plan(backups, self.policy, None, now).drops().cloned().collect()
    }

    fn keeps(&self, backups: &[Candidate], now: Timestamp) -> BTreeSet<BackupId> {
        let drops = self.drops(backups, now);
        let ids = backups.iter().map(|backup| backup.backup_id.clone());
        ids.filter(|backup_id| !drops.contains(backup_id)).collect()
    }
}
