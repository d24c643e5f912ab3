//! Stores that are full, read-only, of another name, without a bucket, or not there at all: what the operator is told, and
//! that nothing was harmed.

use kubebackup::demo::Identity;
use nix::sys::signal::Signal;

use super::{Ground, QUICK, assert_clear};
use crate::support::agents::AgentProcess;
use crate::support::moto::Moto;
use crate::support::privilege::OwnHosts;
use crate::support::s3_proxy::{Fault, Rule, S3Proxy, refusals};
use crate::support::{World, wait};

/// What the store says, to which uploads, and the words that tell what to do.
const TOLD: [(Fault, &str, &[&str]); 8] = [
    (
        refusals::STORAGE_FULL,
        "it/chunks",
        &["store is full", "chunks/", "docs/retention.md"],
    ),
    (
        refusals::QUOTA_EXCEEDED,
        "it/manifests",
        &["store is full", "manifests/", "quota"],
    ),
    (refusals::BUCKET_QUOTA, "it/chunks", &["store is full", "quota"]),
    (
        refusals::SKEWED,
        "",
        &["this machine's clock is", "ahead of the store's", "clock"],
    ),
    (refusals::EXPIRED_TOKEN, "", &["ExpiredToken", "AWS_ACCESS_KEY_ID"]),
    (
        refusals::NO_SUCH_BUCKET,
        "",
        &[
            "no such bucket",
            "bucket 'backups' at http://127.0.0.1",
            "repository.bucket",
        ],
    ),
    (
        refusals::NOT_A_STORE,
        "",
        &["status 404", "http://127.0.0.1", "repository.endpoint"],
    ),
    (
        refusals::DENIED,
        "it/manifests",
        &["access denied", "manifests/", "bucket's policy"],
    ),
];

#[test]
fn what_a_store_refuses_for_is_told_with_its_object_and_what_to_do() {
    let ground = Ground::new();
    for (fault, key, words) in TOLD {
        ground.proxy.clear();
        ground.proxy.script(Rule::any(key, fault).always());
        ground.change();
        let before = ground.manifests();
        let ended = ground
            .program(&["backup"])
            .env("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1")
            .run()
            .expect(1);
        assert_clear(&ended, &fault.to_string());
        for word in words {
            assert!(ended.stderr.contains(word), "{fault}: no '{word}' in\n{}", ended.stderr);
        }
        assert_eq!(ground.manifests(), before, "{fault}");
    }
    ground.proxy.clear();
    ground.run(&["backup"]).ok();
    ground.assert_sound();
}

/// A full store takes nothing and gives everything.
#[test]
fn a_full_bucket_is_listed_verified_and_restored_from_and_its_backup_goes_on_once_there_is_room() {
    let ground = Ground::new();
    ground
        .proxy
        .script(Rule::first("PutObject", "", refusals::STORAGE_FULL).always());
    ground.run(&["list"]).ok();
    ground.run(&["verify", "--all"]).ok();
    let into = ground.world.target.dsn(ground.world.target.superuser(), "again");
    let restore = ground.program(&["restore", "--into", &into, "--create-database"]);
    restore.env("PGPASSWORD", ground.world.target.password()).run().ok();
    let drilled = ground.run(&["drill"]).expect(1);
    assert_clear(&drilled, "drill");
    assert!(drilled.stderr.contains("store is full"), "{}", drilled.stderr);
    ground.change();
    ground.run(&["backup"]).expect(1);
    assert_eq!(ground.manifests().len(), 1);
    ground.proxy.clear();
    ground.run(&["backup"]).ok();
    ground.assert_sound();
    ground.assert_restorable();
}

#[test]
fn credentials_that_may_only_read_show_everything_and_neither_write_nor_destroy() {
    let ground = Ground::new();
    let reader = [
        ("AWS_ACCESS_KEY_ID", "reader"),
        ("AWS_SECRET_ACCESS_KEY", "reader-secret"),
    ];
    ground.world.s3.controls.admit(Identity {
        may_write: Vec::new(),
        may_delete: Vec::new(),
        ..Identity::full(reader[0].1, reader[1].1)
    });
    let run = |arguments: &[&str]| ground.program(arguments).envs(reader).run();
    for arguments in [&["list"][..], &["verify", "--all"], &["show", &ground.first]] {
        run(arguments).ok();
    }
    ground
        .world
        .restored_sql("CREATE TABLE of_the_owner AS SELECT 1 AS one");
    let before = ground.world.keys("");
    for (verb, code) in [("backup", 1), ("drill", 4)] {
        let ended = run(&[verb]).expect(code);
        assert_clear(&ended, verb);
        assert!(
            ended.stderr.contains("access denied") && ended.stderr.contains("policy"),
            "{}",
            ended.stderr
        );
        assert!(!ended.printed().contains(reader[1].1), "{verb}");
    }
    assert_eq!(ground.world.keys(""), before);
    assert_eq!(
        ground.world.restored_sql("TABLE of_the_owner"),
        "1",
        "nothing was wiped"
    );
}

#[test]
fn an_endpoint_whose_name_means_nothing_is_named_and_ends_within_the_attempts() {
    let ground = Ground::new();
    let nowhere = ("KUBEBACKUP_REPOSITORY_ENDPOINT", "http://store.invalid:9000");
    for arguments in [&["backup"][..], &["list"], &["drill"]] {
        let ended = ground.program(arguments).envs([nowhere]).run().expect(1);
        assert_clear(&ended, "an unknown name");
        for word in ["http://store.invalid:9000", "dns error", "repository.endpoint"] {
            assert!(ended.stderr.contains(word), "no '{word}' in\n{}", ended.stderr);
        }
    }
}

