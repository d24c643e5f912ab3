//! What holds after every step, and what is too expensive for that.
//!
//! Cheap: every manifest belongs to a run that may have made it, no object that it refers to is missing, no written record
//! has changed, no certificate stands for a damaged backup, only expiry lets anything go, and never the newest, a held one
//! or the last proof. Expensive: every backup restores to what the model says, and what nobody named is untouched.

use std::collections::BTreeSet;

use super::bucket::{backups, first, references};
use super::ground::Ground;
use super::servers::sessions;
use super::step::Kind;
use super::truth::{Known, State};
use crate::support::{World, wait};

const CHECKED: &str = "checked";

impl Ground {
    /// The cheap ones.
    #[track_caller]
    pub(super) fn look(&mut self, may_go: bool) {
        let is_backing_up = self.is_backing_up();
        let repository = first(&self.world);
        let present = backups(&repository);
        let fresh: Vec<String> = present
            .iter()
            .filter(|id| !self.truth.backups.contains_key(*id))
            .cloned()
            .collect();
        for backup_id in fresh {
            assert!(!self.window.is_empty(), "nobody made backup {backup_id}");
            let known = Known {
                states: self.window.clone(),
                keys: references(&repository, &backup_id).expect("only a step lets a backup go"),
                is_checked: false,
            };
            self.truth.backups.insert(backup_id, known);
            self.count("backups");
        }
        self.note_what_came_back();
        self.note_what_went(&present, may_go);
        if !is_backing_up {
            self.window.clear();
        }
        self.assert_nothing_is_missing();
        let changed = self.written.changed(&self.world);
        assert!(changed.is_empty(), "written anew: {changed:?}");
        self.assert_certificates_are_earned();
        self.look_there();
    }

    /// What was lost may have been stored anew under its name; restores show whether it was what it must be.
    fn note_what_came_back(&mut self) {
        let bucket = self.world.s3.bucket();
        let is_back = |key: &String| bucket.join(World::object(key)).exists();
        let back: Vec<String> = self.truth.lost.iter().filter(|key| is_back(key)).cloned().collect();
        for key in back {
            self.truth.lost.remove(&key);
            self.truth.damaged.remove(&key);
        }
    }

    fn note_what_went(&mut self, present: &BTreeSet<String>, may_go: bool) {
        let known = self.truth.backups.keys();
        let gone: Vec<String> = known
            .filter(|backup_id| !present.contains(*backup_id))
            .cloned()
            .collect();
        if gone.is_empty() {
            return;
        }
        assert!(may_go, "gone, and nothing let it go: {gone:?}");
        let newest = self.truth.newest().unwrap();
        assert!(!gone.contains(&newest), "the newest backup has gone: {gone:?}");
        let held: Vec<&String> = gone
            .iter()
            .filter(|backup_id| self.truth.held.contains(*backup_id))
            .collect();
        assert!(held.is_empty(), "held, and gone: {held:?}");
        // Certificates of what is gone are still there.
        let mut proven = self
            .truth
            .backups
            .keys()
            .filter(|backup_id| self.is_certified(backup_id));
        if self.agents.is_empty() {
            let newest = proven.next_back();
            assert!(
                newest.is_none_or(|newest| present.contains(newest)),
                "the newest proof has gone: {newest:?}"
            );
        } else {
            // A drill beside it may have judged anew since.
            let proven: Vec<&String> = proven.collect();
            let is_gone = |backup_id: &&String| gone.contains(*backup_id);
            assert!(
                proven.is_empty() || !proven.iter().all(is_gone),
                "the last proof has gone: {gone:?}"
            );
        }
        let tombstones = self.world.keys("tombstones/");
        let bucket = self.world.s3.bucket();
        for backup_id in gone {
            // A backup that has begun before may rest on it.
            let tombstone = format!("tombstones/{backup_id}.json");
            assert!(tombstones.contains(&tombstone), "{backup_id} went without a tombstone");
            for key in self.truth.backups[&backup_id].keys.difference(&self.truth.lost) {
                let is_there = bucket.join(World::object(key)).exists();
                assert!(
                    is_there,
                    "{key} has gone with backup {backup_id}, without a grace period"
                );
            }
            let known = self.truth.backups.remove(&backup_id).unwrap();
            self.truth.gone.insert(backup_id, known);
            self.count("expired backups");
        }
    }

    /// By its last verdict.
    fn is_certified(&self, backup_id: &str) -> bool {
        let keys = self.world.keys(&format!("certificates/{backup_id}/"));
        let verdicts = keys
            .iter()
            .filter(|key| key.ends_with(".certified.json") || key.ends_with(".failed.json"));
        verdicts.max().is_some_and(|last| last.ends_with(".certified.json"))
    }

