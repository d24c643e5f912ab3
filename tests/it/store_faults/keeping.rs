//! The matrix for what lets go and what brings elsewhere: an expiry, a prune and a copy meet every fault at every joint. What
//! exists stays whole, whoever failed says why, and the next run without faults ends where one without faults ends. A copy
//! meets them on both sides: it reads one prefix of the bucket and fills another one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::support::interrupt::age;
use crate::support::s3::BUCKET;
use crate::support::s3_proxy::{Fault, refusals};
use crate::support::world::PREFIX;

const DAYS: Duration = Duration::from_hours(3 * 24);

/// The newest backup alone, which is proven.
const RULES: [(&str, &str); 2] = [
    ("KUBEBACKUP_RETENTION_KEEP_LAST", "1"),
    ("KUBEBACKUP_RETENTION_KEEP_CERTIFIED", "1"),
];

/// Where the copy lies, in the same bucket.
const COPY: &str = "copy";

/// With times.
pub(super) fn copy_tree(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "cp -a {} {}", from.display(), to.display());
}

/// A verb, the state that each of its runs begins from, and what of it shows where a run ended.
struct Keeping {
    ground: Ground,
    verb: &'static str,
    saved: PathBuf,
    /// Beginnings of keys.
    shows: &'static [&'static str],
}

impl Keeping {
    /// Two backups of some days ago, the second one proven.
    fn new(verb: &'static str, shows: &'static [&'static str]) -> Self {
        let mut ground = Ground::new();
        let copies = format!(
            "copies:\n  - {{name: {COPY}, bucket: {BUCKET}, prefix: {COPY}, endpoint: {}, path_style: true, region: us-east-1, \
             connect_timeout: 2s, read_timeout: 2s, attempt_timeout: 3s, max_attempts: 2}}\n",
            ground.proxy.endpoint(),
        );
        ground.world.settings_file = ground.world.write_settings("settings.yaml", &copies);
        ground.change();
        ground.world.back_up();
        ground.world.program(&["drill"]).run().ok();
        let saved = ground.world.directory().join("saved");
        let keeping = Self {
            ground,
            verb,
            saved,
            shows,
        };
        keeping.grow_old("");
        keeping
    }

    fn grow_old(&self, below: &str) {
        let bucket = self.ground.world.s3.bucket().join(PREFIX);
        let keys = self.ground.world.keys(below);
        age(keys.iter().map(|key| bucket.join(key)), DAYS);
    }

    /// From here on every run begins with what there is now.
    fn save(&self) {
        copy_tree(&self.ground.world.s3.bucket(), &self.saved);
    }

    fn begin_anew(&self) {
        self.ground.proxy.clear();
        copy_tree(&self.saved, &self.ground.world.s3.bucket());
    }

    /// A copy brings all there is: by rules it brings the more, the less it can read over there.
    fn rules(&self) -> impl IntoIterator<Item = (&'static str, &'static str)> {
        RULES.into_iter().filter(|_| self.verb != "copy")
    }

    /// A copy's listings, and what it reads in its own place, last in `repository::copy::tests::lasting`.
    fn is_outlasted(&self, joint: &Call) -> bool {
        let writes = matches!(joint.operation, "PutObject" | "DeleteObject");
        let reads_here = joint.operation == "GetObject" && joint.key.starts_with(PREFIX);
        self.verb != "copy" || writes || reads_here
    }

    fn program(&self) -> Program {
        self.ground.program(&[self.verb]).envs(self.rules())
    }

    /// Nothing befalls it; a copy's place lies behind the proxy all the same.
    fn undisturbed(&self) -> Program {
        self.ground.proxy.clear();
        self.ground.world.program(&[self.verb]).envs(self.rules())
    }

    fn state(&self) -> BTreeSet<String> {
        let copy = self.ground.world.s3.bucket().join(COPY);
        let keys = match self.verb {
            "copy" if copy.exists() => crate::copies::files(&copy),
            "copy" => Vec::new(),
            _ => self.ground.world.keys(""),
        };
        let shown = |key: &String| self.shows.iter().any(|below| key.starts_with(below));
        keys.into_iter().filter(shown).collect()
    }

    #[track_caller]
    fn assert_whole(&self, what: &str) {
        self.ground.proxy.clear();
        let mut verifies = vec![self.ground.world.program(&["verify", "--all"]).run()];
        if self.verb == "copy" && self.state().iter().any(|key| key.starts_with("manifests/")) {
            verifies.push(
                self.ground
                    .world
                    .program(&["--repository", COPY, "verify", "--all"])
                    .run(),
            );
        }
        for verified in verifies {
            assert_eq!(verified.code(), Some(0), "{what}\n{}", verified.printed());
        }
    }

    fn survives_everything(&self) {
        self.save();
        self.begin_anew();
        let before = self.ground.proxy.calls().len();
        self.program().run().ok();
        let joints = self.ground.joints_since(before);
        let expected = self.state();
        matrix::every_mishap_is_survived(&self.ground, &joints, |what| {
            // The script stands already.
            copy_tree(&self.saved, &self.ground.world.s3.bucket());
            let ended = self.program().run();
            assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.printed());
            assert_eq!(self.state(), expected, "{what}\n{}", ended.printed());
        });
        let numbered = joints.iter().enumerate();
        for (number, joint) in numbered.filter(|(_, joint)| self.is_outlasted(joint)) {
            for fault in faults(number, joint.operation) {
                self.begin_anew();
                let (what, ended) = matrix::outlasted(&self.ground, joint, fault, self.program());
                if ended.code() == Some(0) && self.state() == expected {
                    continue;
                }
                match ended.code() {
                    // Not all that might go has gone, and it says so.
                    Some(0) => assert!(
                        ["RETAINED", "its manifest cannot be read"]
                            .iter()
                            .any(|words| ended.stdout.contains(words)),
                        "{what}\n{}",
                        ended.printed()
                    ),
                    // A backup that cannot be brought is named, and the others are.
                    _ if ended.stdout.contains("is not there or not whole") => {}
                    _ => assert_clear(&ended, &what),
                }
                self.assert_whole(&what);
                let next = self.undisturbed().run();
                assert_eq!(next.code(), Some(0), "{what}\n{}", next.printed());
                assert_eq!(self.state(), expected, "{what}\n{}", next.printed());
            }
        }
    }
}

