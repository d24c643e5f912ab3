//! The policies of `docs/policies`: their places are those of the layout, and they grant what the program needs and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kubebackup::demo::{Identity, ObjectLock};
use kubebackup::repository::layout;
use serde_json::Value;

use crate::support::{World, WorldOptions};

/// The bucket and prefix that the files name.
const BUCKET: &str = "arn:aws:s3:::my-backups";
const PREFIX: &str = "app-test/";

/// The one key that lies below no prefix.
const REPOSITORY: &str = "repository.json";

fn policy(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies").join(name);
    serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn statements(policy: &Value) -> Vec<&Value> {
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().iter().collect()
}

/// One text or a list of them, as both are written in policies.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        other => panic!("{other} is no text"),
    }
}

/// Beginnings of keys, relative to the repository, for which a policy allows `action`.
fn places(policy: &Value, action: &str) -> BTreeSet<String> {
    statements(policy)
        .into_iter()
        .filter(|statement| {
            statement["Effect"] == "Allow" && texts(&statement["Action"]).iter().any(|one| one == action)
        })
        .flat_map(|statement| texts(&statement["Resource"]))
        .map(|resource| place(&resource))
        .collect()
}

fn place(resource: &str) -> String {
    let below = resource.strip_prefix(&format!("{BUCKET}/{PREFIX}"));
    let below = below.unwrap_or_else(|| panic!("{resource} lies outside {PREFIX}"));
    below.strip_suffix('*').unwrap_or(below).to_owned()
}

fn set<const N: usize>(places: [&str; N]) -> BTreeSet<String> {
    places.map(str::to_owned).into()
}

const AGENTS_AND_PEOPLE: [&str; 5] = [
    "backup-agent.json",
    "restore-agent.json",
    "people.json",
    "retention.json",
    "copy.json",
];

#[test]
fn every_place_in_a_policy_is_one_of_the_layout() {
    let known = set([
        "",
        REPOSITORY,
        layout::CHUNKS,
        layout::MANIFESTS,
        layout::CERTIFICATES,
        layout::DAMAGE,
        layout::LEASES,
        layout::DRIFT,
        layout::HOLDS,
        layout::TOMBSTONES,
        layout::INCOMING,
        layout::ELSEWHERE,
        layout::PROBES,
        layout::CERTIFICATE_PROBES,
    ]);
    for name in AGENTS_AND_PEOPLE {
        for statement in statements(&policy(name)) {
            for resource in texts(&statement["Resource"]) {
                if resource != BUCKET {
                    let place = place(&resource);
                    assert!(known.contains(&place), "{name}: '{place}' is no place of a repository");
                }
            }
        }
    }
}

#[test]
fn both_agents_may_write_what_is_theirs_and_nothing_of_each_other() {
    let (backup, restore, people, retention) = (
        policy("backup-agent.json"),
        policy("restore-agent.json"),
        policy("people.json"),
        policy("retention.json"),
    );
    let put = "s3:PutObject";
    assert_eq!(
        places(&backup, put),
        set([
            REPOSITORY,
            layout::CHUNKS,
            layout::MANIFESTS,
            layout::LEASES,
            layout::PROBES
        ])
    );
    assert_eq!(places(&restore, put), set([layout::CERTIFICATES]));
    assert_eq!(
        places(&people, put),
        set([layout::DAMAGE, layout::DRIFT, layout::HOLDS])
    );
    assert_eq!(places(&retention, put), set([layout::TOMBSTONES]));
    let delete = "s3:DeleteObject";
    assert_eq!(places(&backup, delete), set([layout::PROBES]));
    assert_eq!(places(&restore, delete), set([layout::CERTIFICATE_PROBES]));
    assert_eq!(places(&people, delete), set([]));
    assert_eq!(
        places(&retention, delete),
        set([
            layout::MANIFESTS,
            layout::CHUNKS,
            layout::TOMBSTONES,
            layout::HOLDS,
            layout::DRIFT,
            layout::INCOMING,
            layout::CERTIFICATES,
            layout::ELSEWHERE,
            layout::DAMAGE,
            layout::LEASES,
            layout::PROBES
        ])
    );
    let copy = policy("copy.json");
    assert_eq!(
        places(&copy, put),
        set([
            REPOSITORY,
            layout::CHUNKS,
            layout::MANIFESTS,
            layout::INCOMING,
            layout::HOLDS,
            layout::DRIFT,
            layout::ELSEWHERE,
            layout::PROBES
        ])
    );
    assert_eq!(places(&copy, delete), set([layout::INCOMING, layout::PROBES]));
    let lock = "s3:PutObjectRetention";
    // Who finds a longer lock than it would give has to see that it is one.
    for policy in [&backup, &copy] {
        for action in [lock, "s3:GetObjectRetention"] {
            assert_eq!(
                places(policy, action),
                set([REPOSITORY, layout::CHUNKS, layout::MANIFESTS, layout::PROBES])
            );
        }
    }
    // What `check` asks of a bucket's own settings, from the agent's pod or where copies are made.
    for policy in [&backup, &copy] {
        for action in [
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetBucketVersioning",
            "s3:GetEncryptionConfiguration",
            "s3:GetLifecycleConfiguration",
        ] {
            let asks = |statement: &&Value| texts(&statement["Action"]).iter().any(|one| one == action);
            let all = statements(policy);
            let of_bucket = all.iter().find(|statement| asks(statement)).unwrap();
            assert_eq!(of_bucket["Resource"], BUCKET, "{action}");
        }
    }
    assert_eq!(places(&restore, lock), set([layout::CERTIFICATES]));
    for policy in [&people, &retention] {
        assert_eq!(places(policy, lock), set([]));
    }
    for policy in [&backup, &restore, &people, &retention, &copy] {
        assert_eq!(places(policy, "s3:GetObject"), set([""]));
        let listing = statements(policy)[0];
        assert_eq!(listing["Resource"], BUCKET);
        assert_eq!(listing["Condition"]["StringLike"]["s3:prefix"], format!("{PREFIX}*"));
        assert!(!policy.to_string().contains("s3:*"), "{policy}");
    }
}

