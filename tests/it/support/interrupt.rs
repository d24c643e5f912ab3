//! kill -9 of a run at its own points and at moments that a seed chooses, and objects that grow old without waiting.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::{Program, World, wait};

/// Starts `program` and kills it when it has reached `point`.
#[track_caller]
pub(crate) fn kill_at(program: Program, point: &str) {
    let mut run = program.env("KUBEBACKUP_FAILPOINT", point).spawn();
    run.wait_for(&format!("failpoint {point}"));
    run.kill();
}

/// Kills runs after numbers of requests that look like chance and are the same every time.
pub(crate) struct Killer {
    state: u64,
    killed: usize,
}

impl Killer {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed, killed: 0 }
    }

    /// Starts `program` and kills it after up to `most` requests to the store of `world`. False: it had ended before.
    pub(crate) fn run(&mut self, world: &World, program: Program, most: usize) -> bool {
        let asked = || world.s3.controls.asked();
        let enough = asked() + 1 + self.below(most) as u64;
        let mut run = program.spawn();
        wait::until("the run to get there or to end", || {
            asked() >= enough || run.has_ended()
        });
        let was_killed = run.kill().signal() == Some(9);
        self.killed += usize::from(was_killed);
        was_killed
    }

    /// So many runs were killed before they ended, which is what the test is about.
    #[track_caller]
    pub(crate) fn has_killed_more_than(&self, number: usize) {
        assert!(
            self.killed > number,
            "only {} runs were killed before they ended",
            self.killed
        );
    }

    fn below(&mut self, end: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % end
    }
}

/// Lets the objects in `files` grow older: a store of files tells their times by the files'. Manifests stay: one that is older
/// than its run is the work of a wrong clock.
#[track_caller]
pub(crate) fn age(files: impl IntoIterator<Item = impl AsRef<Path>>, by: Duration) {
    for path in files {
        let path = path.as_ref();
        if path.components().any(|part| part.as_os_str() == "manifests") {
            continue;
        }
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(modified - by).unwrap();
    }
}
