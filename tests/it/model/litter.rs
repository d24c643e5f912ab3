//! The end of all: faults are over, what was damaged is mended, and a long time has passed. Then `prune` ends, and in either
//! place nothing is left that nothing needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::bucket::{backups, first, pass_hours, references};
use super::ground::Ground;
use crate::copies::files;
use crate::support::World;

/// Longer than any grace period, and than an announcement of a copy counts.
const LONG: i64 = 24 * 40;

impl Ground {
    /// What nothing refers to can be found and removed, and nothing else is.
    #[track_caller]
    pub(super) fn assert_all_litter_goes(&mut self) {
        self.dismiss_agents();
        self.set_clock(0);
        self.set_clock_of_source(0);
        self.mend();
        for backup_id in std::mem::take(&mut self.truth.held) {
            let ended = self.run(&["unhold", &backup_id], None).0;
            self.expect(&ended, &[0], None);
        }
        self.prove_a_new_one();
        for place in [None, Some("second")] {
            let repository: Vec<&str> = place.iter().flat_map(|place| ["--repository", *place]).collect();
            let accept = [&repository[..], &["accept-drift", "--reason", "the end"][..]].concat();
            let ended = self.run(&accept, None).0;
            self.expect(&ended, &[0, 1, 6], None);
        }
        self.expire(None);
        self.look(true);
        self.copy(None);
        self.let_go_there();
        for _ in 0..2 {
            for place in [first(&self.world), self.second()] {
                pass_hours(&place, LONG);
            }
            for prune in [&["prune"][..], &["--repository", "second", "prune"]] {
                let ended = self.run(prune, None).0;
                assert_eq!(ended.code(), Some(0), "{prune:?}: {}", ended.printed());
            }
        }
        self.look(false);
        for place in [first(&self.world), self.second()] {
            assert_eq!(unexplained(&place), Vec::<String>::new(), "in {}", place.display());
        }
        let verified = self.run(&["verify", "--all"], None).0;
        assert_eq!(verified.code(), Some(0), "{}", verified.printed());
        self.check_there();
    }

    /// As somebody does who has the right bytes.
    fn mend(&mut self) {
        self.look(false);
        for (key, was) in std::mem::take(&mut self.truth.damaged) {
            let object = World::object(&key);
            let is_needed = self.truth.backups.values().any(|known| known.keys.contains(&key));
            if is_needed || self.world.s3.bucket().join(&object).exists() {
                self.world.s3.overwrite(&object, &was);
            }
        }
        self.truth.lost.clear();
    }

    /// What expires and goes needs a proof that stays.
    fn prove_a_new_one(&mut self) {
        self.open_window();
        let backup = self.run(&["backup"], None).0;
        self.expect(&backup, &[0], None);
        self.look(false);
        let backup_id = backup.json()["backup_id"].as_str().unwrap().to_owned();
        let ended = self.run(&["drill", "--backup", &backup_id], None).0;
        self.expect(&ended, &[0], None);
    }
}

/// What no manifest, certificate, hold or lease of this repository explains.
#[track_caller]
fn unexplained(repository: &Path) -> Vec<String> {
    let backups = backups(repository);
    let referenced: BTreeSet<String> = backups
        .iter()
        .flat_map(|backup_id| references(repository, backup_id).expect("nobody lets anything go now"))
        .collect();
    let all = files(repository);
    let present: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let newest = newest_leases(&all);
    let is_explained = |key: &&String| {
        let mut parts = key.split('/');
        let (kind, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let backup_id = second.split('.').next().unwrap_or_default();
        let is_of_backup = backups.contains(backup_id);
        match kind {
            "repository.json" => second.is_empty(),
            "chunks" => referenced.contains(*key),
            "manifests" => true,
            // What names something damaged stays while that lies there: its name is not to be taken again.
            "certificates" => {
                is_of_backup || (key.ends_with(".failed.json") && names_something(repository, key, &present))
            }
            "damage" => {
                names_something(repository, key, &present)
                    || backups
                        .iter()
                        .any(|backup_id| text(repository, key).contains(backup_id))
            }
            "holds" | "drift" | "elsewhere" | "tombstones" => is_of_backup,
            "leases" => newest.get(second) == Some(&generation(key)),
            _ => false,
        }
    };
    let left = all.iter().filter(|key| !is_explained(key)).cloned();
    let missing = referenced.iter().filter(|key| !present.contains(key.as_str()));
    left.chain(missing.map(|key| format!("{key} is missing"))).collect()
}

fn text(repository: &Path, key: &str) -> String {
    String::from_utf8_lossy(&fs::read(repository.join(key)).unwrap()).into_owned()
}

/// Whether it has the name of an object in it that is there.
fn names_something(repository: &Path, key: &str, present: &BTreeSet<&str>) -> bool {
    let text = text(repository, key);
    let mut words = text.split('"');
    words.any(|word| (word.starts_with("chunks/") || word.starts_with("manifests/")) && present.contains(word))
}

/// The newest generation of each scope, with or without its end.
fn newest_leases(keys: &[String]) -> BTreeMap<&str, &str> {
    let mut newest = BTreeMap::new();
    for key in keys.iter().filter(|key| key.starts_with("leases/")) {
        let scope = key.split('/').nth(1).unwrap_or_default();
        let last = newest.entry(scope).or_insert("");
        *last = generation(key).max(*last);
    }
    newest
}

fn generation(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}
