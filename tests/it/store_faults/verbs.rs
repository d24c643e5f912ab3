//! The matrix for what people ask and say between backups: `diff`, `compare` and `check` read, `hold`, `unhold` and
//! `accept-drift` write a word that counts. What was said is in force or told as not done; nothing shown is half of it.

use std::path::PathBuf;

use serde_json::Value;

use super::keeping::copy_tree;
use super::matrix::{condemns, every_mishap_is_survived, lasting_faults, outlasted};
use super::*;
use crate::support::s3_proxy::{Fault, refusals};

/// A certified backup, and a second one that has lost a table and has been drilled too.
struct Scene {
    ground: Ground,
    second: String,
    saved: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let ground = Ground::new();
        ground.world.program(&["drill"]).run().ok();
        ground.world.source_sql("DROP TABLE other; DELETE FROM t WHERE i > 20");
        let second = ground.world.back_up();
        ground.world.program(&["drill", "--keep"]).run().ok();
        let saved = ground.world.directory().join("saved");
        let scene = Self { ground, second, saved };
        scene.save();
        scene
    }

    fn save(&self) {
        copy_tree(&self.ground.world.s3.bucket(), &self.saved);
    }

    fn begin_anew(&self) {
        copy_tree(&self.saved, &self.ground.world.s3.bucket());
    }

    /// What is so, as somebody sees it whom nothing befalls.
    #[track_caller]
    fn shown(&self, what: &str) -> Value {
        let show = ["--output", "json", "show", &self.second];
        self.ground.world.program(&show).run().ok().json()[what].clone()
    }
}

/// What a verb prints as JSON is all of it through every mishap; what lasts is told, and never a part shown for the whole.
fn reads(verb: &[&str]) {
    let scene = Scene::new();
    let arguments = [&["--output", "json"][..], verb].concat();
    let joints = scene.ground.joints(&arguments);
    assert!(joints.iter().any(|call| call.operation == "GetObject"), "{joints:?}");
    let whole = scene.ground.run(&arguments).ok().stdout;
    every_mishap_is_survived(&scene.ground, &joints, |what| {
        let ended = scene.ground.run(&arguments);
        let answer = (ended.code(), &ended.stdout);
        assert_eq!(answer, (Some(0), &whole), "{what}\n{}", ended.stderr);
        assert_no_secret(&ended, what);
    });
    for (number, joint) in joints.iter().enumerate() {
        for fault in lasting_faults(number, joint) {
            let program = scene.ground.program(&arguments);
            let (what, ended) = outlasted(&scene.ground, joint, fault, program);
            match ended.code() {
                Some(0) => assert!(ended.stdout == whole || condemns(fault), "{what}: {}", ended.printed()),
                Some(5) if condemns(fault) => assert_clear(&ended, &what),
                code => {
                    assert_eq!(code, Some(1), "{what}: {}", ended.printed());
                    assert_clear(&ended, &what);
                }
            }
            assert!(
                ended.code() == Some(0) || ended.stdout.is_empty(),
                "{what}: {}",
                ended.printed()
            );
        }
    }
}

#[test]
fn what_changed_between_two_backups_is_shown_whole_or_not_at_all() {
    reads(&["diff"]);
}

#[test]
fn a_backup_is_shown_whole_with_its_certificate_or_not_at_all() {
    reads(&["show"]);
}

#[test]
fn a_comparison_by_hand_is_made_whole_or_not_at_all() {
    reads(&["compare"]);
}

