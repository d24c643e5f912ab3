//! Everything that each agent asks of the bucket, by operation and kind of key, over a whole life, with exactly the rights of
//! the documented policies: `docs/security.md` says what each is for, and what this life has not.

use std::collections::BTreeSet;
use std::time::Duration;

use kubebackup::demo::Identity;
use nix::sys::signal::Signal;

use crate::policies::bearer;
use crate::restore_agent::receiver::{Answer, Receiver};
use crate::support::agents::AgentProcess;
use crate::support::interrupt::age;
use crate::support::world::PREFIX;
use crate::support::{World, WorldOptions, http, wait};

const BACKUP_AGENT: &str = "backup-agent.json";
const RESTORE_AGENT: &str = "restore-agent.json";

/// Where the copy lies, in the same bucket.
const COPY: &str = "offsite";

/// A world where both agents have an identity of their own.
fn world(settings: &str) -> World {
    let world = World::with(WorldOptions {
        settings,
        ..WorldOptions::default()
    });
    for name in [BACKUP_AGENT, RESTORE_AGENT] {
        world.s3.controls.admit(bearer(name, PREFIX));
    }
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; ALTER TABLE t ADD PRIMARY KEY (n)");
    world
}

fn agent(world: &World, verb: &str, name: &str, more: &[(&str, &str)]) -> AgentProcess {
    let secret = format!("secret of {name}");
    let mut variables = vec![("AWS_ACCESS_KEY_ID", name), ("AWS_SECRET_ACCESS_KEY", &secret)];
    variables.extend(more);
    AgentProcess::start(world, verb, &variables)
}

/// What the bearer of a policy has asked for so far: `GetObject chunks/`.
fn asked(world: &World, name: &str) -> BTreeSet<String> {
    let places = asked_of(world, name);
    let own = places.into_iter().map(|(place, request)| {
        assert!(
            ["", PREFIX].contains(&place.as_str()),
            "outside the repository's prefix"
        );
        request
    });
    own.collect()
}

/// The same with the prefix that each lies below.
fn asked_of(world: &World, name: &str) -> BTreeSet<(String, String)> {
    let requests = world.s3.controls.requests();
    let own = requests.iter().filter(|request| request.access_key == name);
    own.map(|request| {
        let key = request.prefix().unwrap_or_else(|| request.key.clone());
        let (place, below) = key.split_once('/').unwrap_or(("", &key));
        (place.to_owned(), format!("{} {}", request.operation, class(below)))
    })
    .collect()
}

/// The part of the repository that a key or the beginning of keys lies in.
fn class(key: &str) -> String {
    if key.is_empty() {
        return "(bucket)".to_owned();
    }
    if key.starts_with("certificates/probes/") {
        return "certificates/probes/".to_owned();
    }
    match key.split_once('/') {
        Some((directory, _)) => format!("{directory}/"),
        None => key.to_owned(),
    }
}

/// What every backup agent asks for below its prefix.
const BACKUPS: [&str; 19] = [
    // Is it there, and ours?
    "GetObject repository.json",
    // Where there is none: hidden, or not yet there?
    "ListObjectVersions repository.json",
    "PutObject repository.json",
    // What the store can do.
    "PutObject probes/",
    "DeleteObject probes/",
    // Reuse, drift and the schedule look at earlier backups; drills' verdicts say which can be trusted.
    "ListObjectsV2 manifests/",
    "GetObject manifests/",
    "GetObject chunks/",
    "ListObjectsV2 certificates/",
    "GetObject certificates/",
    "ListObjectsV2 elsewhere/",
    "ListObjectsV2 damage/",
    "ListObjectsV2 drift/",
    // Keeps two agents apart.
    "ListObjectsV2 leases/",
    "PutObject leases/",
    "DeleteObject leases/",
    // The backup itself.
    "PutObject chunks/",
    "HeadObject chunks/",
    "PutObject manifests/",
];

const LOCKS_OF_BUCKET: &str = "GetObjectLockConfiguration (bucket)";

fn set(requests: &[&str]) -> BTreeSet<String> {
    requests.iter().map(|request| (*request).to_owned()).collect()
}

fn runs(agent: &AgentProcess, outcome: &str) -> usize {
    let status = http::get(agent.address, "/runs")
        .map(|answer| answer.body)
        .unwrap_or_default();
    status.matches(&format!("\"outcome\": \"{outcome}\"")).count()
}

#[track_caller]
fn wait_for_runs(agent: &AgentProcess, outcome: &str, number: usize) {
    wait::until(&format!("{number} runs that ended {outcome}"), || {
        runs(agent, outcome) == number
    });
}

