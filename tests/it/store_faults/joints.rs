//! The store goes away while a run stands at one of its joints. A short outage costs nothing but time; one that lasts, or
//! credentials that run out, end the run there, and what exists then is whole.

use std::fs;
use std::path::PathBuf;

use super::{Ground, assert_clear};
use crate::support::Running;
use crate::support::s3_proxy::{Fault, Rule, refusals};

/// With whether the backup exists by then.
const OF_A_BACKUP: [(&str, bool); 5] = [
    ("after-snapshot", false),
    ("after-schema", false),
    ("after-first-chunk", false),
    ("before-manifest", false),
    ("after-manifest", true),
];

const OF_A_DRILL: [&str; 5] = [
    "after-drill-start",
    "after-wipe",
    "after-data",
    "after-restore",
    "before-certificate",
];

/// A run that stands at `joint`, and the file that lets it go on.
fn held(ground: &Ground, verb: &str, joint: &str) -> (Running, PathBuf) {
    let go = ground.world.directory().join("go");
    let _ = fs::remove_file(&go);
    let failpoint = format!("{joint}=go:{}", go.display());
    let mut running = ground.program(&[verb]).env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
    running.wait_for(&format!("failpoint {joint}"));
    (running, go)
}

/// Every call from there on; the SDK has four attempts at each.
const SHORT: usize = 2;

#[test]
fn a_backup_outlasts_a_short_outage_at_every_joint_and_leaves_nothing_after_a_long_one() {
    let ground = Ground::new();
    for (number, (joint, exists)) in OF_A_BACKUP.into_iter().enumerate() {
        let (short, long) = match number % 2 {
            0 => (Fault::Refuse, refusals::EXPIRED_TOKEN),
            _ => (refusals::UNAVAILABLE, Fault::Refuse),
        };
        for (fault, times) in [(short, SHORT), (long, usize::MAX)] {
            let what = format!("{joint}: {fault} {times} times");
            let before = ground.manifests().len();
            ground.change();
            let (running, go) = held(&ground, "backup", joint);
            ground.proxy.script(Rule::any("", fault).times(times));
            fs::write(go, "").unwrap();
            let ended = running.wait();
            ground.proxy.clear();
            let made = ground.manifests().len() - before;
            if exists || times == SHORT {
                assert_eq!((ended.code(), made), (Some(0), 1), "{what}\n{}", ended.printed());
            } else {
                assert_eq!((ended.code(), made), (Some(1), 0), "{what}\n{}", ended.printed());
                assert_clear(&ended, &what);
            }
        }
    }
    ground.assert_sound();
    ground.assert_restorable();
}

#[test]
fn a_drill_outlasts_a_short_outage_at_every_joint_and_certifies_nothing_after_a_long_one() {
    let ground = Ground::new();
    for joint in OF_A_DRILL {
        for (fault, times) in [(refusals::UNAVAILABLE, SHORT), (refusals::EXPIRED_TOKEN, usize::MAX)] {
            let what = format!("{joint}: {fault} {times} times");
            let before = ground.certificates().len();
            let (running, go) = held(&ground, "drill", joint);
            ground.proxy.script(Rule::any("", fault).times(times));
            fs::write(go, "").unwrap();
            let ended = running.wait();
            ground.proxy.clear();
            let made = ground.certificates().len() - before;
            if times == SHORT {
                assert_eq!((ended.code(), made), (Some(0), 1), "{what}\n{}", ended.printed());
            } else {
                // Not even that it is unverified can be said there.
                assert_eq!((ended.code(), made), (Some(4), 0), "{what}\n{}", ended.printed());
                assert_clear(&ended, &what);
            }
        }
    }
    ground.run(&["drill"]).ok();
}

#[test]
fn a_run_that_is_killed_after_its_manifest_has_a_backup_and_before_its_certificate_no_certificate() {
    let ground = Ground::new();
    ground.change();
    let before = ground.manifests().len();
    let (running, _) = held(&ground, "backup", "after-manifest");
    assert_eq!(running.kill().signal(), Some(9));
    assert_eq!(ground.manifests().len(), before + 1);
    ground.assert_sound();
    for joint in ["after-data", "before-certificate"] {
        let (running, _) = held(&ground, "drill", joint);
        assert_eq!(running.kill().signal(), Some(9));
        assert_eq!(ground.certificates().len(), 0, "{joint}");
    }
    ground.run(&["drill"]).ok();
    assert_eq!(ground.certificates().len(), 1);
}
