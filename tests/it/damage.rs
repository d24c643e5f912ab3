//! Damage in the bucket: whatever is done to whichever object, `verify` and `drill` both notice and name it, and the
//! next backup heals it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Ended, World, WorldOptions, wait};

/// Small chunks, so that a small database has several.
const SMALL_CHUNKS: &str = "backup: {chunk_min_bytes: 64KiB, chunk_mean_bytes: 128KiB, chunk_max_bytes: 256KiB}\n";

/// What may happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Delete,
    Truncate,
    Flip,
    /// With another object that is sound in its own place.
    Swap,
}

const HARMS: [Harm; 4] = [Harm::Delete, Harm::Truncate, Harm::Flip, Harm::Swap];

/// A world with two backups of it, and the keys of what the newer one is made of.
struct Ground {
    world: World,
    backup_id: String,
    /// A chunk with rows of the table `large` alone.
    data: String,
    other_data: String,
    archive: String,
    index: String,
    root: String,
    older_index: String,
    older_root: String,
}

impl Ground {
    fn new() -> Self {
        let world = World::with(WorldOptions {
            settings: SMALL_CHUNKS,
            ..WorldOptions::default()
        });
        world.source_sql(
            "CREATE TABLE large AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) i;
             CREATE TABLE small AS SELECT 1 AS one",
        );
        let older = world.read_backup(&world.back_up());
        world.mark_targets();
        world.source_sql("INSERT INTO small VALUES (2); ALTER TABLE small ADD COLUMN two int");
        let second = older.manifest.backup_id.time();
        // Ids tell the second.
        wait::until("the next second", || {
            jiff::Timestamp::now().as_second() > second.as_second()
        });
        let backup = world.read_backup(&world.back_up());
        let database = &backup.databases[0];
        let large = database
            .tables
            .iter()
            .find(|table| table.name().name == "large")
            .unwrap();
        let key = |number: u32| backup.chunks[number as usize].key.clone();
        let of_large: Vec<String> = large.segments.iter().map(|segment| key(segment.chunk)).collect();
        let archive = key(database.head.schema_archive[0].chunk);
        assert!(
            of_large.len() > 2 && !of_large.contains(&archive),
            "{of_large:?} {archive}"
        );
        Self {
            backup_id: backup.manifest.backup_id.to_string(),
            data: of_large[1].clone(),
            other_data: of_large[0].clone(),
            archive,
            index: backup.manifest.index[0].key.clone(),
            root: format!("manifests/{}.json", backup.manifest.backup_id),
            older_index: older.manifest.index[0].key.clone(),
            older_root: format!("manifests/{}.json", older.manifest.backup_id),
            world,
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.world.s3.bucket().join(World::object(key))
    }

    /// Does the harm; what it gives puts things right again.
    fn harm(&self, harm: Harm, key: &str, other: &str) -> impl FnOnce() + use<> {
        let (path, other) = (self.path(key), self.path(other));
        let (was, other_was) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
        assert_ne!(was, other_was);
        match harm {
            Harm::Delete => fs::remove_file(&path).unwrap(),
            Harm::Truncate => fs::write(&path, &was[..was.len() - 1]).unwrap(),
            Harm::Flip => self.world.s3.flip_a_bit(&World::object(key)),
            Harm::Swap => {
                fs::write(&path, &other_was).unwrap();
                fs::write(&other, &was).unwrap();
            }
        }
        move || {
            fs::write(path, was).unwrap();
            fs::write(other, other_was).unwrap();
        }
    }

    fn verify(&self) -> Ended {
        self.json(&["verify", "--backup", &self.backup_id])
    }

    fn drill(&self) -> Ended {
        self.json(&["drill", "--backup", &self.backup_id])
    }

    fn json(&self, arguments: &[&str]) -> Ended {
        self.world.program(&[&["--output", "json"], arguments].concat()).run()
    }

    fn states(&self) -> Vec<String> {
        let keys = self.world.keys(&format!("certificates/{}/", self.backup_id));
        let state = |key: &String| key.rsplit('.').nth(1).unwrap().to_owned();
        let states = keys.iter().map(state);
        states.filter(|state| state != "started").collect()
    }

    /// Every harm to one object: both notice, both name it, and neither once it is put right.
    fn every_harm(&self, key: &str, other: &str) {
        for harm in HARMS {
            let certificates = self.states().len();
            let mend = self.harm(harm, key, other);
            let verified = self.verify().expect(5).json();
            assert_eq!(verified["outcome"], "damaged");
            assert!(
                named(&verified["defects"], "key").contains(&key.to_owned()),
                "{harm:?} {key}: {verified}"
            );
            let certificate = self.drill().expect(3).json();
            assert_eq!(certificate["verdict"], "failed", "{harm:?} {key}: {certificate}");
            let damaged = &certificate["damaged_objects"];
            assert!(
                damaged.as_array().unwrap().contains(&key.into()),
                "{harm:?} {key}: {certificate}"
            );
            assert!(
                certificate["reasons"].to_string().contains(key),
                "{harm:?} {key}: {certificate}"
            );
            assert_eq!(self.states().len(), certificates + 1, "the certificate is kept");
            mend();
        }
        assert!(self.states().iter().all(|state| state == "failed"));
        self.verify().expect(0);
        self.drill().expect(0);
    }
}

fn named(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whatever_happens_to_a_chunk_of_rows_is_noticed_and_named_with_its_table() {
    let ground = Ground::new();
    ground.every_harm(&ground.data, &ground.other_data);
    let mend = ground.harm(Harm::Flip, &ground.data, &ground.other_data);
    let verified = ground.verify().expect(5).json()["defects"][0]["touched"].to_string();
    let certificate = ground.drill().expect(3).stdout;
    assert!(verified.contains("large") && !verified.contains("small"), "{verified}");
    assert!(
        certificate.contains(r#"in it lie: table \"public\".\"large\" of database shop"#),
        "{certificate}"
    );
    mend();
}

/// Another row in a valid frame of the same sizes: neither zstd nor a length tells, and the count of rows neither.
#[test]
fn a_well_formed_object_of_the_right_size_is_noticed_too() {
    let world = World::start();
    world.source_sql("CREATE TABLE tiny AS SELECT 'original'::text AS text");
    let backup = world.read_backup(&world.back_up());
    world.mark_targets();
    let key = &backup.chunks[backup.databases[0].tables[0].segments[0].chunk as usize].key;
    let was = world.s3.read(&World::object(key));
    assert_eq!(zstd::decode_all(was.as_slice()).unwrap(), b"original\n");
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor
        .set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))
        .unwrap();
    let replaced = compressor.compress(b"replaced\n").unwrap();
    assert_eq!(replaced.len(), was.len());
    world.s3.overwrite(&World::object(key), &replaced);
    let verified = world.program(&["verify"]).run().expect(5);
    assert!(verified.stdout.contains(key), "{}", verified.stdout);
    let drilled = world.program(&["drill"]).run().expect(3);
    assert!(
        drilled.stdout.contains(&format!("{key} is damaged")),
        "{}",
        drilled.stdout
    );
}

#[test]
fn whatever_happens_to_the_schema_archive_is_noticed_and_named() {
    let ground = Ground::new();
    ground.every_harm(&ground.archive, &ground.data);
}

#[test]
fn whatever_happens_to_the_index_is_noticed_and_named() {
    let ground = Ground::new();
    ground.every_harm(&ground.index, &ground.older_index);
}

#[test]
fn whatever_happens_to_the_root_is_noticed_and_named() {
    let ground = Ground::new();
    for harm in [Harm::Truncate, Harm::Flip, Harm::Swap] {
        let mend = ground.harm(harm, &ground.root, &ground.older_root);
        let verified = ground.verify().expect(5).json();
        assert_eq!(named(&verified["defects"], "key"), [ground.root.as_str()], "{harm:?}");
        let all = ground.json(&["verify", "--all"]).expect(5).json();
        assert!(named(&all["defects"], "key").contains(&ground.root), "{harm:?}: {all}");
        for which in [ground.backup_id.as_str(), "latest"] {
            let certificate = ground.json(&["drill", "--backup", which]).expect(3).json();
            assert_eq!(certificate["verdict"], "failed", "{harm:?} {which}: {certificate}");
            assert_eq!(certificate["backup_id"], ground.backup_id.as_str(), "{harm:?} {which}");
            assert_eq!(
                certificate["damaged_objects"][0],
                ground.root.as_str(),
                "{harm:?} {which}"
            );
        }
        let latest = ground.json(&["verify"]).expect(5).json();
        assert!(
            named(&latest["defects"], "key").contains(&ground.root),
            "{harm:?}: {latest}"
        );
        mend();
    }
    ground.verify().expect(0);
    ground.drill().expect(0);
}

#[test]
fn a_repository_whose_roots_are_all_gone_is_not_sound() {
    let ground = Ground::new();
    for root in [&ground.root, &ground.older_root] {
        ground.world.s3.remove(&World::object(root));
    }
    for arguments in [&["verify", "--all"][..], &["verify"], &["drill"]] {
        let ended = ground.json(arguments).expect(1);
        assert!(ended.stderr.contains("holds no backup"), "{}", ended.stderr);
    }
}

/// A backup without a root is none, so this is no damage of one: but whoever asks for it is told what is gone.
#[test]
fn a_root_that_is_gone_is_named_and_never_certified() {
    let ground = Ground::new();
    let _mend = ground.harm(Harm::Delete, &ground.root, &ground.older_root);
    for ended in [ground.verify().expect(1), ground.drill().expect(1)] {
        assert!(ended.stderr.contains(&ground.root), "{}", ended.stderr);
    }
    assert!(ground.states().is_empty());
}

#[test]
fn a_damaged_root_of_an_old_backup_does_not_stand_in_the_way_of_the_newest() {
    let ground = Ground::new();
    let mend = ground.harm(Harm::Flip, &ground.older_root, &ground.data);
    ground.json(&["verify"]).expect(0);
    let into = ground.world.target.dsn(ground.world.target.superuser(), "again");
    ground
        .world
        .program(&["restore", "--into", &into, "--create-database"])
        .env("PGPASSWORD", ground.world.target.password())
        .run()
        .ok();
    // Which server made it is not known, so that no target is known not to be that one: nothing is wiped.
    let certificate = ground.drill().expect(4).json();
    assert_eq!(certificate["cause"], "target_absent", "{certificate}");
    assert!(
        certificate["summary"].as_str().unwrap().contains(&ground.older_root),
        "{certificate}"
    );
    assert_eq!(
        certificate["damaged_objects"],
        Value::Array(Vec::new()),
        "it is not this backup's"
    );
    mend();
    ground.drill().expect(0);
}

/// Damage that `find` makes known heals with the next backup, which stores the same contents under another key.
fn heals_after(find: impl FnOnce(&Ground)) {
    let ground = Ground::new();
    let _mend = ground.harm(Harm::Flip, &ground.data, &ground.other_data);
    find(&ground);
    let backup = ground.json(&["backup"]).expect(0).json();
    assert_eq!(backup["stats"]["healed_chunks"], 1, "{backup}");
    let healed = ground.world.read_backup(backup["backup_id"].as_str().unwrap());
    let keys: Vec<&str> = healed.chunks.iter().map(|chunk| chunk.key.as_str()).collect();
    let contents = |key: &str| key.split('.').next().unwrap().to_owned();
    let is_again = |key: &&&str| contents(key) == contents(&ground.data);
    assert_eq!(keys.iter().filter(is_again).count(), 1, "{keys:?}");
    assert!(!keys.contains(&ground.data.as_str()), "{keys:?}");
    ground.json(&["verify"]).expect(0);
    let certificate = ground.json(&["drill"]).expect(0).json();
    assert_eq!(certificate["backup_id"], backup["backup_id"]);
    assert_eq!(certificate["verdict"], "certified");
    // The one after it goes on with the healed one.
    let next = ground.json(&["backup"]).expect(0).json();
    assert_eq!(
        (&next["stats"]["healed_chunks"], &next["predecessor"]),
        (&0.into(), &backup["backup_id"])
    );
    assert_eq!(
        ground.verify().expect(5).json()["damage_record"],
        "already_known",
        "the old one stays damaged"
    );
}

#[test]
fn damage_that_a_verification_found_heals_with_the_next_backup() {
    heals_after(|ground| {
        let report = ground.verify().expect(5).json();
        assert!(report["damage_record"].to_string().contains("damage/"), "{report}");
    });
}

#[test]
fn damage_that_a_drill_found_heals_with_the_next_backup() {
    heals_after(|ground| drop(ground.drill().expect(3)));
}

/// Whatever of the backup before it is damaged or gone, and whether anybody knows or not.
#[test]
fn a_backup_after_any_damage_that_shows_is_sound() {
    let ground = Ground::new();
    for (key, harm) in [
        (&ground.index, Harm::Flip),
        (&ground.archive, Harm::Delete),
        (&ground.data, Harm::Truncate),
        (&ground.root, Harm::Flip),
    ] {
        let mend = ground.harm(harm, key, &ground.older_root);
        ground.json(&["backup"]).expect(0);
        ground.json(&["verify"]).expect(0);
        mend();
    }
    ground.json(&["drill"]).expect(0);
}