#[test]
fn the_bucket_policy_only_denies_and_reaches_everything_in_the_bucket() {
    let policy = policy("bucket.json");
    for statement in statements(&policy) {
        assert_eq!(statement["Effect"], "Deny");
        assert_eq!(statement["Principal"], "*");
        assert!(texts(&statement["Resource"]).contains(&format!("{BUCKET}/*")));
    }
}

/// Someone who may write and delete what a policy of `docs/policies` grants, in a bucket with the documented bucket policy.
pub(crate) fn bearer(name: &str, repository_prefix: &str) -> Identity {
    let may = |action: &str| {
        let places = places(&policy(name), action);
        places
            .iter()
            .map(|place| format!("{repository_prefix}/{place}"))
            .collect()
    };
    Identity {
        access_key: name.to_owned(),
        secret_key: format!("secret of {name}"),
        may_write: may("s3:PutObject"),
        may_delete: may("s3:DeleteObject"),
        may_lock: may("s3:PutObjectRetention"),
        create_only: true,
    }
}

#[test]
fn what_the_policies_grant_is_enough_for_a_backup_its_proof_and_a_verification() {
    let world = World::with(WorldOptions::default());
    let as_bearer_of = |name: &str, arguments: &[&str]| {
        world
            .program(arguments)
            .env("AWS_ACCESS_KEY_ID", name)
            .env("AWS_SECRET_ACCESS_KEY", &format!("secret of {name}"))
    };
    for name in AGENTS_AND_PEOPLE {
        world.s3.controls.admit(bearer(name, crate::support::world::PREFIX));
    }
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");

    for _ in 0..2 {
        as_bearer_of("backup-agent.json", &["backup"]).run().ok();
    }
    world.mark_targets();
    as_bearer_of("restore-agent.json", &["drill"]).run().ok();
    as_bearer_of("people.json", &["verify"]).run().ok();
    as_bearer_of("people.json", &["list"]).run().ok();

    // Only people say that what is missing was meant to go.
    world.source_sql("DROP TABLE t");
    as_bearer_of("backup-agent.json", &["backup"]).run().ok();
    let accept = ["accept-drift", "--reason", "it was meant"];
    for agent in ["backup-agent.json", "restore-agent.json"] {
        assert_ne!(as_bearer_of(agent, &accept).run().code(), Some(0), "{agent}");
    }
    as_bearer_of("people.json", &accept).run().ok();

    // And not for the work of the others: the layout keeps them apart.
    assert_ne!(as_bearer_of("restore-agent.json", &["backup"]).run().code(), Some(0));
    assert_ne!(as_bearer_of("backup-agent.json", &["drill"]).run().code(), Some(0));
    assert_ne!(as_bearer_of("people.json", &["backup"]).run().code(), Some(0));
}

