//! The backup agent fills the copies by itself: beside its backups, each place on its own, and what an outage left behind
//! as soon as it is over.

use kubebackup::demo::{S3Effect, S3Fault};
use kubebackup::http::status::{CopyStatus, Outcome, Status};

use super::*;
use crate::backup_agent::{Agent, SELDOM};
use crate::support::{S3, http};

const SOON: [(&str, &str); 3] = [
    SELDOM,
    ("KUBEBACKUP_BACKUP_AGENT_RETRY_FIRST", "1s"),
    ("KUBEBACKUP_BACKUP_AGENT_RETRY_MAX", "1s"),
];

fn offsite(s3: &S3, prefix: &str) -> String {
    format!(
        "  - {{name: offsite, bucket: {}, prefix: {prefix}, endpoint: {}, region: us-east-1, path_style: true, \
         connect_timeout: 1s, max_attempts: 1}}\n",
        crate::support::s3::BUCKET,
        s3.endpoint
    )
}

/// A volume, one that others fill, and an offsite bucket.
fn with_places(offsite: &str) -> World {
    let mut world = with_volume();
    let volume = world.directory().join("volume").display().to_string();
    let more = format!(
        "{SMALL_CHUNKS}copies:\n  - {{name: volume, directory: {volume}, prefix: shop}}\n  - {{name: by-hand, directory: {volume}, \
         prefix: by-hand, after_backup: false}}\n{offsite}"
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    world
}

fn copy<'a>(status: &'a Status, name: &str) -> &'a CopyStatus {
    status.copies.iter().find(|copy| copy.name == name).unwrap()
}

fn is_complete(status: &Status, name: &str) -> bool {
    let copy = copy(status, name);
    copy.missing == Some(0)
        && copy.running_since.is_none()
        && copy.behind_since.is_none()
        && copy.last_success.is_some()
}

fn copied(status: &Status, name: &str) -> u64 {
    status.counts.copies.get(name).map_or(0, |counts| counts.copied_backups)
}

fn page(agent: &Agent, path: &str) -> String {
    http::get(([127, 0, 0, 1], agent.port).into(), path).unwrap().body
}

#[test]
fn a_place_that_is_down_costs_no_backup_here_or_elsewhere_is_told_and_catches_up() {
    let mut away = S3::start();
    away.stop_server();
    let world = with_places(&offsite(&away, "far"));
    let mut agent = Agent::start(&world, &SOON);
    // Down from the beginning: nothing is known of it.
    let status = agent.wait_until("the first backup in the volume", |status| {
        copied(status, "volume") == 1
            && is_complete(status, "volume")
            && copy(status, "offsite").trouble.is_some()
            && copy(status, "offsite").behind_since.is_some()
    });
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert_eq!(status.copies.len(), 2, "what others fill is not this agent's");
    assert_eq!(
        (copy(&status, "offsite").missing, copy(&status, "offsite").last_success),
        (None, None)
    );
    let scrape = page(&agent, "/metrics");
    assert!(
        scrape.contains("kubebackup_copy_missing_backups{copy=\"volume\"} 0"),
        "{scrape}"
    );
    assert!(
        scrape.contains("kubebackup_copy_behind_since_timestamp_seconds{copy=\"offsite\"}"),
        "{scrape}"
    );
    for unknown in ["copy_missing_backups", "copy_last_success_timestamp_seconds"] {
        assert!(
            !scrape.contains(&format!("kubebackup_{unknown}{{copy=\"offsite\"}}")),
            "{scrape}"
        );
    }
    assert!(page(&agent, "/").contains("could not be filled"));

    away.start_server();
    let status = agent.wait_until("the first backup offsite", |status| is_complete(status, "offsite"));
    assert!(copy(&status, "offsite").trouble.is_none());
    assert_eq!(status.counts.copies["offsite"].copied_backups, 1);

    // Down after a while: what it lacks is known.
    away.stop_server();
    world.source_sql("INSERT INTO small VALUES (2)");
    agent.trigger();
    let status = agent.wait_until("the second backup in the volume", |status| {
        status.runs.len() == 2
            && is_complete(status, "volume")
            && copy(status, "offsite").missing == Some(1)
            && copy(status, "offsite").trouble.is_some()
    });
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert!(copy(&status, "offsite").behind_since.is_some());
    let scrape = page(&agent, "/metrics");
    assert!(
        scrape.contains("kubebackup_copy_missing_backups{copy=\"offsite\"} 1"),
        "{scrape}"
    );
    assert!(
        !scrape.contains("kubebackup_copy_runs_total{copy=\"offsite\",outcome=\"failed\"} 0"),
        "{scrape}"
    );

    away.start_server();
    agent.wait_until("the second backup offsite", |status| is_complete(status, "offsite"));
    assert!(!page(&agent, "/").contains("could not be filled"));
    let printed = agent.stop().printed();
    assert!(printed.contains("the copy could not be filled"), "{printed}");
    for name in ["volume", "offsite"] {
        let listed = world
            .program(&["--repository", name, "--output", "json", "list"])
            .run()
            .ok()
            .json();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{name}");
        world.program(&["--repository", name, "verify", "--all"]).run().ok();
    }
    assert!(!world.directory().join("volume/by-hand").exists());
}

