//! Everything that each agent asks of the bucket, by operation and kind of key, over a whole life, with exactly the rights of
//! the documented policies: `docs/security.md` says what each is for, and what this life has not.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::policies::bearer;
use crate::restore_agent::receiver::{Answer, Receiver};
use crate::support::agents::AgentProcess;
use crate::support::world::PREFIX;
use crate::support::{World, WorldOptions, http, wait};

const BACKUP_AGENT: &str = "backup-agent.json";
const RESTORE_AGENT: &str = "restore-agent.json";

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
    let requests = world.s3.controls.requests();
    let own = requests.iter().filter(|request| request.access_key == name);
    own.map(|request| {
        let place = request.prefix().unwrap_or_else(|| request.key.clone());
        format!("{} {}", request.operation, class(&place))
    })
    .collect()
}

/// The part of the repository that a key or the beginning of keys lies in.
fn class(key: &str) -> String {
    if key.is_empty() {
        return "(bucket)".to_owned();
    }
    let key = key.strip_prefix(&format!("{PREFIX}/"));
    let key = key.unwrap_or_else(|| panic!("a request outside the repository's prefix"));
    if key.starts_with("certificates/probes/") {
        return "certificates/probes/".to_owned();
    }
    match key.split_once('/') {
        Some((directory, _)) => format!("{directory}/"),
        None => key.to_owned(),
    }
}

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

    let expected = set(&[
        // Is it there, and ours?
        "GetObject repository.json",
        // Where there is none: hidden, or not yet there?
        "ListObjectVersions repository.json",
        "PutObject repository.json",
        // What the store can do.
        "PutObject probes/",
        "DeleteObject probes/",
        "GetObjectLockConfiguration (bucket)",
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
    ]);
    let asked = asked(&world, BACKUP_AGENT);
    assert_eq!(
        asked,
        expected,
        "{:?}",
        asked.symmetric_difference(&expected).collect::<Vec<_>>()
    );
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

    let expected = set(&[
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
    ]);
    let asked = asked(&world, RESTORE_AGENT);
    assert_eq!(
        asked,
        expected,
        "{:?}",
        asked.symmetric_difference(&expected).collect::<Vec<_>>()
    );
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
    agent.stop();
    let expected = set(&[
        "GetObject repository.json",
        "ListObjectsV2 manifests/",
        "GetObject manifests/",
        "GetObject chunks/",
        "ListObjectsV2 certificates/",
        "ListObjectsV2 drift/",
        "HeadObject certificates/",
        "PutObject certificates/",
    ]);
    assert_eq!(asked(&world, RESTORE_AGENT), expected);
    assert_eq!(others(&world), before);
}

#[track_caller]
fn wait_for_certificate(world: &World, ending: &str, number: usize) {
    wait::until(&format!("{number} of {ending}"), || {
        let keys = world.keys("certificates/");
        keys.iter().filter(|key| key.ends_with(ending)).count() >= number
    });
}