/// Refused connections, as while a service has no endpoint yet: the run goes on where the store is there in time.
#[test]
fn a_store_that_comes_up_while_a_backup_asks_for_it_is_used() {
    let mut ground = Ground::new();
    ground.change();
    ground.world.s3.stop_server();
    let patient = ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "20");
    let backup = ground.program(&["backup"]).envs([patient]).spawn();
    wait::until("the store to be asked", || ground.proxy.calls().len() > 1);
    ground.world.s3.start_server();
    backup.wait().ok();
    assert_eq!(ground.manifests().len(), 2);
    ground.assert_sound();
}

/// A pod may start before its cluster's DNS knows the store.
#[test]
fn a_store_whose_name_resolves_late_is_used() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS n");
    let Some(hosts) = OwnHosts::new(world.directory()) else {
        return;
    };
    let (_, port) = world.s3.endpoint.rsplit_once(':').unwrap();
    let name = "store.late.invalid";
    let endpoint = format!("http://{name}:{port}");
    let starter = hosts.starter();
    let starter: Vec<&str> = starter.iter().map(String::as_str).collect();
    let variables = [("KUBEBACKUP_REPOSITORY_ENDPOINT", endpoint.as_str())];
    let mut agent = AgentProcess::started_by(&starter, &world, "backup-agent", &variables);
    agent.scrape_until("outcome=\"unavailable\"");
    assert_eq!(world.s3.controls.asked(), 0, "nobody could know where it is");
    hosts.add(name);
    agent.scrape_until("kubebackup_last_success_timestamp_seconds");
    agent.stop();
    assert_eq!(world.keys("manifests/").len(), 1);
    world.program(&["verify", "--all"]).run().ok();
}

/// Answers that are lost make uploads that are made again: a bucket that keeps every version shows what that leaves.
#[test]
fn a_versioned_and_locked_bucket_holds_one_version_of_everything_however_often_it_was_sent() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 500) i");
    let moto = Moto::start();
    let [bucket, (name, endpoint)] = moto.variables();
    let proxy = S3Proxy::before_endpoint(&endpoint);
    let locks = [
        ("KUBEBACKUP_REPOSITORY_LOCK_MODE", "governance"),
        ("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "30"),
        (bucket.0, bucket.1.as_str()),
        (name, proxy.endpoint()),
    ];
    let run = |arguments: &[&str]| world.program(arguments).envs(QUICK).envs(locks).run();
    for class in ["it/repository.json", "it/chunks", "it/manifests"] {
        proxy.script(Rule::first("PutObject", class, Fault::LoseAnswer).times(2));
    }
    run(&["backup"]).ok();
    assert!(proxy.struck().len() >= 5, "{:?}", proxy.struck());
    proxy.clear();
    run(&["verify", "--all"]).ok();
    for key in moto.keys("it/") {
        let versions = moto.versions(&key).len();
        assert_eq!(versions, 1, "{key}");
        assert!(moto.retention(&key).is_some(), "{key}");
    }
}

/// Told to end while its manifest is on its way, a run waits for what becomes of it, but not for ever. Which of the two comes
/// first is the machine's affair where the manifest does arrive; what is said of it is true.
#[test]
fn a_backup_cancelled_while_its_manifest_is_on_its_way_says_what_became_of_it() {
    let ground = Ground::new();
    for (fault, is_answered) in [(Fault::Slow(20_000), true), (Fault::Hang, false)] {
        ground.change();
        ground.proxy.clear();
        let (struck, before) = (ground.proxy.struck().len(), ground.manifests().len());
        ground
            .proxy
            .script(Rule::first("PutObject", "it/manifests", fault).always());
        // One attempt that lasts: it is the run that must not wait.
        let patient = ["READ", "ATTEMPT"].map(|name| format!("KUBEBACKUP_REPOSITORY_{name}_TIMEOUT"));
        let program = ground.program(&["backup"]);
        let running = program.envs(patient.iter().map(|name| (name.as_str(), "1m"))).spawn();
        wait::until("the manifest to be on its way", || ground.proxy.struck().len() > struck);
        running.signal(Signal::SIGTERM);
        let ended = running.wait();
        let made = ground.manifests().len() - before;
        let is_said = [
            "cancelled, and it is not known whether backup",
            "'kubebackup list' shows",
        ]
        .iter()
        .all(|words| ended.stderr.contains(words));
        match ended.code() {
            Some(0) => assert!(is_answered && made == 1, "{fault}: {made} {}", ended.printed()),
            code => assert!(code == Some(130) && is_said, "{fault}: {made} {}", ended.printed()),
        }
    }
    ground.assert_restorable();
}

/// One byte after the other, so that no request is ever silent for too long.
#[test]
fn an_index_that_only_drips_ends_a_drill_at_its_limit_and_condemns_nothing() {
    let ground = Ground::new();
    ground
        .proxy
        .script(Rule::first("GetObject", "it/chunks", Fault::Slow(20)).always());
    let limit = ("KUBEBACKUP_DRILL_MAX_DURATION", "4s");
    let ended = ground.program(&["drill"]).envs([limit]).run().expect(4);
    let words = "the backup's index cannot be read: the drill took longer than drill.max_duration (4s)";
    assert!(ended.printed().contains(words), "{}", ended.printed());
    let states = ground.certificates();
    assert!(
        states.iter().any(|key| key.ends_with(".unverified.json")) && !states.iter().any(|key| key.contains("failed")),
        "{states:?}"
    );
}