/// What lasts, by turns; whoever writes or deletes meets a refusal too.
fn faults(number: usize, operation: &str) -> Vec<Fault> {
    let by_turns = [
        refusals::UNAVAILABLE,
        Fault::LoseAnswer,
        refusals::NOT_A_STORE,
        refusals::EXPIRED_TOKEN,
        refusals::INTERNAL_ERROR,
        refusals::NOT_IMPLEMENTED,
        Fault::Refuse,
    ];
    let mut faults = vec![by_turns[number % by_turns.len()]];
    faults.extend(match operation {
        "PutObject" => vec![refusals::DENIED, refusals::STORAGE_FULL, Fault::CorruptRequest],
        "DeleteObject" | "DeleteObjects" => vec![refusals::DENIED, refusals::UNAVAILABLE, Fault::LoseAnswer],
        "GetObject" => vec![Fault::CorruptAnswer, Fault::CutAnswer(3)],
        "ListObjectsV2" => vec![Fault::CutAnswer(3), Fault::Stale],
        _ => vec![refusals::DENIED],
    });
    faults
}

#[test]
fn an_expiry_survives_every_fault_at_every_joint() {
    Keeping::new("expire", &["manifests/"]).survives_everything();
}

#[test]
fn a_prune_survives_every_fault_at_every_joint() {
    let keeping = Keeping::new("prune", &["manifests/", "chunks/"]);
    keeping.ground.world.program(&["expire"]).envs(RULES).run().ok();
    keeping.grow_old("tombstones/");
    keeping.survives_everything();
}

#[test]
fn a_copy_survives_every_fault_at_every_joint() {
    let keeping = Keeping::new("copy", &["manifests/", "chunks/"]);
    keeping.undisturbed().run().ok();
    keeping.ground.change();
    keeping.ground.world.back_up();
    keeping.survives_everything();
}