/// By schedule (overdue, since there is none), on a signal, failed, after a damaged chunk was named; retention is off.
#[test]
fn the_backup_agent_asks_for_this_and_nothing_else() {
    let world = world("");
    let agent = agent(&world, "backup-agent", BACKUP_AGENT, &[]);
    wait_for_runs(&agent, "succeeded", 1);
    agent.signal(Signal::SIGUSR1);
    wait_for_runs(&agent, "succeeded", 2);

    world.source.sql("postgres", "ALTER ROLE kubebackup NOLOGIN").unwrap();
    agent.signal(Signal::SIGUSR1);
    wait_for_runs(&agent, "failed", 1);
    world.source.sql("postgres", "ALTER ROLE kubebackup LOGIN").unwrap();

    // A drill of the newest backup fails and names what is damaged, which the next backup stores anew.
    let newest = world.keys("manifests/").pop().unwrap();
    let newest = newest.trim_start_matches("manifests/").trim_end_matches(".json");
    let backup = world.read_backup(newest);
    world.s3.flip_a_bit(&World::object(&backup.chunks[0].key));
    world.mark_targets();
    world.program(&["drill"]).run();
    world.source_sql("INSERT INTO t SELECT generate_series(1001, 2000)");
    agent.signal(Signal::SIGUSR1);
    wait_for_runs(&agent, "succeeded", 3);
    agent.stop();

    let expected = [&BACKUPS[..], &[LOCKS_OF_BUCKET]].concat();
    assert_asked(&asked(&world, BACKUP_AGENT), &expected);
}

/// Rows are read at the source: of what the bucket holds, a backup needs to know what is there and not what it says.
#[test]
fn the_backup_agent_reads_no_row_chunk_and_of_indexes_those_of_earlier_backups_alone() {
    let world = world("backup: {chunk_min_bytes: 16KiB, chunk_mean_bytes: 32KiB, chunk_max_bytes: 64KiB}\n");
    world.source_sql("INSERT INTO t SELECT generate_series(1001, 100000)");
    let agent = agent(&world, "backup-agent", BACKUP_AGENT, &[]);
    let (mut rows, mut indexes) = (BTreeSet::new(), BTreeSet::new());
    let mut seen = 0;
    for number in 1..=3 {
        match number {
            1 => {}
            // Once nothing has changed, and once something has.
            2 => agent.signal(Signal::SIGUSR1),
            _ => {
                world.source_sql("UPDATE t SET n = -n WHERE n > 50000");
                agent.signal(Signal::SIGUSR1);
            }
        }
        wait_for_runs(&agent, "succeeded", number);
        let requests = world.s3.controls.requests();
        let read: BTreeSet<String> = requests[seen..]
            .iter()
            .filter(|request| request.access_key == BACKUP_AGENT && request.operation == "GetObject")
            .map(|request| request.key.clone())
            .filter(|key| key.starts_with(&World::object("chunks/")))
            .collect();
        seen = requests.len();
        assert_eq!(read.is_empty(), number == 1, "backup {number}: {read:?}");
        assert!(read.is_subset(&indexes), "backup {number}: {read:?} of {indexes:?}");
        assert!(read.is_disjoint(&rows), "backup {number}: {read:?}");
        let newest = world.keys("manifests/").pop().unwrap();
        let newest = newest.trim_start_matches("manifests/").trim_end_matches(".json");
        let backup = world.read_backup(newest);
        rows.extend(backup.chunks.iter().map(|chunk| World::object(&chunk.key)));
        indexes.extend(backup.manifest.index.iter().map(|chunk| World::object(&chunk.key)));
        assert!(rows.len() > 5, "{rows:?}");
        assert_eq!(backup.manifest.stats.reused_chunks > 0, number > 1);
    }
    agent.stop();
}

/// Who may do what both of these policies grant, each at its place.
fn bearer_of_both(name: &str, place: &str, second: &str, second_place: &str) -> Identity {
    let (mut both, more) = (bearer(name, place), bearer(second, second_place));
    both.may_write.extend(more.may_write);
    both.may_delete.extend(more.may_delete);
    both.may_lock.extend(more.may_lock);
    both
}

#[track_caller]
fn assert_asked(asked: &BTreeSet<String>, expected: &[&str]) {
    let expected = set(expected);
    let difference: Vec<_> = asked.symmetric_difference(&expected).collect();
    assert!(difference.is_empty(), "{difference:?} of {asked:?}");
}

