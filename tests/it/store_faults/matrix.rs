//! Fault x operation x kind of key. What strikes once is survived; what lasts ends the run with one error, and neither
//! leaves a manifest over what is not there nor a certificate that nobody earned.
//!
//! The joints are not listed here: they are what a run asks for while nothing goes wrong.

use std::time::{Duration, Instant};

use super::{Ground, assert_clear, assert_no_secret};
use crate::support::s3_proxy::{Call, Fault, Rule, refusals};
use crate::support::{Ended, Program};

/// What a store or a network does once and not again.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Refused,
    Hanging,
    Cut,
    /// Objects alone: a listing that another made of nothing is told by no digest.
    Damaged,
    Silent,
    LostAnswer,
    Error,
    Throttled,
}

const MISHAPS: [Mishap; 8] = [
    Mishap::Refused,
    Mishap::Hanging,
    Mishap::Cut,
    Mishap::Damaged,
    Mishap::Silent,
    Mishap::LostAnswer,
    Mishap::Error,
    Mishap::Throttled,
];

impl Mishap {
    fn fault(self, call: &Call) -> Fault {
        let uploads = call.operation == "PutObject";
        let downloads = matches!(call.operation, "GetObject" | "ListObjectsV2");
        match self {
            Self::Refused => Fault::Refuse,
            Self::Damaged if uploads => Fault::CorruptRequest,
            Self::Cut if uploads => Fault::CutRequest(3),
            Self::Damaged if call.operation == "GetObject" => Fault::CorruptAnswer,
            Self::Cut | Self::Damaged if downloads => Fault::CutAnswer(3),
            Self::Silent if downloads => Fault::StallAnswer(3),
            // An answer without a body breaks off, or stops, before it begins.
            Self::Hanging | Self::Silent => Fault::Hang,
            Self::LostAnswer | Self::Cut | Self::Damaged => Fault::LoseAnswer,
            Self::Error => refusals::INTERNAL_ERROR,
            Self::Throttled => refusals::SLOW_DOWN,
        }
    }
}

/// Every joint meets every mishap, all joints at once, each another one: so many runs as there are mishaps.
pub(super) fn every_mishap_is_survived(ground: &Ground, joints: &[Call], mut run: impl FnMut(&str)) {
    for shift in 0..MISHAPS.len() {
        let mut expected = Vec::new();
        for (number, joint) in joints.iter().enumerate() {
            let fault = MISHAPS[(number + shift) % MISHAPS.len()].fault(joint);
            ground.proxy.script(Rule::first(joint.operation, &joint.key, fault));
            expected.push(format!("{} of {}: {fault}", joint.operation, joint.key));
        }
        let before = ground.proxy.struck().len();
        run(&expected.join("\n"));
        let struck = ground.proxy.struck().len() - before;
        assert_eq!(struck, joints.len(), "{}", expected.join("\n"));
        ground.proxy.clear();
    }
}

/// Two attempts of [`super::QUICK`] with the pause between them, of a call that nobody answers.
const A_CALL: Duration = Duration::from_secs(3 + 3 + 2);

/// What ends a run is one call, and before it gives up it may ask a few more: whether an object is there after all, and for
/// the probes, leases and certificates that it can do without. What else it does is a matter of seconds.
const AT_MOST: Duration = Duration::from_secs(6 * A_CALL.as_secs() + 30);

/// A run in which every call at a joint meets a fault, and what that was.
#[track_caller]
pub(super) fn outlasted(ground: &Ground, joint: &Call, fault: Fault, program: Program) -> (String, Ended) {
    let rule = Rule::first(joint.operation, &joint.key, fault).always();
    outlasted_by(ground, rule, program)
}

/// The same by any rule.
#[track_caller]
pub(super) fn outlasted_by(ground: &Ground, rule: Rule, program: Program) -> (String, Ended) {
    let operation = rule.operation.unwrap_or("any call");
    let what = format!(
        "{operation} of {} from number {} on: {}",
        rule.key_prefix,
        rule.after + 1,
        rule.fault
    );
    ground.proxy.clear();
    ground.proxy.script(rule);
    let before = ground.proxy.struck().len();
    let since = Instant::now();
    let ended = program.envs([TWICE]).run();
    let took = since.elapsed();
    assert!(took < AT_MOST, "{what}: it took {took:?}\n{}", ended.printed());
    let last = ended.stderr.lines().next_back().unwrap_or_default();
    println!("{what}: {:?} {last}", ended.code());
    assert!(ground.proxy.struck().len() > before, "{what} never struck");
    assert_no_secret(&ended, &what);
    (what, ended)
}

