//! What lies in the bucket, read from its folder by `docs/format.md` alone: none of the program's code has a part in it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::World;
use crate::support::world::PREFIX;

/// Every object that the backup of this root refers to, of the repository in this folder; none when it goes at this moment.
pub(crate) fn references(repository: &Path, backup_id: &str) -> Option<BTreeSet<String>> {
    let read = |key: &str| fs::read(repository.join(key)).ok();
    let root: Value = serde_json::from_slice(&read(&format!("manifests/{backup_id}.json"))?).unwrap();
    let mut keys = BTreeSet::new();
    let mut index = Vec::new();
    for chunk in root["index"].as_array().unwrap() {
        let key = chunk["key"].as_str().unwrap();
        index.extend(zstd::decode_all(read(key)?.as_slice()).unwrap());
        keys.insert(key.to_owned());
    }
    for line in index.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let record: Value = serde_json::from_slice(line).unwrap();
        let key = record["key"].as_str().or_else(|| record["chunk"]["key"].as_str());
        keys.extend(key.filter(|key| key.starts_with("chunks/")).map(str::to_owned));
    }
    Some(keys)
}

/// The folder of a world's first repository.
pub(crate) fn first(world: &World) -> PathBuf {
    world.s3.bucket().join(PREFIX)
}

/// The ids of the backups that exist in the repository in this folder.
pub(crate) fn backups(repository: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(repository.join("manifests")) else {
        return BTreeSet::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect()
}

/// Lets everything grow older by so many hours; younger, where there are fewer than none.
pub(crate) fn pass_hours(repository: &Path, hours: i64) {
    let span = Duration::from_hours(hours.unsigned_abs());
    for path in files(repository) {
        // One that is older or much younger than its run is the work of a wrong clock, and would never expire.
        if path.components().any(|part| part.as_os_str() == "manifests") {
            continue;
        }
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let then = if hours > 0 { modified - span } else { modified + span };
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(then)
            .unwrap();
    }
}

/// What objects contained that must never change.
#[derive(Debug, Default)]
pub(crate) struct Written(HashMap<String, u64>);

impl Written {
    /// Names those that are there and have changed since they were first seen.
    pub(crate) fn changed(&mut self, world: &World) -> Vec<String> {
        let mut changed = Vec::new();
        self.0
            .retain(|key, _| world.s3.bucket().join(World::object(key)).exists());
        for beginning in ["manifests/", "certificates/", "tombstones/", "holds/"] {
            for key in world.keys(beginning) {
                let Ok(contents) = fs::read(world.s3.bucket().join(World::object(&key))) else {
                    continue;
                };
                let mut hasher = DefaultHasher::new();
                contents.hash(&mut hasher);
                let digest = hasher.finish();
                if *self.0.entry(key.clone()).or_insert(digest) != digest {
                    changed.push(key);
                }
            }
        }
        changed
    }
}

/// Every file below this folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