/// An empty place is filled; then a backup has been proven, another is held, and both go there.
#[test]
fn a_backup_agent_that_fills_a_copy_asks_for_this_there_and_nothing_else() {
    let mut world = world("");
    let more = format!(
        "copies:\n  - {{name: {COPY}, bucket: {}, prefix: {COPY}, endpoint: {}, region: us-east-1, path_style: true}}\n",
        crate::support::s3::BUCKET,
        world.s3.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    let both = bearer_of_both(BACKUP_AGENT, PREFIX, "copy.json", COPY);
    world.s3.controls.admit(both);
    let mut agent = agent(&world, "backup-agent", BACKUP_AGENT, &[]);
    let filled = |number: u32| format!("kubebackup_copied_backups_total{{copy=\"{COPY}\"}} {number}");
    agent.scrape_until(&filled(1));
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    let first = world.keys("manifests/").pop().unwrap();
    let first = first.trim_start_matches("manifests/").trim_end_matches(".json");
    world.program(&["hold", first, "--reason", "audit"]).run().ok();
    world.source_sql("INSERT INTO t SELECT generate_series(1001, 2000)");
    agent.signal(Signal::SIGUSR1);
    agent.scrape_until(&filled(2));
    agent.stop();
    for kind in ["manifests/", "holds/", "elsewhere/"] {
        assert!(!world.s3.keys(&format!("{COPY}/{kind}")).is_empty(), "{kind}");
    }

    let asked = asked_of(&world, BACKUP_AGENT);
    let below = |wanted: &str| -> BTreeSet<String> {
        let own = asked.iter().filter(|(place, _)| place == wanted);
        own.map(|(_, request)| request.clone()).collect()
    };
    let there = [
        // Is it there, and ours? Where there is none it is made.
        "GetObject repository.json",
        "ListObjectVersions repository.json",
        "PutObject repository.json",
        // What that store can do.
        "PutObject probes/",
        "DeleteObject probes/",
        // What is there, and what its neighbours share with what comes.
        "ListObjectsV2 manifests/",
        "GetObject manifests/",
        "GetObject chunks/",
        // What was found damaged there.
        "ListObjectsV2 damage/",
        "ListObjectsV2 certificates/",
        // What was let go there.
        "ListObjectsV2 tombstones/",
        // A backup: announced, its chunks, its root, and the word withdrawn.
        "PutObject incoming/",
        "HeadObject incoming/",
        "HeadObject chunks/",
        "PutObject chunks/",
        "PutObject manifests/",
        "DeleteObject incoming/",
        // What people and drills have said of it.
        "ListObjectsV2 holds/",
        "PutObject holds/",
        "ListObjectsV2 drift/",
        "ListObjectsV2 elsewhere/",
        "PutObject elsewhere/",
    ];
    assert_asked(&below(COPY), &there);
    // What goes with the backups.
    let with_them = ["ListObjectsV2 holds/", "GetObject holds/"];
    let here = [&BACKUPS[..], &with_them].concat();
    assert_asked(&below(PREFIX), &here);
    // Both places lie in the same one.
    assert_asked(&below(""), &[LOCKS_OF_BUCKET]);
}

/// Two backups are proven, the first one goes, and what it left goes too.
#[test]
fn a_backup_agent_that_lets_go_asks_for_this_and_nothing_else() {
    let world = world("retention: {keep_last: 1, keep_certified: 1, after_backup: true}\n");
    let both = bearer_of_both(BACKUP_AGENT, PREFIX, "retention.json", PREFIX);
    world.s3.controls.admit(both);
    let mut agent = agent(&world, "backup-agent", BACKUP_AGENT, &[]);
    let retained = |number: u32| format!("kubebackup_retention_runs_total{{outcome=\"succeeded\"}} {number}");
    agent.scrape_until(&retained(1));
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    world.source_sql("CREATE TABLE u AS SELECT generate_series(1, 1000) AS n; UPDATE t SET n = n + 1000000");
    let bucket = world.s3.bucket().join(PREFIX);
    for number in [2, 3] {
        if number == 3 {
            world.program(&["drill"]).run().ok();
        }
        agent.signal(Signal::SIGUSR1);
        agent.scrape_until(&retained(number));
    }
    assert_eq!(world.keys("tombstones/").len(), 2, "a tombstone and its mark");
    age(
        world.keys("").iter().map(|key| bucket.join(key)),
        Duration::from_hours(72),
    );
    agent.signal(Signal::SIGUSR1);
    agent.scrape_until(&retained(4));
    agent.stop();
    assert!(world.keys("tombstones/").iter().all(|key| key.ends_with(".gone.json")));

    let lets_go = [
        LOCKS_OF_BUCKET,
        // What is held: the next hold by its name.
        "ListObjectsV2 holds/",
        "HeadObject holds/",
        // What is buried, and what became of it, by name.
        "PutObject tombstones/",
        "HeadObject tombstones/",
        "ListObjectsV2 tombstones/",
        "GetObject tombstones/",
        "HeadObject manifests/",
        "ListObjectVersions manifests/",
        // What copies bring here; what is gone may be on its way back.
        "ListObjectsV2 incoming/",
        "GetObject incoming/",
        // What may go, and its end: the keys are in the body, and the policies say which they may be.
        "ListObjectsV2 chunks/",
        "ListObjectsV2 probes/",
        "ListObjectsV2 certificates/probes/",
        "DeleteObjects (bucket)",
    ];
    let expected = [&BACKUPS[..], &lets_go].concat();
    assert_asked(&asked(&world, BACKUP_AGENT), &expected);
}

/// Looking, a drill that cannot judge, one that certifies, one that fails, and a message of each.
#[test]
fn the_restore_agent_asks_for_this_and_nothing_else() {
    let receiver = Receiver::start(Answer::Ok);
    let world = world(&format!("notify: {{webhook: '{}', success: each}}\n", receiver.url()));
    world.back_up();
    let agent = agent(
        &world,
        "restore-agent",
        RESTORE_AGENT,
        &[
            ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1s"),
            ("KUBEBACKUP_RESTORE_AGENT_RETRY_MAX", "1s"),
        ],
    );
    wait_for_certificate(&world, ".unverified.json", 1);
    world.mark_targets();
    wait_for_certificate(&world, ".certified.json", 1);
    world.source_sql("CREATE TABLE u AS SELECT generate_series(1, 1000) AS n");
    let before = world.keys("chunks/");
    world.back_up();
    let new = world
        .keys("chunks/")
        .into_iter()
        .find(|key| !before.contains(key))
        .unwrap();
    world.s3.flip_a_bit(&World::object(&new));
    wait_for_certificate(&world, ".failed.json", 1);
    agent.stop();
    drop(receiver);

    let expected = [
        "GetObject repository.json",
        "ListObjectsV2 manifests/",
        "GetObject manifests/",
        "GetObject chunks/",
        "ListObjectsV2 certificates/",
        "GetObject certificates/",
        "ListObjectsV2 drift/",
        // It has not tried what the store honours, so it looks before it puts.
        "HeadObject certificates/",
        "PutObject certificates/",
        // Of what is damaged, an older version may be whole.
        "ListObjectVersions chunks/",
    ];
    assert_asked(&asked(&world, RESTORE_AGENT), &expected);
}

/// One that is killed in the midst of a drill, one that is told to end there, and the one that begins anew.
#[test]
fn a_restore_agent_whose_drills_are_interrupted_asks_for_nothing_more_and_writes_nothing_but_certificates() {
    let world = world("");
    world.back_up();
    world.mark_targets();
    let others = |world: &World| -> Vec<String> {
        let keys = world.keys("");
        let is_other = |key: &String| !key.starts_with("certificates/");
        keys.into_iter().filter(is_other).collect()
    };
    let before = others(&world);
    let points = ["after-drill-start", "after-wipe", "after-data", "before-certificate"];
    let soon = [
        ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1s"),
        ("KUBEBACKUP_RESTORE_AGENT_RETRY_MAX", "1s"),
    ];
    for (number, point) in points.into_iter().enumerate() {
        let variables = [&[("KUBEBACKUP_FAILPOINT", point)][..], &soon].concat();
        let mut agent = agent(&world, "restore-agent", RESTORE_AGENT, &variables);
        agent.wait_for(&format!("failpoint {point}"));
        if number % 2 == 0 {
            agent.kill();
        } else {
            agent.stop();
        }
    }
    assert_eq!(world.keys("certificates/").len(), points.len(), "start markers alone");
    let agent = agent(&world, "restore-agent", RESTORE_AGENT, &soon);
    wait_for_certificate(&world, ".certified.json", 1);
    // Its next look, for the status, reads what it has written.
    let reads = "GetObject certificates/";
    wait::until(reads, || asked(&world, RESTORE_AGENT).contains(reads));
    agent.stop();
    let expected = [
        "GetObject repository.json",
        "ListObjectsV2 manifests/",
        "GetObject manifests/",
        "GetObject chunks/",
        "ListObjectsV2 certificates/",
        reads,
        "ListObjectsV2 drift/",
        "HeadObject certificates/",
        "PutObject certificates/",
    ];
    assert_asked(&asked(&world, RESTORE_AGENT), &expected);
    assert_eq!(others(&world), before);
}

#[track_caller]
fn wait_for_certificate(world: &World, ending: &str, number: usize) {
    wait::until(&format!("{number} of {ending}"), || {
        let keys = world.keys("certificates/");
        keys.iter().filter(|key| key.ends_with(ending)).count() >= number
    });
}