/// A doctor answers whatever ails the patient.
#[test]
fn a_check_survives_every_mishap_and_finds_what_lasts() {
    let scene = Scene::new();
    let arguments = ["--output", "json", "check"];
    let joints = scene.ground.joints(&arguments);
    let levels = |ended: &Ended, level: &str| -> Vec<String> {
        let findings = ended.json();
        let findings = findings.as_array().unwrap().iter();
        let of_level = findings.filter(|finding| finding["level"] == level);
        of_level.map(|finding| finding["what"].to_string()).collect()
    };
    every_mishap_is_survived(&scene.ground, &joints, |what| {
        let ended = scene.ground.run(&arguments);
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
        assert!(levels(&ended, "fail").is_empty(), "{what}\n{}", ended.printed());
        assert_no_secret(&ended, what);
    });
    for (number, joint) in joints.iter().enumerate() {
        for fault in lasting_faults(number, joint) {
            let (what, ended) = outlasted(&scene.ground, joint, fault, scene.ground.program(&arguments));
            let fails = levels(&ended, "fail");
            let expected = i32::from(!fails.is_empty());
            assert_eq!(ended.code(), Some(expected), "{what}: {}", ended.printed());
            let knows_repository = ended.stdout.contains("exists, its id is");
            let is_told = !fails.is_empty() || !levels(&ended, "warn").is_empty();
            assert!(knows_repository || is_told, "{what}: {}", ended.printed());
            // Without the first listing, or the repository's own object, nothing can be made or drilled.
            let is_needed = joint.key.starts_with("it/repository") || joint.key.starts_with("it/manifests");
            let is_there = fault == Fault::Stale || fault == refusals::NO_SUCH_KEY;
            assert!(
                !is_needed || !fails.is_empty() || is_there,
                "{what}: {}",
                ended.printed()
            );
        }
    }
}

/// A word of a person's, and where it shows once it counts.
struct Word<'a> {
    arguments: Vec<&'a str>,
    /// In what `show` says of the backup.
    field: &'a str,
    /// It takes something back.
    ends: bool,
}

impl Word<'_> {
    #[track_caller]
    fn is_in_force(&self, scene: &Scene) -> bool {
        scene.shown(self.field).is_null() == self.ends
    }

    fn survives_everything(&self, scene: &Scene) {
        scene.save();
        let before = scene.ground.proxy.calls().len();
        scene.ground.run(&self.arguments).ok();
        let joints = scene.ground.joints_since(before);
        assert!(joints.iter().any(|call| call.operation == "PutObject"), "{joints:?}");
        every_mishap_is_survived(&scene.ground, &joints, |what| {
            scene.begin_anew();
            let ended = scene.ground.run(&self.arguments);
            assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
            assert!(self.is_in_force(scene), "{what}\n{}", ended.printed());
            assert_no_secret(&ended, what);
        });
        for (number, joint) in joints.iter().enumerate() {
            for fault in lasting_faults(number, joint) {
                scene.begin_anew();
                assert!(!self.is_in_force(scene));
                let program = scene.ground.program(&self.arguments);
                let (what, ended) = outlasted(&scene.ground, joint, fault, program);
                scene.ground.proxy.clear();
                let is_in_force = self.is_in_force(scene);
                match ended.code() {
                    Some(0) => assert!(is_in_force, "{what}: {}", ended.printed()),
                    Some(1) => assert_clear(&ended, &what),
                    code => {
                        assert!(code == Some(5) && condemns(fault), "{what}: {}", ended.printed());
                        assert_clear(&ended, &what);
                    }
                }
                if !is_in_force {
                    scene.ground.world.program(&self.arguments).run().ok();
                    assert!(self.is_in_force(scene), "{what}");
                }
            }
        }
        scene.ground.proxy.clear();
        scene.ground.assert_sound();
    }
}

#[test]
fn a_hold_is_in_force_or_its_failure_is_told_whatever_the_store_does() {
    let scene = Scene::new();
    let second = scene.second.clone();
    let word = Word {
        arguments: vec!["hold", &second, "--reason", "an audit"],
        field: "hold",
        ends: false,
    };
    word.survives_everything(&scene);
}

#[test]
fn the_end_of_a_hold_is_in_force_or_its_failure_is_told_whatever_the_store_does() {
    let scene = Scene::new();
    let second = scene.second.clone();
    let hold = ["hold", &second, "--reason", "an audit"];
    scene.ground.world.program(&hold).run().ok();
    let word = Word {
        arguments: vec!["unhold", &second],
        field: "hold",
        ends: true,
    };
    word.survives_everything(&scene);
}

#[test]
fn accepted_drift_is_in_force_or_its_failure_is_told_whatever_the_store_does() {
    let scene = Scene::new();
    let word = Word {
        arguments: vec!["accept-drift", "--reason", "meant"],
        field: "drift_acceptance",
        ends: false,
    };
    word.survives_everything(&scene);
}
