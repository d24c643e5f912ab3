//! Both agents before a store that fails at every turn: what they make and certify meanwhile is sound, and they live on.

use std::time::Duration;

use super::{Ground, QUICK};
use crate::support::agents::AgentProcess;
use crate::support::{World, wait};

/// Failures are followed by short pauses here.
pub(super) const EAGER: [(&str, &str); 5] = [
    ("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s"),
    ("KUBEBACKUP_BACKUP_AGENT_RETRY_FIRST", "1s"),
    ("KUBEBACKUP_BACKUP_AGENT_RETRY_MAX", "1s"),
    ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1s"),
    ("KUBEBACKUP_RESTORE_AGENT_RETRY_MAX", "1s"),
];

/// Many requests are made several times, and drills after pauses.
pub(super) const LONG: Duration = Duration::from_mins(3);

/// One that struck what it should while this was written; any other would do.
const SEED: u64 = 20_261_128;

fn certified(ground: &Ground) -> usize {
    let certificates = ground.certificates();
    certificates
        .iter()
        .filter(|key| key.ends_with(".certified.json"))
        .count()
}

/// What drills have called failed, with what they say of it.
fn refuted(ground: &Ground) -> Vec<String> {
    let certificates = ground.certificates();
    let failed = certificates.iter().filter(|key| key.ends_with(".failed.json"));
    let told = |key: &String| String::from_utf8_lossy(&ground.world.s3.read(&World::object(key))).into_owned();
    failed.map(|key| format!("{key}: {}", told(key))).collect()
}

#[test]
fn agents_whose_store_fails_at_every_turn_go_on_and_what_they_make_is_sound() {
    let ground = Ground::new();
    ground.proxy.seeded(SEED, 0.1);
    let [endpoint] = ground.proxy.variables();
    let variables = [&QUICK[..], &EAGER, &[endpoint]].concat();
    let backup = AgentProcess::start(&ground.world, "backup-agent", &variables);
    let restore = AgentProcess::start(&ground.world, "restore-agent", &variables);
    let mut seen = 0;
    wait::for_some_within(LONG, "three backups, two certificates and twenty faults", || {
        // A change for each backup.
        let made = ground.manifests().len();
        if made > seen {
            seen = made;
            ground.change();
        }
        (made >= 3 && certified(&ground) >= 2 && ground.proxy.struck().len() >= 20).then_some(())
    });
    ground.proxy.clear();
    backup.stop();
    restore.stop();
    println!(
        "{} faults, {} backups, {} certified",
        ground.proxy.struck().len(),
        ground.manifests().len(),
        certified(&ground)
    );
    ground.assert_sound();
    // Everything is as it was written: whatever was called failed was called so by the faults.
    let refuted: Vec<String> = refuted(&ground);
    assert!(refuted.is_empty(), "sound backups are called failed: {refuted:?}");
    ground.assert_restorable();
}

#[test]
fn agents_that_start_before_their_store_wait_for_it_and_then_work() {
    let mut ground = Ground::new();
    ground.change();
    ground.world.s3.stop_server();
    let [endpoint] = ground.proxy.variables();
    let variables = [&QUICK[..], &EAGER, &[endpoint]].concat();
    let mut backup = AgentProcess::start(&ground.world, "backup-agent", &variables);
    let mut restore = AgentProcess::start(&ground.world, "restore-agent", &variables);
    for agent in [&mut backup, &mut restore] {
        agent.scrape_until("kubebackup_failed_polls_total 1");
    }
    ground.world.s3.start_server();
    wait::until("a new backup", || ground.manifests().len() >= 2);
    wait::until("a certificate", || certified(&ground) >= 1);
    backup.stop();
    restore.stop();
    ground.assert_sound();
}