/// What lasts and is of no object, by turns; and what such a joint can meet beside.
pub(super) fn lasting_faults(number: usize, joint: &Call) -> Vec<Fault> {
    let mut faults = match number % 2 {
        0 => vec![refusals::UNAVAILABLE, refusals::NO_SUCH_BUCKET, refusals::EXPIRED_TOKEN],
        _ => vec![
            Fault::LoseAnswer,
            refusals::NOT_A_STORE,
            refusals::BAD_REQUEST,
            refusals::EXPIRED_TOKEN,
        ],
    };
    let downloads = matches!(joint.operation, "GetObject" | "ListObjectsV2");
    faults.push(match number % 5 {
        0 => Fault::Hang,
        1 => refusals::INTERNAL_ERROR,
        2 => refusals::NOT_IMPLEMENTED,
        3 => refusals::MOVED,
        _ if downloads => Fault::StallAnswer(3),
        _ => Fault::Refuse,
    });
    faults.extend(match joint.operation {
        "PutObject" => vec![Fault::CorruptRequest, refusals::STORAGE_FULL, refusals::QUOTA_EXCEEDED],
        "GetObject" => vec![
            Fault::CorruptAnswer,
            Fault::CutAnswer(3),
            refusals::NO_SUCH_KEY,
            refusals::DENIED,
        ],
        "ListObjectsV2" => vec![Fault::CorruptAnswer, Fault::Stale, refusals::DENIED],
        _ => vec![refusals::DENIED],
    });
    faults
}

/// What says that an object itself is gone or damaged.
pub(super) fn condemns(fault: Fault) -> bool {
    matches!(fault, Fault::CorruptAnswer | refusals::NO_SUCH_KEY)
}

/// Nothing can be said of a backup without its roots and its chunks.
#[track_caller]
fn assert_needed(joint: &Call, ended: &Ended, what: &str) {
    let is_needed = joint.operation == "GetObject" && ["it/chunks", "it/manifests"].contains(&joint.key.as_str());
    assert!(!is_needed || ended.code() != Some(0), "{what}: {}", ended.printed());
}

const TWICE: (&str, &str) = ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "2");

#[test]
fn a_backup_survives_every_mishap_at_every_joint() {
    let ground = Ground::new();
    ground.change();
    let joints = ground.joints(&["backup"]);
    let uploads = |class: &str| {
        joints
            .iter()
            .any(|call| call.operation == "PutObject" && call.key == class)
    };
    assert!(uploads("it/chunks") && uploads("it/manifests"), "{joints:?}");
    every_mishap_is_survived(&ground, &joints, |what| {
        let before = ground.manifests().len();
        ground.change();
        let ended = ground.run(&["backup"]);
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
        assert_no_secret(&ended, what);
        assert_eq!(ground.manifests().len(), before + 1, "{what}");
    });
    ground.assert_sound();
    ground.assert_restorable();
}

#[test]
fn a_backup_that_a_fault_outlasts_leaves_a_sound_manifest_or_none_and_says_why() {
    let ground = Ground::new();
    ground.change();
    for (number, joint) in ground.joints(&["backup"]).into_iter().enumerate() {
        for fault in lasting_faults(number, &joint) {
            let before = ground.manifests();
            ground.change();
            let (what, ended) = outlasted(&ground, &joint, fault, ground.program(&["backup"]));
            let made = ground.manifests().len() - before.len();
            if ended.code() == Some(0) {
                assert_eq!(made, 1, "{what}");
                ground.world.program(&["verify"]).run().ok();
            } else {
                assert_clear(&ended, &what);
                assert_eq!(made, 0, "{what}: {}", ended.printed());
            }
            let stores_nothing = joint.operation == "PutObject"
                && ["it/chunks", "it/manifests"].contains(&joint.key.as_str())
                && fault != Fault::LoseAnswer;
            assert!(
                !stores_nothing || ended.code() != Some(0),
                "{what}: {}",
                ended.printed()
            );
        }
    }
    ground.proxy.clear();
    ground.run(&["backup"]).ok();
    ground.assert_sound();
    ground.assert_restorable();
}

#[test]
fn a_drill_survives_every_mishap_at_every_joint() {
    let ground = Ground::new();
    let joints = ground.joints(&["drill"]);
    assert!(
        joints
            .iter()
            .any(|call| call.key == "it/certificates" && call.operation == "PutObject"),
        "{joints:?}"
    );
    every_mishap_is_survived(&ground, &joints, |what| {
        let before = ground.certificates();
        let ended = ground.run(&["drill"]);
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
        let after = ground.certificates();
        let mut new = after.difference(&before);
        assert!(
            new.next().is_some_and(|key| key.ends_with(".certified.json")),
            "{what}: {after:?}"
        );
        assert_eq!(new.next(), None, "{what}");
    });
}

