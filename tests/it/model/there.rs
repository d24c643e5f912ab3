//! The second repository, which `copy` and the backup agent fill and which lets go by rules of its own: every backup in it is
//! the first one's byte for byte, nothing that it refers to is missing, only its own expiry lets anything go there, and what is
//! restored from it is what the model says, also when the first has let that backup go.

use std::fs;

use super::bucket::{backups, first, references};
use super::ground::Ground;
use super::step::Kind;
use super::truth::State;

/// Restores from there go there.
const FROM_THERE: &str = "from_there";

impl Ground {
    /// After every step.
    #[track_caller]
    pub(super) fn look_there(&mut self) {
        let second = self.second();
        let present = backups(&second);
        for backup_id in &present {
            if self.truth.there.contains_key(backup_id) {
                continue;
            }
            let keys = references(&second, backup_id).expect("what is shown there is whole");
            let root = format!("manifests/{backup_id}.json");
            if let Ok(original) = fs::read(first(&self.world).join(&root)) {
                assert_eq!(fs::read(second.join(&root)).unwrap(), original, "{root} of the copy");
            }
            self.truth.there.insert(backup_id.clone(), keys);
            self.count("copied backups");
        }
        for (backup_id, keys) in &self.truth.there {
            assert!(
                present.contains(backup_id),
                "{backup_id} has gone from the copy, and nothing let it go"
            );
            for key in keys {
                let is_there = second.join(key).exists();
                assert!(
                    is_there,
                    "backup {backup_id} of the copy refers to {key}, which is not there"
                );
            }
        }
    }

    /// Expiry and prune there. The newest stays.
    pub(super) fn let_go_there(&mut self) {
        self.look(false);
        let before = backups(&self.second());
        if before.is_empty() {
            return;
        }
        let (expired, _) = self.run(&["--repository", "second", "expire"], None);
        self.expect(&expired, &[0], None);
        let after = backups(&self.second());
        // The agent may bring newer ones meanwhile.
        if !self.agents.contains_key(&Kind::Backup) {
            assert_eq!(before.last(), after.last(), "the newest backup of the copy");
        }
        self.truth.there.retain(|backup_id, _| after.contains(backup_id));
        for _ in after.len()..before.len() {
            self.count("expired backups of the copy");
        }
        let (pruned, _) = self.run(&["--repository", "second", "prune"], None);
        self.expect(&pruned, &[0, 6], None);
    }

    /// What is expensive: all of it is verified, its oldest and its newest are restored.
    #[track_caller]
    pub(super) fn check_there(&mut self) {
        let backups = backups(&self.second());
        if backups.is_empty() {
            return;
        }
        // Damage is never copied.
        let (verified, _) = self.run(&["--repository", "second", "verify", "--all"], None);
        assert_eq!(verified.code(), Some(0), "{}", verified.printed());
        let mut sample = vec![backups.first().unwrap(), backups.last().unwrap()];
        sample.dedup();
        for backup_id in sample {
            let into = self.target_database(FROM_THERE);
            let restore = ["restore", "--backup", backup_id, "--into", &into, "--create-database"];
            let (ended, _) = self.run(&[&["--repository", "second"], &restore[..]].concat(), None);
            assert_eq!(ended.code(), Some(0), "{backup_id}: {}", ended.printed());
            let found = State::of(&self.world.target, FROM_THERE);
            self.drop_database(FROM_THERE);
            let known = self
                .truth
                .backups
                .get(backup_id)
                .or_else(|| self.truth.gone.get(backup_id));
            let is_right = known
                .unwrap()
                .states
                .iter()
                .any(|state| state.differences(&found).is_empty());
            assert!(
                is_right,
                "what was restored of {backup_id} from the copy is none of its states"
            );
            self.count("restores from the copy compared");
        }
    }
}
