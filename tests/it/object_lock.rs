//! A bucket with Object Lock: what is locked and for how long, what a thief of the credentials cannot take away, and what
//! `check` says of a bucket that would lose backups by itself.

use jiff::{SignedDuration, Timestamp};

use crate::support::moto::Moto;
use crate::support::world::{PREFIX, mark_disposable};
use crate::support::{Program, World, WorldOptions, wait};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A world whose store keeps versions and locks.
struct Ground {
    world: World,
    moto: Moto,
}

impl Ground {
    fn new() -> Self {
        let world = World::start();
        world
            .source_sql("CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS text FROM generate_series(1, 20000) i");
        Self {
            world,
            moto: Moto::start(),
        }
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let mut program = self.world.program(arguments);
        for (name, value) in self.moto.variables() {
            program = program.env(name, &value);
        }
        program
    }

    fn locking(&self, arguments: &[&str]) -> Program {
        self.program(arguments)
            .env("KUBEBACKUP_REPOSITORY_LOCK_MODE", "governance")
            .env("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "30")
    }

    /// Keys below the repository's prefix, as the bucket knows them.
    fn keys(&self, below: &str) -> Vec<String> {
        self.moto.keys(&format!("{PREFIX}/{below}"))
    }

    fn mark_target(&self) {
        let repository = self
            .moto
            .send("GET", &format!("/{PREFIX}/repository.json"), &[], "")
            .body;
        let repository: serde_json::Value = serde_json::from_str(&repository).unwrap();
        let id = repository["repository_id"].as_str().unwrap();
        mark_disposable(&self.world.target, &self.world.restored(), id);
    }
}

#[test]
fn what_a_backup_needs_is_locked_and_what_must_go_is_not() {
    let ground = Ground::new();
    let before = Timestamp::now();
    ground.locking(&["backup"]).run().ok();
    ground.mark_target();
    let drilled = ground.locking(&["--output", "json", "drill"]).run().ok().json();
    assert_eq!(drilled["verdict"], "certified", "{drilled}");
    let keys = ground.keys("");
    for needed in ["chunks/", "manifests/", "certificates/2", "repository.json"] {
        assert!(
            keys.iter().any(|key| key.starts_with(&format!("{PREFIX}/{needed}"))),
            "{needed}: {keys:?}"
        );
    }
    for key in keys {
        match ground.moto.retention(&key) {
            Some((mode, until)) => {
                assert!(!key.contains("/leases/") && !key.contains("/probes/"), "{key}");
                assert_eq!(mode, "governance");
                let (least, most) = (before + DAY * 37, Timestamp::now() + DAY * 38);
                assert!(least <= until && until <= most, "{key} is locked until {until}");
            }
            None => assert!(
                key.contains("/leases/") || key.contains("/probes/"),
                "{key} is not locked"
            ),
        }
    }
    let chunk = &ground.keys("chunks/")[0];
    let version = &ground.moto.versions(chunk)[0];
    let refused = ground
        .moto
        .send("DELETE", &format!("/{chunk}?versionId={version}"), &[], "");
    assert_eq!(refused.code, 403, "{refused:?}");
}

#[test]
fn overwritten_and_deleted_objects_are_had_back_from_their_older_versions() {
    let ground = Ground::new();
    ground.locking(&["backup"]).run().ok();
    ground.mark_target();
    let chunks = ground.keys("chunks/");
    assert!(chunks.len() >= 3, "{chunks:?}");
    let root = ground.keys("manifests/").remove(0);
    // What a thief of the backup agent's credentials can do.
    for (number, key) in chunks.iter().chain([&root]).enumerate() {
        let done = match number % 2 {
            0 => ground.moto.send("PUT", &format!("/{key}"), &[], "ransom"),
            _ if *key == root => ground.moto.send("PUT", &format!("/{key}"), &[], "{}"),
            _ => ground.moto.send("DELETE", &format!("/{key}"), &[], ""),
        };
        assert!(done.code < 300, "{done:?}");
    }
    let verified = ground.program(&["verify", "--all"]).run().expect(5).printed();
    assert!(verified.contains("chunks/"), "{verified}");
    let drilled = ground.program(&["--output", "json", "drill"]).run().ok();
    assert!(
        drilled.stderr.contains("an older version is what was written"),
        "{}",
        drilled.stderr
    );
    let certificate = drilled.json();
    assert_eq!(certificate["verdict"], "certified", "{certificate}");
    let older: Vec<String> = certificate["older_versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| format!("{PREFIX}/{}", key.as_str().unwrap()))
        .collect();
    let mut expected = [chunks, vec![root]].concat();
    expected.sort();
    assert_eq!(older, expected);
    let said = format!(
        "{} objects were overwritten or hidden, and read from older versions",
        older.len()
    );
    assert!(
        certificate["summary"].as_str().unwrap().contains(&said),
        "{certificate}"
    );
}

#[test]
fn what_lies_below_more_versions_than_one_page_is_had_back() {
    let ground = Ground::new();
    ground.locking(&["backup"]).run().ok();
    ground.mark_target();
    let chunk = ground.keys("chunks/").remove(0);
    let size = ground.moto.send("GET", &format!("/{chunk}"), &[], "").head;
    let size = size
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let flood = "x".repeat(size.trim().parse().unwrap());
    // None of them has its size, except the first, which is looked at and is not it.
    ground.moto.send("PUT", &format!("/{chunk}"), &[], &flood);
    for number in 0..1100 {
        ground
            .moto
            .send("PUT", &format!("/{chunk}"), &[], &format!("ransom {number}"));
    }
    let page = ground
        .moto
        .send("GET", &format!("?versions&prefix={chunk}"), &[], "")
        .body;
    assert!(page.contains("<IsTruncated>true</IsTruncated>"), "{}", page.len());
    let certificate = ground.locking(&["--output", "json", "drill"]).run().ok().json();
    assert_eq!(certificate["verdict"], "certified", "{certificate}");
    let key = chunk.strip_prefix(&format!("{PREFIX}/")).unwrap();
    assert_eq!(certificate["older_versions"], serde_json::json!([key]));
}

#[test]
fn a_manifest_that_somebody_hid_stops_the_prune_until_its_delete_marker_is_gone() {
    let ground = Ground::new();
    ground.locking(&["backup"]).run().ok();
    let manifest = ground.keys("manifests/").remove(0);
    let hidden = ground.moto.send("DELETE", &format!("/{manifest}"), &[], "");
    assert!(hidden.code < 300, "{hidden:?}");
    let chunks = ground.keys("chunks/");
    let stopped = ground.locking(&["prune"]).run().expect(5).printed();
    assert!(stopped.contains("hidden by a deletion that was no expiry"), "{stopped}");
    assert_eq!(ground.keys("chunks/"), chunks);
    let marker = ground.moto.delete_markers(&manifest).remove(0);
    ground
        .moto
        .send("DELETE", &format!("/{manifest}?versionId={marker}"), &[], "");
    let pruned = ground.locking(&["--output", "json", "prune"]).run().ok().json();
    assert_eq!(
        (&pruned["hidden_seen"], &pruned["manifests"]),
        (&true.into(), &1.into())
    );
}

/// What retention lets go is hidden and not gone while its lock lasts, and whoever looks for it there finds it.
#[test]
fn a_backup_that_expires_in_a_locked_bucket_is_hidden_and_its_versions_stay() {
    let mut ground = Ground::new();
    let mut certified = Vec::new();
    for number in 0..3 {
        let backed_up = ground.locking(&["--output", "json", "backup"]).run().ok().json();
        if number == 0 {
            ground.mark_target();
        }
        ground.locking(&["drill"]).run().ok();
        certified.push(backed_up["backup_id"].as_str().unwrap().to_owned());
        let begun = Timestamp::now().as_second();
        wait::until("the next second", || Timestamp::now().as_second() > begun);
        ground.world.source_sql("UPDATE orders SET text = md5(text)");
    }
    let rules = ("KUBEBACKUP_RETENTION_KEEP_LAST", "1");
    let expired = ground
        .locking(&["--output", "json", "expire"])
        .envs([rules])
        .run()
        .ok()
        .json();
    assert_eq!(expired["expired"], serde_json::json!([certified[0]]), "{expired}");
    let manifest = format!("{PREFIX}/manifests/{}.json", certified[0]);
    assert!(!ground.keys("manifests/").contains(&manifest));
    let before = ground.keys("chunks/");
    ground.moto.go_forward(std::time::Duration::from_hours(3 * 24));
    let pruned = ground.locking(&["--output", "json", "prune"]).run().ok().json();
    let after = ground.keys("chunks/");
    let gone: Vec<&String> = before.iter().filter(|key| !after.contains(key)).collect();
    assert_eq!(pruned["deleted"]["objects"], gone.len(), "{pruned}");
    assert_eq!(
        (&pruned["hidden_seen"], &pruned["retained"]["objects"]),
        (&true.into(), &0.into()),
        "{pruned}"
    );
    assert!(gone.len() >= 2, "{before:?} {after:?}");
    for key in gone.iter().copied().chain([&manifest]) {
        let versions = ground.moto.versions(key);
        assert_eq!((versions.len(), ground.moto.delete_markers(key).len()), (1, 1), "{key}");
        let path = format!("/{key}?versionId={}", versions[0]);
        assert_eq!(ground.moto.send("DELETE", &path, &[], "").code, 403, "{key}");
    }
    ground.locking(&["verify", "--all"]).run().ok();
    ground.locking(&["drill", "--backup", &certified[1]]).run().ok();
    // Whoever removes the deletions has the backup back.
    for key in gone.iter().copied().chain([&manifest]) {
        let marker = ground.moto.delete_markers(key).remove(0);
        ground
            .moto
            .send("DELETE", &format!("/{key}?versionId={marker}"), &[], "");
    }
    ground.locking(&["drill", "--backup", &certified[0]]).run().ok();
}

#[test]
fn a_lock_of_compliance_is_lifted_by_nobody_and_one_of_governance_by_who_has_the_right() {
    for (mode, code) in [("compliance", 403), ("governance", 204)] {
        let ground = Ground::new();
        let backup = ground.locking(&["backup"]);
        backup.env("KUBEBACKUP_REPOSITORY_LOCK_MODE", mode).run().ok();
        let keys = [ground.keys("chunks/"), ground.keys("manifests/")].concat();
        assert!(keys.len() >= 3, "{keys:?}");
        for key in &keys {
            assert_eq!(ground.moto.retention(key).unwrap().0, mode, "{key}");
            let version = ground.moto.versions(key).remove(0);
            let bypass = [("x-amz-bypass-governance-retention", "true")];
            let path = format!("/{key}?versionId={version}");
            assert_eq!(
                ground.moto.send("DELETE", &path, &bypass, "").code,
                code,
                "{mode} {key}"
            );
        }
    }
}

#[test]
fn a_second_backup_asks_for_no_lock_again_while_the_first_lasts() {
    let ground = Ground::new();
    ground.locking(&["backup"]).run().ok();
    let begun = Timestamp::now().as_second();
    wait::until("the next second", || Timestamp::now().as_second() > begun);
    let chunk = ground.keys("chunks/").remove(0);
    let locked = ground.moto.retention(&chunk).unwrap();
    let second = ground.locking(&["--output", "json", "backup"]).run().ok().json();
    assert!(second["stats"]["reused_chunks"].as_u64().unwrap() > 0, "{second}");
    assert_eq!(ground.moto.retention(&chunk).unwrap(), locked);
    // One that wants a longer lock than there is gets it.
    wait::until("the next second", || Timestamp::now().as_second() > begun + 1);
    let longer = ground.locking(&["--output", "json", "backup"]);
    let third = longer.env("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "60").run().ok().json();
    let keys = ground.keys("chunks/");
    let is_long = |key: &&String| ground.moto.retention(key).unwrap().1 > Timestamp::now() + DAY * 60;
    let long = keys.iter().filter(is_long).count();
    // All that it refers to; the indexes of the others keep what they have.
    assert_eq!(Some(long as u64), third["stats"]["chunks"].as_u64(), "{third}");
    assert!(keys.len() > long);
}

#[test]
fn a_store_that_forgets_locks_is_refused_before_anything_is_dumped() {
    let world = World::start();
    let refused = world
        .program(&["backup"])
        .env("KUBEBACKUP_REPOSITORY_LOCK_MODE", "compliance")
        .env("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "30")
        .run()
        .expect(2);
    assert!(
        refused
            .stderr
            .contains("lock_days is set, and the bucket does not keep"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.keys("chunks/"), Vec::<String>::new());
}

#[test]
fn every_upload_asks_for_the_encryption_of_the_settings() {
    let ground = Ground::new();
    let backup = ground
        .program(&["backup"])
        .env("KUBEBACKUP_REPOSITORY_ENCRYPTION", "sse-kms");
    backup.env("KUBEBACKUP_REPOSITORY_KMS_KEY", "alias/backups").run().ok();
    for key in ground.keys("chunks/").iter().chain(&ground.keys("manifests/")) {
        let head = ground.moto.send("HEAD", &format!("/{key}"), &[], "").head;
        assert!(head.contains("x-amz-server-side-encryption: aws:kms"), "{key}: {head}");
        assert!(head.contains("alias/backups"), "{key}: {head}");
    }
}

/// Whatever it is: chunks, manifests, leases, probes, markers, certificates, holds and their ends, tombstones.
#[test]
fn no_request_that_writes_goes_without_the_encryption_of_the_settings() {
    let world = World::with(WorldOptions {
        settings: "retention: {keep_last: 1, keep_certified: 1}\n",
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i");
    for (setting, algorithm) in [("sse-s3", "AES256"), ("sse-kms", "aws:kms")] {
        let before = world.s3.controls.requests().len();
        let encrypting = |arguments: &[&str]| {
            let program = world.program(arguments);
            program.env("KUBEBACKUP_REPOSITORY_ENCRYPTION", setting).run().ok()
        };
        let backup = encrypting(&["--output", "json", "backup"]).json();
        let backup_id = backup["backup_id"].as_str().unwrap();
        world.mark_targets();
        encrypting(&["drill"]);
        encrypting(&["hold", backup_id, "--reason", "audit"]);
        encrypting(&["unhold", backup_id]);
        encrypting(&["expire"]);
        let requests = world.s3.controls.requests();
        let puts = requests[before..]
            .iter()
            .filter(|request| request.operation == "PutObject");
        let puts: Vec<(&str, Option<&str>)> = puts
            .map(|put| (put.key.as_str(), put.header("x-amz-server-side-encryption")))
            .collect();
        assert!(puts.len() >= 6, "{puts:?}");
        assert!(
            puts.iter().all(|(_, given)| *given == Some(algorithm)),
            "{setting}: {puts:?}"
        );
        let holds = puts.iter().filter(|(key, _)| key.contains("/holds/"));
        assert_eq!(holds.count(), 2, "{puts:?}");
    }
    assert!(!world.keys("tombstones/").is_empty(), "the first one has gone");
}

#[test]
fn check_names_what_the_bucket_would_do_to_backups() {
    let ground = Ground::new();
    let checked = ground.program(&["check"]).run().printed();
    assert!(checked.contains("keeps versions"), "{checked}");
    assert!(checked.contains("keeps what it is told to retain"), "{checked}");
    let lifecycle = |prefix: &str, action: &str| {
        let rule = format!(
            "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>\
             {action}</Rule></LifecycleConfiguration>"
        );
        let put = ground.moto.send("PUT", "?lifecycle", &[], &rule);
        assert_eq!(put.code, 200, "{put:?}");
        ground.program(&["check"]).run()
    };
    let expires = "<Expiration><Days>30</Days></Expiration>";
    let elsewhere = lifecycle("logs/", expires).printed();
    assert!(!elsewhere.contains("tidy"), "{elsewhere}");
    let moves = "<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>";
    let chunks = format!("{PREFIX}/chunks/");
    let refused = lifecycle(&chunks, moves).expect(1).printed();
    assert!(
        refused.contains("the lifecycle rule 'tidy' moves 'chunks/' to another storage class"),
        "{refused}"
    );
    let refused = lifecycle(&chunks, expires).expect(1).printed();
    assert!(
        refused.contains("the lifecycle rule 'tidy' deletes 'chunks/' by age: remove it"),
        "{refused}"
    );
}