/// Nothing but the object's own bytes, or the store's word that it is gone, condemns a backup.
#[test]
fn a_drill_that_a_fault_outlasts_certifies_nothing_and_condemns_nothing_for_it() {
    let ground = Ground::new();
    for (number, joint) in ground.joints(&["drill"]).into_iter().enumerate() {
        for fault in lasting_faults(number, &joint) {
            let before = ground.certificates();
            let (what, ended) = outlasted(&ground, &joint, fault, ground.program(&["drill"]));
            let after = ground.certificates();
            let new: Vec<&String> = after.difference(&before).collect();
            assert_needed(&joint, &ended, &what);
            let states: Vec<&str> = new.iter().filter_map(|key| key.rsplit('.').nth(1)).collect();
            match ended.code() {
                Some(0) => assert_eq!(states, ["certified"], "{what}: {}", ended.printed()),
                Some(3) => {
                    assert!(condemns(fault), "{what}: {}", ended.printed());
                    assert_eq!(states, ["failed"], "{what}: {}", ended.printed());
                }
                Some(4) if !states.is_empty() => assert_eq!(states, ["unverified"], "{what}: {}", ended.printed()),
                _ => {
                    assert_clear(&ended, &what);
                    assert!(
                        states.is_empty() || fault == Fault::LoseAnswer,
                        "{what}: {new:?}\n{}",
                        ended.printed()
                    );
                }
            }
        }
    }
    ground.proxy.clear();
    ground.run(&["drill"]).ok();
}

#[test]
fn a_verification_survives_every_mishap_and_calls_nothing_damaged_that_is_not() {
    let ground = Ground::new();
    let joints = ground.joints(&["verify"]);
    every_mishap_is_survived(&ground, &joints, |what| {
        let ended = ground.run(&["verify"]);
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
    });
    for (number, joint) in joints.iter().enumerate() {
        for fault in lasting_faults(number, joint) {
            let (what, ended) = outlasted(&ground, joint, fault, ground.program(&["verify"]));
            assert_needed(joint, &ended, &what);
            match ended.code() {
                Some(0) => {}
                Some(5) => assert!(condemns(fault), "{what}: {}", ended.printed()),
                _ => assert_clear(&ended, &what),
            }
        }
    }
}

#[test]
fn a_restore_by_a_person_survives_every_mishap_and_one_that_a_fault_outlasts_is_not_taken_for_whole() {
    let ground = Ground::new();
    let cluster = &ground.world.target;
    let into = cluster.dsn(cluster.superuser(), "emergency");
    let restore = ["restore", "--into", &into, "--create-database"];
    let person = |program: Program| program.env("PGPASSWORD", cluster.password());
    let equal = || person(ground.world.program(&["compare", "--into", &into])).run();
    let drop_it = || drop(cluster.sql("postgres", "DROP DATABASE IF EXISTS emergency").unwrap());
    let before = ground.proxy.calls().len();
    person(ground.program(&restore)).run().ok();
    let joints = ground.joints_since(before);
    assert!(joints.iter().any(|call| call.key == "it/chunks"), "{joints:?}");
    drop_it();
    every_mishap_is_survived(&ground, &joints, |what| {
        let ended = person(ground.program(&restore)).run();
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
        equal().ok();
        drop_it();
    });
    for joint in &joints {
        let mut faults = vec![
            refusals::UNAVAILABLE,
            refusals::EXPIRED_TOKEN,
            Fault::Hang,
            Fault::LoseAnswer,
        ];
        if joint.operation == "GetObject" {
            faults.extend([Fault::CorruptAnswer, Fault::StallAnswer(3), refusals::NO_SUCH_KEY]);
        }
        for fault in faults {
            let (what, ended) = outlasted(&ground, joint, fault, person(ground.program(&restore)));
            assert_needed(joint, &ended, &what);
            let is_whole = equal().code() == Some(0);
            assert_eq!(is_whole, ended.code() == Some(0), "{what}: {}", ended.printed());
            if !is_whole {
                assert_clear(&ended, &what);
            }
            drop_it();
        }
    }
}

#[test]
fn a_list_survives_every_mishap_and_shows_all_or_says_why_not() {
    let ground = Ground::new();
    let joints = ground.joints(&["list"]);
    let whole = ground.run(&["--output", "json", "list"]).ok().stdout;
    assert!(whole.contains(&ground.first), "{whole}");
    every_mishap_is_survived(&ground, &joints, |what| {
        let ended = ground.run(&["--output", "json", "list"]);
        assert_eq!(
            (ended.code(), &ended.stdout),
            (Some(0), &whole),
            "{what}\n{}",
            ended.stderr
        );
    });
    for (number, joint) in joints.iter().enumerate() {
        for fault in lasting_faults(number, joint) {
            let list = ground.program(&["--output", "json", "list"]);
            let (what, ended) = outlasted(&ground, joint, fault, list);
            match ended.code() {
                Some(0 | 5) => assert!(ended.stdout == whole || condemns(fault), "{what}: {}", ended.printed()),
                _ => assert_clear(&ended, &what),
            }
        }
    }
}