    #[track_caller]
    fn assert_nothing_is_missing(&self) {
        let bucket = self.world.s3.bucket();
        for (backup_id, known) in &self.truth.backups {
            for key in known.keys.difference(&self.truth.lost) {
                let is_there = bucket.join(World::object(key)).exists();
                assert!(is_there, "backup {backup_id} refers to {key}, which is not there");
            }
        }
    }

    #[track_caller]
    fn assert_certificates_are_earned(&mut self) {
        for key in self.world.keys("certificates/") {
            let backup_id = key.split('/').nth(1).unwrap_or_default().to_owned();
            // Damage comes and goes; what counts is what there was when it was said.
            if !self.judged.insert(key.clone()) {
                continue;
            }
            if key.ends_with(".failed.json") {
                let is_known = self.truth.backups.contains_key(&backup_id);
                let is_right = self.truth.is_damaged(&backup_id) || self.truth.slandered.contains(&backup_id);
                let reasons = || String::from_utf8_lossy(&self.world.s3.read(&World::object(&key))).into_owned();
                assert!(
                    is_right || !is_known,
                    "a sound backup is called failed by {key}: {}",
                    reasons()
                );
                self.count("certificates: failed");
            }
            if key.ends_with(".certified.json") {
                assert!(!self.truth.is_damaged(&backup_id), "{key} stands for a damaged backup");
                self.count("certificates: certified");
            }
        }
    }

    /// What was restored of a backup is one of the states that it may hold, and it must hold that from now on.
    #[track_caller]
    pub(super) fn assert_holds(&mut self, backup_id: &str, found: &State) {
        let known = self.truth.backups.get_mut(backup_id).unwrap();
        let right = known
            .states
            .iter()
            .find(|state| state.differences(found).is_empty())
            .cloned();
        let Some(right) = right else {
            let differences = known.states.last().unwrap().differences(found);
            panic!(
                "backup {backup_id} holds none of {} states:\n{}",
                known.states.len(),
                differences.join("\n")
            );
        };
        known.states = vec![right];
        known.is_checked = true;
        self.count("restores compared by SQL and pg_dump");
    }

    pub(super) fn check(&mut self, backup_id: &str) {
        let into = self.target_database(CHECKED);
        let restore = ["restore", "--backup", backup_id, "--into", &into, "--create-database"];
        let (ended, _) = self.run(&restore, None);
        if ended.code() != Some(0) && self.is_stormy() {
            self.drop_database(CHECKED);
            return;
        }
        assert_eq!(ended.code(), Some(0), "{backup_id}: {}", ended.printed());
        let state = State::of(&self.world.target, CHECKED);
        self.assert_holds(backup_id, &state);
        self.drop_database(CHECKED);
    }

    /// Restores what was not restored yet.
    pub(super) fn check_unchecked(&mut self) {
        self.look(false);
        let is_due =
            |backup_id: &String| !self.truth.backups[backup_id].is_checked && !self.truth.is_damaged(backup_id);
        let due: Vec<String> = self.truth.backups.keys().filter(|id| is_due(id)).cloned().collect();
        for backup_id in due {
            self.check(&backup_id);
        }
    }

    /// The expensive ones.
    pub(super) fn check_all(&mut self) {
        self.look(false);
        let sound: Vec<String> = self.truth.backups.keys().cloned().collect();
        for backup_id in sound {
            if !self.truth.is_damaged(&backup_id) {
                self.check(&backup_id);
            }
        }
        let (verified, _) = self.run(&["verify", "--all"], None);
        let damaged: BTreeSet<String> = verified.json()["defects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|defect| defect["key"].as_str().unwrap().to_owned())
            .collect();
        let is_needed = |key: &&String| self.truth.backups.values().any(|known| known.keys.contains(*key));
        let expected: BTreeSet<String> = self.truth.damaged.keys().filter(is_needed).cloned().collect();
        assert_eq!(damaged, expected, "{}", verified.stdout);
        self.check_there();
        self.assert_untouched();
        self.assert_nobody_is_left();
    }

    /// Sessions of runs that have ended are gone.
    fn assert_nobody_is_left(&mut self) {
        if !self.agents.contains_key(&Kind::Backup) {
            wait::until("no session to be left at the source", || {
                sessions(&self.world.source).is_empty()
            });
        }
        if !self.agents.contains_key(&Kind::Restore) {
            wait::until("no session to be left at the target", || {
                sessions(&self.world.target).is_empty()
            });
        }
    }
}