/// A second run of `copy` knows nothing of the locks that the first one gave: what it reuses is locked again.
#[test]
fn where_locks_are_set_the_same_policies_are_enough_for_backups_certificates_and_copies() {
    let mut world = World::with(WorldOptions::default());
    world.s3.controls.set_object_lock(ObjectLock::Kept);
    let more = format!(
        "{}copies:\n  - {{name: offsite, bucket: {}, prefix: offsite, endpoint: {}, region: us-east-1, path_style: true, \
         lock_mode: governance, lock_days: 30}}\n",
        crate::copies::SMALL_CHUNKS,
        crate::support::s3::BUCKET,
        world.s3.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    let prefix = crate::support::world::PREFIX;
    for (name, prefix) in [
        ("backup-agent.json", prefix),
        ("restore-agent.json", prefix),
        ("copy.json", "offsite"),
    ] {
        world.s3.controls.admit(bearer(name, prefix));
    }
    let as_bearer_of = |name: &str, verb: &str| {
        let program = world.program(&[verb]).env("AWS_ACCESS_KEY_ID", name);
        program
            .env("AWS_SECRET_ACCESS_KEY", &format!("secret of {name}"))
            .env("KUBEBACKUP_REPOSITORY_LOCK_MODE", "governance")
            .env("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "30")
    };
    let asked = |name: &str, operation: &str, beginning: &str| {
        let requests = world.s3.controls.requests();
        let own = requests.iter().filter(|request| request.access_key == name);
        own.filter(|request| request.operation == operation && request.key.starts_with(beginning))
            .filter(|request| operation != "PutObject" || request.header("x-amz-object-lock-mode").is_some())
            .count()
    };
    world.source_sql(
        "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i; CREATE TABLE u AS SELECT 1 AS one",
    );
    as_bearer_of("backup-agent.json", "backup").run().ok();
    assert!(asked("backup-agent.json", "PutObject", &format!("{prefix}/chunks/")) > 0);
    world.mark_targets();
    as_bearer_of("restore-agent.json", "drill").run().ok();
    assert!(asked("restore-agent.json", "PutObject", &format!("{prefix}/certificates/")) > 0);

    // Who may write there and not lock brings nothing.
    world.s3.controls.admit(Identity {
        may_lock: Vec::new(),
        ..bearer("copy.json", "offsite")
    });
    as_bearer_of("copy.json", "copy").run().expect(1);
    assert_eq!(world.s3.keys("offsite/manifests/"), Vec::<String>::new());

    world.s3.controls.admit(bearer("copy.json", "offsite"));
    as_bearer_of("copy.json", "copy").run().ok();
    assert!(asked("copy.json", "PutObject", "offsite/manifests/") > 0);
    assert_eq!(asked("copy.json", "PutObjectRetention", "offsite/chunks/"), 0);
    world.source_sql("INSERT INTO u VALUES (2)");
    as_bearer_of("backup-agent.json", "backup").run().ok();
    as_bearer_of("copy.json", "copy").run().ok();
    assert_eq!(world.s3.keys("offsite/manifests/").len(), 2);
    assert!(asked("copy.json", "PutObjectRetention", "offsite/chunks/") > 0);

    // Locks that last longer than is asked for by now cannot be shortened, and are no trouble.
    world.write_settings("settings.yaml", &more.replace("lock_days: 30", "lock_days: 1"));
    world.source_sql("INSERT INTO u VALUES (3)");
    as_bearer_of("backup-agent.json", "backup").run().ok();
    let before = asked("copy.json", "PutObjectRetention", "offsite/chunks/");
    as_bearer_of("copy.json", "copy").run().ok();
    assert!(asked("copy.json", "PutObjectRetention", "offsite/chunks/") > before);
    assert_eq!(world.s3.keys("offsite/manifests/").len(), 3);

    // What a check tries in the only place where it may write has to go again.
    as_bearer_of("restore-agent.json", "check").run();
    let probes = format!("{prefix}/certificates/probes/");
    let requests = world.s3.controls.requests();
    let put = requests.iter().filter(|request| request.operation == "PutObject");
    let probes: Vec<_> = put.filter(|request| request.key.starts_with(&probes)).collect();
    assert!(!probes.is_empty());
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    for probe in probes {
        let until = probe.header("x-amz-object-lock-retain-until-date");
        let until: Option<jiff::Timestamp> = until.map(|until| until.parse().unwrap());
        assert!(until.is_none_or(|until| until < soon), "{}: {until:?}", probe.key);
    }
}