#[test]
fn a_copy_that_hangs_holds_up_neither_the_next_backup_nor_the_end_and_the_next_agent_goes_on() {
    let s3 = S3::start();
    let world = with_places(&offsite(&s3, "far"));
    s3.controls.inject(S3Fault {
        operation: Some("PutObject"),
        key_prefix: "far/chunks/".to_owned(),
        times: 1,
        effect: S3Effect::Hang,
    });
    let mut agent = Agent::start(&world, &SOON);
    agent.wait_until("the copy to hang", |status| {
        is_complete(status, "volume") && copy(status, "offsite").running_since.is_some()
    });
    agent.trigger();
    let status = agent.wait_until("the second backup", |status| {
        status.runs.len() == 2 && is_complete(status, "volume") && status.repository.as_ref().is_some()
    });
    assert_eq!(status.runs[0].outcome, Outcome::Succeeded);
    assert!(copy(&status, "offsite").running_since.is_some(), "{status:?}");
    agent.stop();
    assert!(s3.keys("far/manifests/").is_empty());

    let mut next = Agent::start(&world, &SOON);
    let status = next.wait_until("both backups offsite", |status| is_complete(status, "offsite"));
    assert_eq!(status.counts.copies["offsite"].copied_backups, 2);
    assert!(status.runs.is_empty(), "what an outage left behind waits for no backup");

    // Another volume, or the same one emptied: the next filling looks at what is there.
    next.wait_until("both backups in the volume", |status| is_complete(status, "volume"));
    fs::remove_dir_all(volume(&world)).unwrap();
    next.trigger();
    next.wait_until("all backups in the empty volume", |status| {
        status.runs.len() == 1 && status.counts.copies["volume"].complete == 2 && is_complete(status, "volume")
    });
    let there = files(&volume(&world));
    assert_eq!(there.iter().filter(|file| file.starts_with("manifests/")).count(), 3);
    next.stop();
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
}

#[test]
fn a_copy_is_kept_by_its_own_rules_after_each_backup() {
    let world = with_volume_and(", retention: {keep_last: 1, keep_certified: 1, after_backup: true}");
    let first = world.back_up();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    let go = world.directory().join("go");
    let failpoint = format!("expire-after-tombstones=go:{}", go.display());
    let settings = [&SOON[..], &[("KUBEBACKUP_FAILPOINT", failpoint.as_str())]].concat();
    let mut agent = Agent::start(&world, &settings);
    agent.wait_until("the first backup in the volume", |status| {
        copied(status, "volume") == 1 && is_complete(status, "volume")
    });
    world.source_sql("INSERT INTO small VALUES (2)");
    agent.trigger();
    agent.wait_until("the second backup in the volume", |status| {
        copied(status, "volume") == 2 && is_complete(status, "volume")
    });
    world.program(&["drill"]).run().ok();
    agent.trigger();
    agent.wait_until("the expiry in the volume", |status| {
        let current = copy(status, "volume").retention.current.as_ref();
        current.is_some_and(|current| current.step == "expire") && is_complete(status, "volume")
    });
    assert!(page(&agent, "/").contains("Old backups are let go in the copy 'volume'"));
    let scrape = page(&agent, "/metrics");
    let since = "kubebackup_copy_retention_in_progress_since_timestamp_seconds{copy=\"volume\"}";
    assert!(scrape.contains(since), "{scrape}");
    fs::write(go, "").unwrap();
    let status = agent.wait_until("the first backup to be let go in the volume", |status| {
        let counts = status.counts.copies.get("volume");
        counts.is_some_and(|counts| counts.retention.expired_backups == 1)
            && copy(status, "volume").retention.current.is_none()
            && is_complete(status, "volume")
    });
    assert_eq!(status.counts.retention.runs, 0, "the primary lets nothing go");
    assert_eq!(world.keys("manifests/").len(), 3);
    let there = files(&volume(&world));
    assert!(!there.contains(&format!("manifests/{first}.json")));
    assert_eq!(there.iter().filter(|file| file.starts_with("manifests/")).count(), 2);
    agent.trigger();
    let status = agent.wait_until("the next copy", |status| {
        copied(status, "volume") == 4 && is_complete(status, "volume")
    });
    assert!(copy(&status, "volume").let_go >= Some(1), "{status:?}");
    agent.stop();
    assert!(
        !files(&volume(&world)).contains(&format!("manifests/{first}.json")),
        "not brought back"
    );
}

#[test]
fn a_restore_agent_proves_a_copy_on_a_volume_from_that_volume_alone() {
    let world = with_volume();
    let backup_id = world.back_up();
    world.mark_targets();
    world.program(&["copy"]).run().ok();
    for key in world.keys("chunks/") {
        world.s3.remove(&World::object(&key));
    }
    let program = world.program(&["--repository", "volume", "restore-agent"]);
    let mut agent = Agent::of_program(program, &[]);
    let status = agent.wait_until("a certificate", |status| {
        status.counts.runs.contains_key(&Outcome::Certified)
    });
    assert_eq!(status.runs[0].backup_id.as_deref(), Some(backup_id.as_str()));
    agent.stop();
    let certificates = |keys: Vec<String>| keys.into_iter().filter(|key| key.ends_with(".certified.json")).count();
    assert_eq!(certificates(files(&volume(&world))), 1);
    assert_eq!(certificates(world.keys("")), 0, "it is the volume that was proven");
}
