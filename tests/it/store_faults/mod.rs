//! The store's bad days, met by the real program: every fault at every joint of a backup, a drill, a verification and a
//! list. Each run is completed after retries or fails with one clear error; a manifest stands for bytes that are there, and
//! a certificate for a drill that was made.

mod agents;
mod joints;
mod keeping;
mod matrix;
mod memory;
mod nth;
mod places;
mod verbs;

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::s3::SECRET_KEY;
use crate::support::s3_proxy::{Call, S3Proxy};
use crate::support::{BACKUP_PASSWORD, Ended, Program, World};

/// Limits that a test can sit out; long enough for a machine that is busy.
const QUICK: [(&str, &str); 4] = [
    ("KUBEBACKUP_REPOSITORY_CONNECT_TIMEOUT", "2s"),
    ("KUBEBACKUP_REPOSITORY_READ_TIMEOUT", "2s"),
    ("KUBEBACKUP_REPOSITORY_ATTEMPT_TIMEOUT", "3s"),
    ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "4"),
];

/// A world whose program reaches its bucket through a proxy, and a first backup in it.
struct Ground {
    world: World,
    proxy: S3Proxy,
    first: String,
}

impl Ground {
    fn new() -> Self {
        let world = World::start();
        world.source_sql(
            "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 500) i;
             ALTER TABLE t ADD PRIMARY KEY (i); CREATE TABLE other AS SELECT 'words' AS text",
        );
        let first = world.back_up();
        world.mark_targets();
        let proxy = S3Proxy::before(&world.s3);
        Self { world, proxy, first }
    }

    /// Something that the next backup has to store.
    fn change(&self) {
        self.world
            .source_sql("INSERT INTO t SELECT max(i) + 1, md5(random()::text) FROM t");
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let program = self.world.program(arguments).envs(QUICK);
        program.envs(self.proxy.variables())
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.program(arguments).run()
    }

    fn manifests(&self) -> BTreeSet<String> {
        self.world.keys("manifests/").into_iter().collect()
    }

    /// Certificates that hold a verdict.
    fn certificates(&self) -> BTreeSet<String> {
        let keys = self.world.keys("certificates/").into_iter();
        keys.filter(|key| !key.ends_with(".started.json")).collect()
    }

    /// The joints between a run and its store: what `arguments` asks for, kind by kind, while nothing goes wrong.
    #[track_caller]
    fn joints(&self, arguments: &[&str]) -> Vec<Call> {
        let before = self.proxy.calls().len();
        self.run(arguments).ok();
        self.joints_since(before)
    }

    /// Those of everything that was asked for after the first `before` calls.
    fn joints_since(&self, before: usize) -> Vec<Call> {
        let calls = self.proxy.calls();
        let kinds: BTreeSet<(&'static str, String)> = calls[before..]
            .iter()
            .map(|call| (call.operation, call.class().to_owned()))
            .collect();
        kinds
            .into_iter()
            .map(|(operation, key)| Call { operation, key })
            .collect()
    }

    /// Without the proxy: all that exists is sound.
    #[track_caller]
    fn assert_sound(&self) {
        self.world.program(&["verify", "--all"]).run().ok();
    }

    /// Without the proxy: the newest backup comes back equal.
    #[track_caller]
    fn assert_restorable(&self) {
        self.world.program(&["drill"]).run().ok();
    }
}

/// One error, which says what was asked of the store or what of it is wrong, and nothing secret.
#[track_caller]
fn assert_clear(ended: &Ended, what: &str) {
    let errors = ended.stderr.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{what}: {}", ended.printed());
    let says_what_to_do = ended.stderr.contains("\nhint: ") || ended.stderr.contains("run the backup again");
    assert!(says_what_to_do, "{what}: {}", ended.printed());
    assert_no_secret(ended, what);
}

#[track_caller]
fn assert_no_secret(ended: &Ended, what: &str) {
    let printed = ended.printed();
    for secret in [SECRET_KEY, BACKUP_PASSWORD] {
        assert!(!printed.contains(secret), "{what}: {printed}");
    }
}
