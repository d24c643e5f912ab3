//! What both agents tell Prometheus, by its own tool and from real ports.

use std::collections::BTreeMap;

use kubebackup::http::metrics::{METRICS, Origin};
use kubebackup::http::sample;

use crate::support::World;
use crate::support::agents::{AgentProcess, Agents};
use crate::support::http::{Port, get};
use crate::support::prometheus::{check_metrics, names, series};

/// Ages and times that go on by themselves.
const MOVING: [&str; 2] = ["recovery_point_seconds", "repository_read_timestamp_seconds"];

#[test]
fn prometheus_own_tool_finds_nothing_wrong_with_what_both_agents_can_show() {
    for status in [sample::backup_agent(), sample::restore_agent()] {
        let port = Port::of(status);
        let scrape = get(port.address, "/metrics").unwrap();
        assert_eq!(scrape.code, 200);
        check_metrics(&scrape.body);
    }
}

#[test]
fn both_agents_tell_the_same_of_the_bucket_and_tell_it_again_after_a_restart() {
    let mut agents = Agents::certified();
    let told_by_backup_agent = scrape(&mut agents.backup);
    let told_by_restore_agent = scrape(&mut agents.restore);
    for text in [&told_by_backup_agent, &told_by_restore_agent] {
        check_metrics(text);
    }
    let told = of_bucket(&told_by_backup_agent);
    assert_eq!(told, of_bucket(&told_by_restore_agent));
    assert!(told.len() > 35, "{told:#?}");
    for (name, value) in [
        ("kubebackup_backups", 1.0),
        ("kubebackup_failed_backups", 0.0),
        ("kubebackup_last_backup_rows", 1000.0),
        ("kubebackup_last_drill_verdict{verdict=\"certified\"}", 1.0),
    ] {
        assert!((told[name] - value).abs() < f64::EPSILON, "{name}: {}", told[name]);
    }
    let own = series(&told_by_backup_agent);
    assert!(own["kubebackup_runs_total{outcome=\"succeeded\"}"] > 0.0);

    agents.backup.stop();
    agents.restore.stop();
    for verb in ["backup-agent", "restore-agent"] {
        let mut again = AgentProcess::start(&agents.world, verb, &[]);
        let text = scrape(&mut again);
        check_metrics(&text);
        assert_eq!(of_bucket(&text), told, "{verb}");
        // What is counted begins anew; what the bucket tells of the last run does not.
        assert!(text.contains("kubebackup_last_attempt_timestamp_seconds"), "{text}");
        assert!(
            series(&text)
                .iter()
                .all(|(series, value)| !series.contains("runs_total") || *value < 1.0)
        );
        again.stop();
    }
}

#[test]
fn agents_beside_an_empty_bucket_make_nothing_up() {
    let world = World::start();
    // Nothing is backed up: there is no standby.
    let standby = [("KUBEBACKUP_BACKUP_AGENT_RUN_ON", "standby")];
    for (verb, variables) in [("backup-agent", &standby[..]), ("restore-agent", &[])] {
        let mut agent = AgentProcess::start(&world, verb, variables);
        // It has been at the store by then.
        let text = agent.scrape_until("kubebackup_store_requests_total{");
        check_metrics(&text);
        let counts = [
            "backups",
            "certified_backups",
            "failed_backups",
            "deletion_frozen",
            "drift_findings",
            "uncompared_backups",
            "damaged_manifests",
            "drills",
            "repository_read_timestamp_seconds",
        ];
        for metric in METRICS.iter().filter(|metric| metric.origin == Origin::Bucket) {
            let may_be_shown = counts.contains(&metric.name);
            assert!(
                may_be_shown || !names(&text).contains(&metric.full_name()),
                "{verb}: {}",
                metric.name
            );
        }
        assert!(
            !names(&text).contains("kubebackup_last_attempt_timestamp_seconds"),
            "{verb}"
        );
        agent.stop();
    }
}

/// Once the bucket has been read.
#[track_caller]
fn scrape(agent: &mut AgentProcess) -> String {
    agent.scrape_until("kubebackup_newest_certified_snapshot_timestamp_seconds")
}

/// Series that come from the bucket and stand still.
fn of_bucket(scrape: &str) -> BTreeMap<String, f64> {
    let is_of_bucket = |series: &str| {
        let name = series.split('{').next().unwrap();
        METRICS.iter().any(|metric| {
            metric.origin == Origin::Bucket && metric.full_name() == name && !MOVING.contains(&metric.name)
        })
    };
    let mut told = series(scrape);
    told.retain(|series, _| is_of_bucket(series));
    told
}
