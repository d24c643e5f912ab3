//! A bucket with Object Lock: what is locked and for how long, what a thief of the credentials cannot take away, and what
//! `check` says of a bucket that would lose backups by itself.

use jiff::{SignedDuration, Timestamp};

use crate::support::moto::Moto;
use crate::support::world::{PREFIX, mark_disposable};
use crate::support::{Program, World, wait};

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
    assert_eq!(drilled.json()["verdict"], "certified", "{}", drilled.stdout);
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

#[test]
fn check_names_what_the_bucket_would_do_to_backups() {
    let ground = Ground::new();
    let checked = ground.program(&["check"]).run().printed();
    assert!(checked.contains("keeps versions"), "{checked}");
    assert!(checked.contains("keeps what it is told to retain"), "{checked}");
    let lifecycle = |prefix: &str| {
        let rule = format!(
            "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>\
             <Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>"
        );
        let put = ground.moto.send("PUT", "?lifecycle", &[], &rule);
        assert_eq!(put.code, 200, "{put:?}");
        ground.program(&["check"]).run()
    };
    let elsewhere = lifecycle("logs/").printed();
    assert!(!elsewhere.contains("tidy"), "{elsewhere}");
    let refused = lifecycle(&format!("{PREFIX}/chunks/")).expect(1).printed();
    assert!(
        refused.contains("the lifecycle rule 'tidy' deletes 'chunks/' by age: remove it"),
        "{refused}"
    );
}
